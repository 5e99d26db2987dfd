// SPDX-License-Identifier: Apache-2.0
// A client of an mserve broker:
//
//   auto client = mserve::Client::connect("default");
//   if (!client) { ... mserve::advice(client.error().code) ... }
//   auto id = client.value().try_send(payload, {.want_info = true});
//   mserve::Reply reply;
//   while (client.value().poll(reply) == mserve::Errc::empty) {}
//
// Any number of requests may be in flight; answers come in the order in which they are done. For
// queries as q text and answers as kdb+ values see query.hpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "mserve/client/options.hpp"
#include "mserve/client/reply.hpp"
#include "mserve/shm/attachment.hpp"
#include "mserve/shm/errc.hpp"

namespace mserve {

class ClientCore;

/// The absolute deadline (CLOCK_MONOTONIC, nanoseconds) that lies this long in the future; never 0.
[[nodiscard]] std::uint64_t deadline_after(std::chrono::nanoseconds from_now) noexcept;

/// One client session, kept alive across restarts of its broker. It goes through the rings of a
/// broker on this host, or over TCP to a gateway: same calls, same outcomes; see
/// ClientOptions::broker. What differs over TCP:
///   payloads   are kdb+ objects; opaque or malformed ones are refused as `invalid`;
///   errors     a gateway sends them as the text "Error: ...", so a servant's *result* of that form
///              is taken for its error;
///   cancel()   the answer is dropped here; a request in the queue still runs;
///   Reply      `servant` is 0; name, times and counts are in `info` as elsewhere.
///
/// Completion: every id that try_send() or send() returned is completed exactly once: by poll(),
///   await() or call() giving its Reply, or by cancel(). When the session is lost all ids in flight
///   are completed with status `disconnected`, after the answers that had arrived. With TCP
///   endpoints, those sent as `repeatable` are sent again on the next session instead, once; see
///   ClientOptions::resend_bytes_max.
/// Threads: one caller at a time per Client; any number of Clients.
/// Deadlines: absolute, CLOCK_MONOTONIC, nanoseconds, see deadline_after(); 0 means none.
/// Payloads of replies are borrowed: valid until the next poll(), wait(), await(), call(), send(),
///   reconnect() or prepare_sleep() on this Client. try_send() and cancel() leave them alone.
/// Lost session: noticed at once by a call that sleeps, by finish_sleep(), by a hang-up on fd(),
/// and
///   every few hundred calls by one that does not. The next use then tries to attach again (see
///   ClientOptions::reconnect), with a growing pause between attempts; until that works calls
///   return `not_attached`. Ids go on growing, so a late answer can never be taken for another.
/// Guest manners: never prints, aborts, exits, throws anything but std::bad_alloc, installs a
/// signal
///   handler or starts a thread. What the broker sends is checked; a lie costs the session, not the
///   process.
class Client {
 public:
  /// Attaches to the broker of that name, or to where that list of endpoints leads (empty:
  /// $MSERVE_NAME, else "default"), as connect(ClientOptions) does.
  [[nodiscard]] static Result<Client> connect(std::string_view broker = {},
                                              std::string* reason = nullptr);

  /// Attaches to a broker. Blocks up to options.attach_ns_max, usually less than a millisecond.
  /// @param reason  receives one sentence about what is wrong, when something is; it names every
  ///                endpoint that was tried. May be null.
  /// @return the client, or (with several endpoints the first of these that may pass by itself)
  ///   `invalid`           an option is out of range: `reason` names each; correct it;
  ///   `no_broker`         nobody listens there: start the broker or check the name;
  ///   `access`            the broker does not take this user (--allow-user), the gateway does not
  ///                       take user and password;
  ///   `no_memory`         the cap on sessions, shared bytes or descriptors is reached;
  ///   `version_mismatch`  upgrade the older side;
  ///   `unsafe_directory`  the rendezvous directory is not private: see `reason`;
  ///   `timed_out`         the broker does not answer: is it stopped?
  ///   `shutdown`          the broker is going down: try again when it is back;
  ///   `bad_segment`, `protocol`  what listens there is no mserve broker, or a broken one;
  ///   `os`                the kernel said no: see Error::os_errno.
  [[nodiscard]] static Result<Client> connect(const ClientOptions& options,
                                              std::string* reason = nullptr);

