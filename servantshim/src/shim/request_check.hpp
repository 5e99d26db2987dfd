// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "mserve/kdb/result.hpp"
#include "shim/messages.hpp"

namespace mserve::shim {

inline constexpr const char* kRefusedOpaque = "opaque requests are not served by q";
inline constexpr const char* kRefusedMalformed = "badmsg";
inline constexpr const char* kRefusedTooLarge = "limit";
inline constexpr const char* kRefusedBusy = "busy";  ///< No room now: later there may be some.
inline constexpr const char* kRefusedUnwanted = "stop";

/// What a request with that fault is answered with.
[[nodiscard]] constexpr const char* refusal_of(kdb::Errc fault) noexcept {
  return fault == kdb::Errc::too_deep ? kRefusedTooLarge : kRefusedMalformed;
}

/// Whether q may see a request, and which part of it.
struct Checked {
  const char* refusal = nullptr;      ///< Text of the error to answer with; nullptr: it may.
  std::span<const std::byte> object;  ///< What goes to q, inside the payload.
  std::size_t query_bytes = 0;        ///< How much of the object is the query.
};

/// Judges a whole request. q closes the handle on malformed bytes, and an error object would be
/// taken for something else, so neither may reach it: one client's fault must not cost others their
/// q.
/// @param flags  of its frame: opaque, pair.
[[nodiscard]] Checked check_request(Form form, std::uint8_t flags,
                                    std::span<const std::byte> payload) noexcept;

}  // namespace mserve::shim
