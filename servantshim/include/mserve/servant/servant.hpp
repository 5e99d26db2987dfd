// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "mserve/servant/invocation.hpp"
#include "mserve/servant/options.hpp"
#include "mserve/shm/errc.hpp"

namespace mserve::servant {

/// What happened to a servant's attachment, for its log.
enum class Event : std::uint8_t {
  attached,     ///< A session began.
  detached,     ///< The session ended: the broker went, closed it, or broke the protocol.
  unreachable,  ///< Attaching failed; told once per reason, not once per attempt.
  warning,      ///< Something to know that stops nothing, such as a refused mlock.
};

/// In a log: "attached", "detached", "no session" or "warning".
[[nodiscard]] std::string_view to_string(Event event) noexcept;

/// @param text  one line without a newline, only valid during the call.
using EventFunction = std::function<void(Event event, std::string_view text)>;

/// A request that Servant::receive() gave out.
struct Request {
  std::uint64_t id = 0;  ///< To answer it with; above 0 and unique within this Servant.
  bool opaque = false;   ///< The payload is no kdb+ object.
  /// The query, or opaque bytes: a private copy, valid until the request is answered. A query was
  /// written by whoever may ask: admit() tells whether it is a call with literal arguments.
  std::span<const std::byte> payload{};
  /// The options that a client sent with the query, an encoded dictionary; empty without them.
  std::span<const std::byte> options{};
};

/// A program whose functions clients of a broker may call. Requests run one at a time, in the
/// thread that calls run() or poll_once().
///
///     mserve::Servant servant({.name = "adder"});
///     servant.add("add", [](auto args) { ... return mserve::kdb::Value::long_atom(sum); });
///     return servant.run().code == mserve::Errc::ok ? 0 : 1;
///
/// A program that wants the requests themselves, to run them elsewhere or several at a time, calls
/// receive() and reply() instead of listing functions; one Servant does either this or that.
///
/// @thread one caller at a time, except for stop(). @crash a servant that dies takes the request it
/// runs with it; the broker decides whether another one runs it again. Never prints, exits, or
/// installs a signal handler.
class Servant {
 public:
  explicit Servant(Options options = {});
  Servant(const Servant&) = delete;
  Servant& operator=(const Servant&) = delete;
  ~Servant();  ///< Detaches; what was not answered is lost to this servant.

  /// Lists a function that clients may call. To be called before run().
  /// @return false when `name` is no q name or taken, or `function` is empty.
  [[nodiscard]] bool add(std::string name, Function function);

  /// Serves opaque requests; without it they get the error "opaque requests are not served".
  void set_opaque(OpaqueFunction function);

  /// Where to report events. Called from run() and poll_once(); must not throw.
  void set_events(EventFunction function);

  /// Attaches, serves, and attaches again whenever the broker comes back. Blocks until stop(), then
  /// finishes the request that runs, has the broker send nothing new, runs what it has sent by then
  /// (at most Options::stop_ns_max, without the last one) and detaches: no request is lost.
  /// @return code ok after stop(), and after an operator retired this servant (the event `detached`
  ///         says so): end the program, do not attach again. Else the reason why going on is
  ///         pointless:
  ///         `invalid` (Options::validate() says what), `access`, `version_mismatch`,
  ///         `unsafe_directory`; with Options::reconnect off also whatever ended the attempt or the
  ///         session, such as `no_broker` or `disconnected`.
  Error run();

  /// Makes run() return soon, at most 25 ms after the request that runs; also when called before
  /// run(), which then returns at once. Stays in effect. @thread any; also from a signal handler.
  void stop() noexcept;

  /// One pass for programs with a loop of their own, instead of run(): attaches if need be and due,
  /// takes in what arrived, and runs at most one request. Does not wait, except for the handshake
  /// (Options::attach_ns_max).
  /// @return `ok` something was done, call again at once; `empty` nothing to do; `full` a reply
  /// waits for room, call
  ///         again soon; `not_attached` no broker now, a later call will try again; `retired` an
  ///         operator wants no more of this servant: call it no more; else as run().
  [[nodiscard]] Errc poll_once();

  /// Waits for the next request, for programs that run requests themselves. Attaches if need be.
  /// With a credit above 1 it may be called again before the request is answered.
  /// @param deadline_ns  absolute, CLOCK_MONOTONIC; 0: none. One that has passed: looks once. The
  ///                     handshake (Options::attach_ns_max) may take longer.
  /// @return `ok` and `out` filled, to be answered exactly once, in any order; `timed_out`;
  ///         `not_attached` nothing came in time, as there is no broker; `cancelled` after stop():
  ///         answer what you hold, then detach(); `retired` an operator wants no more of this
  ///         servant; else as run(), when going on is pointless.
  [[nodiscard]] Errc receive(Request& out, std::uint64_t deadline_ns = 0);

  /// Answers a request that receive() gave out, and ends it: its bytes become invalid.
  /// @param payload  must stay unchanged until the return; may lie in the request's own bytes.
  ///                 Unless `opaque` exactly one kdb+ object; an error object is an answer with
  ///                 that error.
  /// @return `ok` once the last byte is in the ring; or
  ///         `invalid`       no such request; or the payload is no kdb+ object: still to be
  ///         answered; `too_large`     above the session's bound: still to be answered, with an
  ///         error; `disconnected`  its session is over, nobody waits for it: go on receiving.
  /// @progress waits for room while the broker does not read, and takes in requests meanwhile;
  ///         after stop() for Options::stop_ns_max, then it leaves the session.
  [[nodiscard]] Errc reply(std::uint64_t id, std::span<const std::byte> payload,
                           bool opaque = false);
  /// The same with an error.
  [[nodiscard]] Errc reply_error(std::uint64_t id, std::string_view text);

  /// Sends what is pending (at most Options::stop_ns_max) and detaches. run() does it by itself.
  void detach();

  [[nodiscard]] bool attached() const noexcept;
  /// Our number at the broker that we are attached to; 0 without one.
  [[nodiscard]] std::uint32_t number() const noexcept;
  [[nodiscard]] const Functions& functions() const noexcept;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace mserve::servant

namespace mserve {
using servant::Servant;
}
