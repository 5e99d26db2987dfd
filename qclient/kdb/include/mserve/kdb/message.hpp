// SPDX-License-Identifier: Apache-2.0
// The 8-byte header of a kdb+ IPC message, and whole messages (header and object).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/result.hpp"
#include "mserve/kdb/types.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::kdb {

inline constexpr std::size_t kHeaderBytes = 8;
/// 2^40 - 1: what the header's 40 bits can say.
inline constexpr std::uint64_t kMessageBytesMax = (std::uint64_t{1} << 40) - 1;
/// Longest message a peer of capability 3 or less takes; longer ones must fail with the error
/// `limit`.
inline constexpr std::uint64_t kMessageBytesMaxSmall = 0x7fffffff;

enum class MessageKind : std::uint8_t { async = 0, sync = 1, response = 2 };
enum class Compression : std::uint8_t { none = 0, compressed = 1, compressed_64 = 2 };

struct Header {
  ByteOrder order = ByteOrder::little;
  MessageKind kind = MessageKind::async;
  Compression compression = Compression::none;
  std::uint64_t message_bytes = 0;  ///< The whole message, header included; 9 or more.
  friend bool operator==(const Header&, const Header&) = default;
};

/// Reads the first 8 bytes. @return the header, or truncated (fewer than 8 bytes), bad_header
/// (order, kind or compression out of range), bad_length (less than 9).
[[nodiscard]] Result<Header> parse_header(std::span<const std::byte> bytes) noexcept;

/// @param header  message_bytes above kMessageBytesMax cannot be written: only the low 40 bits are.
[[nodiscard]] std::array<std::byte, kHeaderBytes> write_header(const Header& header) noexcept;

struct Message {
  Header header;
  Value value;
};

/// Limits for whole messages from elsewhere.
struct MessageLimits {
  Limits object;
  std::uint64_t plain_bytes_max = std::uint64_t{1}
                                  << 30;  ///< Cap on the declared size of a compressed message.
};

/// Whether `message` is exactly one well-formed message, as the validator of KX's C library judges
/// plain ones. A compressed message is judged by its header only.
[[nodiscard]] Result<Header> validate_message(std::span<const std::byte> message) noexcept;

/// Decodes exactly one message, decompressing it if need be.
/// @return the message (its header as received), or an error; offsets count from the start of the
/// message, or of the decompressed message.
[[nodiscard]] Result<Message> decode_message(std::span<const std::byte> message,
                                             const MessageLimits& limits = {});

/// Header and object, never compressed.
[[nodiscard]] std::vector<std::byte> encode_message(const Value& value, MessageKind kind,
                                                    ByteOrder order = ByteOrder::little);

}  // namespace mserve::kdb
