// SPDX-License-Identifier: Apache-2.0
// kdb+ IPC compression of whole messages, byte for byte as q does it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "mserve/kdb/result.hpp"

namespace mserve::kdb {

/// Messages of at most this many bytes are never compressed.
inline constexpr std::size_t kCompressAboveBytes = 2000;

/// Compresses a plain message (header included, either byte order; positions count from its
/// header). Whether to try at all is the caller's business: never towards a local peer.
/// @return the compressed message, or nothing when it should go as it is: 2000 bytes or less, not a
/// plain message, or the result would not be under half the size.
[[nodiscard]] std::optional<std::vector<std::byte>> compress(std::span<const std::byte> message);

/// Decompresses exactly one compressed message of either form (compression byte 1 or 2).
/// @param plain_bytes_max  cap on the declared size, in bytes with header. A declared size that the
/// stream is too short to
///                         yield (over about 120 times its bytes) is refused before memory is
///                         taken.
/// @return the plain message with its header, or truncated, bad_header, bad_length, too_large,
/// bad_compression. The object inside is not validated.
[[nodiscard]] Result<std::vector<std::byte>> decompress(std::span<const std::byte> message,
                                                        std::uint64_t plain_bytes_max);

}  // namespace mserve::kdb