  /// A client on top of sessions made elsewhere; ClientCore is not public.
  explicit Client(std::unique_ptr<ClientCore> core) noexcept;
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  /// Detaches. What is in flight is dropped by the broker.
  ~Client();

  // --- sending
  // ------------------------------------------------------------------------------------

  /// Sends one request that fits one frame, and returns at once.
  ///
  /// @param payload  0..try_payload_bytes_max() bytes, a kdb+ object unless options.opaque; copied.
  /// @return correlation id (> 0, unique within this Client), or
  ///   `full`          no room in the ring, or options.in_flight_max reached: poll(), then retry;
  ///   `too_large`     more than try_payload_bytes_max(), or, with a time limit, than 24 bytes
  ///   less:
  ///                   use send();
  ///   `invalid`       over TCP: the payload is opaque or no kdb+ object; Error::where says which;
  ///   `not_attached`  no session and the attempt to attach failed, or its pause is not over: retry
  ///                   later.
  /// @progress wait-free, no allocation after warm-up; without a session at most one attempt to
  ///   attach per pause, bounded by options.reattach_ns_max. Over TCP one system call, and with
  ///   options.repeatable one allocation.
  [[nodiscard]] Result<std::uint64_t> try_send(std::span<const std::byte> payload,
                                               const SendOptions& options = {});

  /// Sends one request of any size, waiting for room. Answers that arrive meanwhile are kept for
  /// poll().
  ///
  /// @param payload  0..max_payload_bytes() bytes; must stay unchanged until the return, and must
  /// not point
  ///   into a Reply of this Client.
  /// @return correlation id, or
  ///   `too_large`     more than max_payload_bytes(): nothing was sent;
  ///   `invalid`       as for try_send();
  ///   `full`          options.unread_bytes_max reached: poll() first; nothing runs;
  ///   `timed_out`     the deadline passed first; what was sent is withdrawn, nothing runs. Over
  ///   TCP
  ///                   withdrawing a large request that was begun ends the session;
  ///   `disconnected`  the session was lost on the way; nothing runs;
  ///   `not_attached`  as for try_send().
  ///   A request that the broker refuses on the way (`busy`, `no_servant`) is not an error here:
  ///   its id is returned and completed with that status.
  /// @progress blocks until the last byte is in the ring, idling as options.idle says.
  [[nodiscard]] Result<std::uint64_t> send(std::span<const std::byte> payload,
                                           const SendOptions& options = {},
                                           std::uint64_t deadline_ns = 0);

  /// Gives up on a request: it is completed hereby, its answer will not be seen. A servant that
  /// runs it goes on, unless the broker was started with --interrupt. @return false when the id is
  /// not in flight, nor kept for poll().
  bool cancel(std::uint64_t id);

  // --- receiving
  // ----------------------------------------------------------------------------------

  /// The next finished request, if there is one. Never waits.
  ///
  /// @return `ok` and `out` filled (whole answers point into the ring, no copy);
  ///   `empty`         nothing finished yet;
  ///   `not_attached`  the session is lost and everything was completed; goes on when the broker is
  ///                   back.
  /// @progress bounded work per call, no allocation for answers of one frame; grants windows and,
  ///   without a session, attaches as try_send() does. Over TCP it reads and writes the socket.
  [[nodiscard]] Errc poll(Reply& out);

  /// Calls `handler(const Reply&)` for finished requests until there are none or `replies_max` were
  /// handled. The payload is valid during the call; the handler may send, but not poll.
  /// @return how many were handled.
  template <class Handler>
  std::size_t poll_each(Handler&& handler, std::size_t replies_max = 256) {
    Reply reply;
    std::size_t handled = 0;
    while (handled < replies_max && poll(reply) == Errc::ok) {
      handler(std::as_const(reply));
      ++handled;
    }
    return handled;
  }

