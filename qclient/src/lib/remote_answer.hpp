// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/frame.hpp"

namespace mserve {

/// An answer that stands as two objects, one behind the other.
struct ObjectPair {
  std::span<const std::byte> result;
  std::span<const std::byte> info;  ///< A dictionary.
};

/// Finds the boundary. @return nothing when `bytes` is not exactly an object and a dictionary. The
/// bytes may change meanwhile: what comes back lies inside `bytes` in any case.
[[nodiscard]] std::optional<ObjectPair> split_pair(std::span<const std::byte> bytes) noexcept;

/// What a gateway's answer says, in the terms of a reply that came through a ring.
struct RemoteAnswer {
  /// `ok`: `result` is the result. `failed`: `error_text` is the servant's (or the gateway's own)
  /// error. `protocol`: no kdb+ objects. Anything else: the broker's status.
  Errc status = Errc::ok;
  std::span<const std::byte> result;
  std::string_view error_text;
  std::span<const std::byte> info;  ///< The info dictionary as it came; empty for none.
  std::optional<shm::InfoExt> figures;
};

/// Reads the result and, if `has_info`, the info dictionary of `(id; result; info)`.
///
/// A gateway sends errors as the char vector "Error: TEXT". They become errors again; so a servant
/// that answers with such a text as its *result* is taken for one that failed, which the same
/// answer through a ring would not be. TEXT is the broker's own status when the info says that no
/// servant answered (its `qsvr` is the null symbol).
[[nodiscard]] RemoteAnswer read_remote_answer(std::span<const std::byte> bytes,
                                              bool has_info) noexcept;

/// Why a payload cannot be sent to a gateway, which closes the socket on bytes that are no kdb+
/// object: a literal, or null when it can.
[[nodiscard]] const char* fault_of_remote_request(std::span<const std::byte> payload, bool opaque,
                                                  bool pair) noexcept;

}  // namespace mserve
