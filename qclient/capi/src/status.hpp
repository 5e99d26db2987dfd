// SPDX-License-Identifier: Apache-2.0
// The border of the C interface: exceptions and Errc on this side, statuses and texts on the other.
#pragma once

#include <cstdint>
#include <exception>
#include <new>
#include <string_view>
#include <type_traits>

#include "mserve.h"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/idle.hpp"

namespace mserve::capi {

/// The status of a code, after keeping `text` for mserve_last_error() if it is a failure.
/// @param text  what is known beside the code's own words; may be empty.
mserve_status report(Errc code, std::string_view text = {}) noexcept;
/// The same for an Error, with the words of the system, of `reason` or else of where it happened.
mserve_status report(const Error& error, std::string_view reason = {}) noexcept;

/// What a caller is told who left out an argument, or forgot the size of a struct to be filled.
[[nodiscard]] inline mserve_status null_argument() noexcept {
  return report(Errc::invalid, "an argument is null, or its size is not set");
}

/// Runs `body`, which gives a status; what it throws becomes one.
template <class Body>
[[nodiscard]] mserve_status guarded(Body&& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return report(Errc::no_memory, "out of memory");
  } catch (const std::exception& e) {
    return report(Errc::internal, e.what());
  } catch (...) {
    return report(Errc::internal, "an exception of no known kind");
  }
}

/// The deadline of a time-out that begins now, as the C++ side takes it.
[[nodiscard]] inline std::uint64_t deadline_of(std::uint64_t timeout_ns) noexcept {
  return timeout_ns == MSERVE_FOREVER ? 0 : shm::add_capped(shm::steady_now(), timeout_ns);
}

[[nodiscard]] inline std::string_view view(const char* text) noexcept {
  return text != nullptr ? std::string_view(text) : std::string_view();
}

/// @return false for a number that is none of MSERVE_IDLE_...
[[nodiscard]] inline bool idle_of(std::uint32_t idle, shm::IdleStrategy& strategy) noexcept {
  switch (idle) {
    case MSERVE_IDLE_AUTO:
      strategy = shm::IdleStrategy::automatic;
      return true;
    case MSERVE_IDLE_SPIN:
      strategy = shm::IdleStrategy::spin;
      return true;
    case MSERVE_IDLE_YIELD:
      strategy = shm::IdleStrategy::yield;
      return true;
    case MSERVE_IDLE_PARK:
      strategy = shm::IdleStrategy::park;
      return true;
    default:
      return false;
  }
}

/// An option for which 0 means the default that `option` has already.
template <class Number>
void set_if(Number& option, std::type_identity_t<Number> wanted) noexcept {
  option = wanted != 0 ? wanted : option;
}

/// What the options of clients and servants have in common.
/// @return false when a member is out of the range that only this side knows.
template <class From, class To>
[[nodiscard]] bool translate_common(const From& from, To& to) {
  if ((from.flags & ~std::uint32_t{MSERVE_NO_RECONNECT | MSERVE_LOCK_MEMORY}) != 0 ||
      from.reserved != 0 || !idle_of(from.idle, to.idle)) {
    return false;
  }
  to.broker = view(from.broker);
  to.directory = view(from.directory);
  to.name = view(from.name);
  to.ring_bytes = from.ring_bytes;
  to.reconnect = (from.flags & MSERVE_NO_RECONNECT) == 0;
  to.lock_memory = (from.flags & MSERVE_LOCK_MEMORY) != 0;
  to.message_bytes_max = from.message_bytes_max;
  set_if(to.attach_ns_max, from.attach_ns_max);
  return true;
}

}  // namespace mserve::capi