  /// Waits until poll() has something.
  /// @return `ok`; `timed_out`; `empty` at once when nothing is in flight; `not_attached` (then too
  ///   nothing is in flight, and nothing can come).
  [[nodiscard]] Errc wait(std::uint64_t deadline_ns = 0);

  /// Waits for the answer to one request; others that arrive meanwhile are kept for poll().
  /// @return `ok` and `out` filled (its status may be anything, also `disconnected`);
  ///   `timed_out`  it stays in flight: await() it again, or cancel() it;
  ///   `full`       options.unread_bytes_max reached by others: poll() first;
  ///   `invalid`    that id is not in flight.
  [[nodiscard]] Errc await(std::uint64_t id, Reply& out, std::uint64_t deadline_ns = 0);

  /// Sends one request and waits for its answer; other answers are kept for poll().
  /// @return the reply, whose status is `ok` or `failed`, or
  ///   `timed_out`  the request was cancelled; a servant may have run it or still run it;
  ///   `disconnected`, `busy`, `no_servant`, `servant_died`, `shutdown`, ...  the status of its
  ///   Reply; or an error as from send().
  [[nodiscard]] Result<OwnedReply> call(std::span<const std::byte> payload,
                                        const SendOptions& options = {},
                                        std::uint64_t deadline_ns = 0);

  // --- session
  // ------------------------------------------------------------------------------------

  /// Attaches again if the session is lost, retrying until the deadline (0: for ever).
  /// @return `ok` (also when nothing was lost), or why the last attempt failed, as from connect().
  [[nodiscard]] Errc reconnect(std::uint64_t deadline_ns = 0, std::string* reason = nullptr);

  /// False while the session is known to be lost.
  [[nodiscard]] bool attached() const noexcept;
  /// Requests neither completed nor cancelled, kept answers not counted.
  [[nodiscard]] std::size_t in_flight() const noexcept;
  /// Answers kept for poll().
  [[nodiscard]] std::size_t unread() const noexcept;
  /// Largest payload of send(), and of an answer, in bytes.
  [[nodiscard]] std::uint64_t max_payload_bytes() const noexcept;
  /// Largest payload of try_send(), in bytes: a quarter of the ring, less the header.
  [[nodiscard]] std::uint64_t try_payload_bytes_max() const noexcept;
  /// What the broker granted; of the last session while there is none.
  [[nodiscard]] const shm::SessionInfo& session() const noexcept;
  /// Whom the routing rule `user` takes this client's queries for: ClientOptions::user, else the
  /// name that the system knows the effective user by; may be empty.
  [[nodiscard]] const std::string& user() const noexcept;
  /// Where the session goes, or went last: a broker's name, or `tcp://host:port` without
  /// credentials.
  [[nodiscard]] const std::string& endpoint() const noexcept;
  /// Why the last session was lost, the last attempt to attach failed, or endpoints in front of the
  /// present one were passed over: one sentence; empty if none of it happened.
  [[nodiscard]] const std::string& last_failure() const noexcept;
  /// Answers that came for requests cancelled before.
  [[nodiscard]] std::uint64_t late_replies() const noexcept;

  // --- event loops
  // --------------------------------------------------------------------------------

  /// A descriptor to watch for reading, between prepare_sleep() and finish_sleep(); -1 while there
  /// is no session (then call poll() now and then). Stays ours; another one after a reconnect.
  [[nodiscard]] int fd() const noexcept;
  /// Announces that fd() will be watched. Without a session there is nothing to watch: sleep on a
  /// timer, also when requests wait to be sent again.
  /// @return false when poll() may have something: do not sleep.
  [[nodiscard]] bool prepare_sleep();
  /// Ends what prepare_sleep() began; to be called after waking for whatever reason, before
  /// anything else.
  void finish_sleep();

 private:
  std::unique_ptr<ClientCore> core_;
};

}  // namespace mserve
