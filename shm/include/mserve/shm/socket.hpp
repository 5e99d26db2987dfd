// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::shm {

// SOCK_SEQPACKET Unix sockets as the rendezvous uses them. All descriptors are CLOEXEC, no call
// ever raises SIGPIPE, EINTR is handled inside. Deadlines are CLOCK_MONOTONIC nanoseconds,
// absolute, as steady_now() counts; 0 is long past: "try once and do not wait".

/// "Wait as long as it takes."
inline constexpr std::uint64_t kNoDeadline = UINT64_MAX;

/// Most descriptors that one message may carry.
inline constexpr std::size_t kMessageFdsMax = 4;

struct ListenOptions {
  std::optional<gid_t> group =
      std::nullopt;  ///< Members may connect too (mode 0660); otherwise only the owner.
  int backlog = 128;
};

/// Binds and listens at `path`, replacing a socket that lies there: only for whoever holds the name
/// lock (directory.hpp). What lies there and is no socket is left alone. Non-blocking.
/// @return `invalid` (path longer than sun_path), `os` (EEXIST: not a socket; EPERM: not in that
///         group; EACCES, ...).
[[nodiscard]] Result<UniqueFd> listen_at(const std::string& path, ListenOptions options = {});

/// Connects to a broker's socket. Blocking mode; every call below bounds its own wait.
/// @return `no_broker` (nothing listens), `access` (the directory or socket is not for us),
///         `timed_out`, `invalid` (path too long), `os`.
[[nodiscard]] Result<UniqueFd> connect_to(const std::string& path, std::uint64_t deadline_ns);

/// Takes one waiting connection; never blocks. The new socket is non-blocking.
/// @return `empty` (none waits now), `no_memory` (out of descriptors), `os`.
[[nodiscard]] Result<UniqueFd> accept_from(int listener) noexcept;

/// Sends one datagram and duplicates of `fds` (at most kMessageFdsMax; they stay the caller's).
/// @param bytes  1..65536 bytes.
/// @return code ok, or `timed_out`, `disconnected`, `invalid` (sizes), `os`. Never partly sent.
Error send_message(int fd, std::span<const std::byte> bytes, std::span<const int> fds,
                   std::uint64_t deadline_ns) noexcept;

/// What receive_message() got: `bytes` bytes of the buffer, `fd_count` descriptors, ours now.
struct ReceivedMessage {
  std::size_t bytes = 0;
  std::size_t fd_count = 0;
  std::array<UniqueFd, kMessageFdsMax> fds;
};

/// Receives one datagram. Descriptors come CLOEXEC; none is ever kept when an error is returned.
/// @param max_fds  0..kMessageFdsMax; with more than that on the message it is a protocol fault.
/// @return `disconnected` (closed, or an empty datagram), `timed_out`, `protocol` (longer than the
///         buffer, or surplus descriptors, which are closed), `no_memory` (our descriptor limit),
///         `invalid` (max_fds, empty buffer), `os`.
[[nodiscard]] Result<ReceivedMessage> receive_message(int fd, std::span<std::byte> buffer,
                                                      std::size_t max_fds,
                                                      std::uint64_t deadline_ns) noexcept;

/// Who is at the other end, as the kernel recorded it at connect time.
struct Credentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};
/// SO_PEERCRED. @return `os` for anything but a connected Unix socket.
[[nodiscard]] Result<Credentials> peer_credentials(int fd) noexcept;

/// What to tell whoever waited in vain for the broker at the other end of `fd`: one sentence, with
/// the process id where the kernel knows it.
[[nodiscard]] std::string silence_text(int fd);

/// Whether the other end belongs to one of these groups, as its primary (who.gid) or a
/// supplementary one, as the kernel recorded them at connect time. Allocates.
/// @param who  what peer_credentials() said of it.
[[nodiscard]] bool peer_is_member(int fd, const Credentials& who, std::span<const gid_t> groups);

/// A descriptor that becomes readable when process `pid` ends. Re-check the socket afterwards: only
/// if it is still connected was the pid not reused in between.
/// @return `os`: ESRCH (gone already), ENOSYS (kernel before 5.3: rely on the hang-up alone).
[[nodiscard]] Result<UniqueFd> open_pidfd(pid_t pid) noexcept;

/// Rings the other side's bell: one byte, never blocks. A full socket counts as rung, because the
/// bytes that fill it wake the peer just as well.
/// @return ok or disconnected.
Errc send_byte(int fd) noexcept;

/// Outcome of drain_bytes().
struct Drained {
  Errc code = Errc::ok;           ///< ok, disconnected, protocol (too long, or descriptors), os.
  std::size_t bells = 0;          ///< One-byte datagrams taken.
  std::size_t message_bytes = 0;  ///< > 0: a longer datagram was taken into `message`; call again.
  bool more = false;              ///< The bound was reached; there may be more.
};
/// Takes bells off the socket without blocking until none is left, a longer datagram (a rendezvous
/// message such as Closing) came, or 256 were taken, so that a peer that rings all the time cannot
/// hold the caller.
/// @param message  receives a longer datagram; its size bounds what is accepted.
[[nodiscard]] Drained drain_bytes(int fd, std::span<std::byte> message) noexcept;

/// Waits until `fd` is readable or hung up (the read tells which). @return ok, timed_out or os.
[[nodiscard]] Errc wait_readable(int fd, std::uint64_t deadline_ns) noexcept;
/// Waits until `fd` takes a datagram or is hung up. @return ok, timed_out or os.
[[nodiscard]] Errc wait_writable(int fd, std::uint64_t deadline_ns) noexcept;
/// poll() on any set with an absolute deadline; look at `revents` afterwards.
/// @return ok (at least one), timed_out (none) or os.
[[nodiscard]] Errc wait_any(std::span<pollfd> fds, std::uint64_t deadline_ns) noexcept;

}  // namespace mserve::shm
