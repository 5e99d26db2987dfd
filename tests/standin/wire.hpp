// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mserve/kdb/message.hpp"
#include "standin/options.hpp"

namespace mserve::test {

/// What a client says first.
struct Handshake {
  std::string credentials;      ///< user:password, or user, or nothing.
  std::uint8_t capability = 0;  ///< 0 also when the client sent none.
  std::size_t bytes = 0;        ///< It took, NUL included.
};

/// @return nothing as long as the NUL has not come.
[[nodiscard]] std::optional<Handshake> parse_handshake(std::span<const std::byte> bytes);

/// The part of user:password before the colon.
[[nodiscard]] std::string user_of(const std::string& credentials);

/// The message as it goes out. Too long for the peer: an error `limit` of the same kind instead.
[[nodiscard]] std::vector<std::byte> encode_reply(const kdb::Value& value, kdb::MessageKind kind,
                                                  Reply reply, std::uint8_t capability);

/// Any plain message in the compressed form: q's own where that pays, else every byte as a literal,
/// which is longer than the message and as legal.
[[nodiscard]] std::vector<std::byte> compress_always(std::span<const std::byte> message);

}  // namespace mserve::test
