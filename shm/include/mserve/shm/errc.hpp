// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>
#include <variant>

namespace mserve {

/// Why an operation did not succeed. Values are stable: they travel in reply frames and rendezvous
/// messages and appear in logs and exit codes. Groups: outcomes a caller must handle (1..19), the
/// system (20..39), protocol faults of the other side (40..59), faults of a request (60..79).
enum class Errc : std::uint16_t {
  ok = 0,
  full = 1,       ///< No room in the ring; nothing was sent. Drain what you receive, then retry.
  empty = 2,      ///< Nothing to read now.
  timed_out = 3,  ///< The deadline passed; the request may still run.
  too_large = 4,  ///< Larger than this session takes; see SessionInfo. Send less or raise the cap.
  disconnected = 5,  ///< The broker is gone or closed the session; outcome of what ran is unknown.
  not_attached = 6,  ///< No session now; attach first or wait until the broker is back.
  invalid = 7,       ///< An argument of the call is out of its documented range.

  os = 20,         ///< The kernel said no; see Error::os_errno.
  no_broker = 21,  ///< Nobody listens under that name. Start the broker or check --name.
  access = 22,     ///< The broker does not take this user, or options from him; see --allow-user.
  no_memory = 23,  ///< A cap on shared bytes, sessions or descriptors is reached.
  in_use = 24,     ///< A live broker already has this name.
  unsafe_directory = 25,  ///< The rendezvous directory belongs to somebody else or is too open.

  protocol = 40,             ///< The other side sent something that the protocol does not allow.
  version_mismatch = 41,     ///< Layout or protocol major differs. Upgrade one side.
  cursor_out_of_range = 42,  ///< A consumer cursor went back or past what was committed.
  bad_frame = 43,            ///< A frame header lies about its size, kind or extensions.
  bad_segment = 44,          ///< A segment has the wrong size, seals or header.
  poisoned = 45,             ///< The session broke earlier; only closing it is left.

  busy = 60,           ///< The broker's queue is full. Back off and retry.
  no_servant = 61,     ///< No servant is attached that could ever run it.
  servant_died = 62,   ///< The servant died while it ran the request; outcome unknown.
  shutdown = 63,       ///< The broker is going down.
  cancelled = 64,      ///< Cancelled before an answer existed.
  stalled = 65,        ///< A large message made no progress for the stall time-out and was cut.
  failed = 66,         ///< The servant answered with an error; the payload is the error object.
  slow_reader = 67,    ///< Answers were not read; the session was closed.
  internal = 68,       ///< A bug of ours; please report it.
  queue_timeout = 69,  ///< No servant was free for it in the time it could wait; it did not run.
  retired = 70,        ///< An operator retired this servant: do not attach again.
};

/// The short text used in logs and as a kdb+ error; never empty, a literal.
[[nodiscard]] const char* to_string(Errc code) noexcept;

/// One sentence that tells what to do about it; never empty, a literal.
[[nodiscard]] const char* advice(Errc code) noexcept;

/// A failure with its origin. `where` is a string literal and never owned.
struct [[nodiscard]] Error {
  Errc code = Errc::ok;
  int os_errno = 0;
  const char* where = "";
};
static_assert(std::is_trivially_copyable_v<Error> && sizeof(Error) == 16);

/// Builds an Error that carries the current errno.
[[nodiscard]] Error os_error(const char* where, Errc code = Errc::os) noexcept;

/// A value or an Error. Small, throws nothing itself; read `value()` only after a successful test.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}       // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, error) {}  // NOLINT: implicit by design
  explicit operator bool() const noexcept { return state_.index() == 0; }
  [[nodiscard]] T& value() & noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] const T& value() const& noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] T&& value() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  [[nodiscard]] Error error() const noexcept {
    const Error* error = std::get_if<1>(&state_);
    return error != nullptr ? *error : Error{};
  }

 private:
  std::variant<T, Error> state_;
};

}  // namespace mserve
