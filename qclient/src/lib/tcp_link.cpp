// SPDX-License-Identifier: Apache-2.0
#include "lib/tcp_link.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>
#include <vector>

#include "lib/answer_reader.hpp"
#include "lib/private_ring.hpp"
#include "lib/request_writer.hpp"
#include "mserve/kdb/message.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/socket.hpp"

namespace mserve {
namespace {

constexpr std::uint32_t kRingBytes = 256U << 10;

/// The first one that allows messages above 2 GiB (KDB+ 3.4).
constexpr std::uint8_t kCapabilityLarge = 5;

/// Reads of the socket that one look at the session makes at most.
constexpr int kReadsPerLook = 16;

std::uint64_t largest_message(const ClientOptions& options, std::uint8_t capability) noexcept {
  const std::uint64_t wanted =
      options.message_bytes_max != 0 ? options.message_bytes_max : kTcpMessageBytesMax;
  const std::uint64_t possible =
      (capability >= kCapabilityLarge ? kdb::kMessageBytesMax : kdb::kMessageBytesMaxSmall) -
      RequestWriter::kFrontBytes - RequestWriter::kBackBytes;
  return std::min(wanted, possible);
}

class TcpLink final : public Link {
 public:
  TcpLink(TcpSession session, const ClientOptions& options, shm::UniqueFd epoll)
      : socket_(std::move(session.socket)),
        epoll_(std::move(epoll)),
        endpoint_(std::move(session.endpoint)),
        outgoing_(options.ring_bytes != 0 ? options.ring_bytes : kRingBytes),
        incoming_(options.ring_bytes != 0 ? options.ring_bytes : kRingBytes),
        control_(shm::kControlRingBytes),
        writer_(outgoing_.consumer()),
        reader_(incoming_.producer(), largest_message(options, session.capability)) {
    info_.out_ring_bytes = static_cast<std::uint32_t>(outgoing_.producer().capacity());
    info_.in_ring_bytes = static_cast<std::uint32_t>(incoming_.producer().capacity());
    info_.message_bytes_max = largest_message(options, session.capability);
    info_.window_bytes = UINT64_MAX;  // no grants: a full ring holds the gateway up
    buffer_.resize(std::max<std::size_t>(reader_.window_bytes() + 1, kRingBytes / 2));
  }

  shm::RingProducer& outgoing() noexcept override { return outgoing_.producer(); }
  shm::RingConsumer& incoming() noexcept override { return incoming_.consumer(); }
  shm::RingProducer& control() noexcept override { return control_.producer(); }
  const shm::SessionInfo& info() const noexcept override { return info_; }
  const std::string& endpoint() const noexcept override { return endpoint_; }
  bool remote() const noexcept override { return true; }
  std::string closing_reason() const override {
    return reason_.empty() ? std::string() : endpoint_ + " " + reason_;
  }
  int fd() const noexcept override { return epoll_.get(); }

  void wake_broker() noexcept override;
  Errc wait(std::uint64_t deadline_ns) noexcept override;
  bool prepare_sleep() noexcept override;
  Errc finish_sleep() noexcept override { return check(); }
  Errc check() noexcept override;

 private:
  void note_controls();
  void write_socket();
  void read_socket();
  [[nodiscard]] bool feed();
  void watch_writable(bool wanted) noexcept;
  void fail(const std::string& why);
  /// Nothing can come any more, and what came is in the ring or will never fit together.
  [[nodiscard]] bool gone() const noexcept { return failed_ || (ended_ && !reader_.blocked()); }

  shm::UniqueFd socket_;
  shm::UniqueFd epoll_;  ///< Watches the socket; also for room to write, while something waits.
  std::string endpoint_;
  PrivateRing outgoing_;
  PrivateRing incoming_;
  PrivateRing control_;
  RequestWriter writer_;
  AnswerReader reader_;
  shm::SessionInfo info_;
  std::vector<std::byte> buffer_;  ///< What arrived and is not in the ring: [begin_, end_).
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool writable_watched_ = false;
  bool write_failed_ = false;
  bool ended_ = false;   ///< The gateway sends nothing more.
  bool failed_ = false;  ///< It broke the protocol, or we could not keep it.
  std::string reason_;
};

void TcpLink::wake_broker() noexcept {
  note_controls();
  write_socket();
}

/// Cancels and grants end here.
void TcpLink::note_controls() {
  shm::FrameView frame;
  while (control_.consumer().front(frame) == Errc::ok) {
    if (frame.header.kind == shm::Kind::cancel) {
      reader_.forget(frame.header.id);
    }
    control_.consumer().release();
  }
}

void TcpLink::write_socket() {
  bool blocked = false;
  while (!write_failed_ && !failed_ && !blocked && writer_.next()) {
    if (const std::uint64_t id = writer_.take_info_wish(); id != 0) {
      reader_.want_info(id);
    }
    std::array<iovec, 3> parts{};
    msghdr message{};
    message.msg_iov = parts.data();
    for (const auto piece : writer_.pieces()) {
      parts[message.msg_iovlen].iov_base = const_cast<std::byte*>(piece.data());  // only read
      parts[message.msg_iovlen].iov_len = piece.size();
      message.msg_iovlen += piece.empty() ? 0 : 1;
    }
    const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      writer_.sent(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      blocked = true;
    } else if (errno != EINTR) {
      // What had arrived can still be read, up to the end that this makes sure of.
      write_failed_ = true;
      reason_ = "took no more requests: " + std::generic_category().message(errno);
      (void)::shutdown(socket_.get(), SHUT_RDWR);
    }
  }
  watch_writable(blocked);
}

/// Moves what is in the buffer into the ring. @return false when nothing more can be read.
bool TcpLink::feed() {
  try {
    begin_ += reader_.feed(std::span(buffer_).subspan(begin_, end_ - begin_));
  } catch (const std::bad_alloc&) {
    fail("sent a message that there is no memory for");
    return false;
  }
  if (reader_.failed()) {
    fail(reader_.reason());
    return false;
  }
  return !reader_.blocked() && !ended_;
}

void TcpLink::read_socket() {
  bool more = !failed_ && feed();
  for (int i = 0; more && i < kReadsPerLook; ++i) {
    if (begin_ != 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= std::exchange(begin_, 0);
    }
    // More than 0: the reader takes what fills its window.
    const std::size_t room = buffer_.size() - end_;
    const ssize_t got = ::recv(socket_.get(), buffer_.data() + end_, room, MSG_DONTWAIT);
    if (got > 0) {
      end_ += static_cast<std::size_t>(got);
      more = feed() && static_cast<std::size_t>(got) == room;  // a short read emptied the socket
    } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      more = false;
    } else {
      ended_ = true;
      more = false;
      if (reason_.empty()) {
        reason_ = got == 0 ? "closed the connection"
                           : "is gone: " + std::generic_category().message(errno);
      }
    }
  }
}

Errc TcpLink::check() noexcept {
  note_controls();
  write_socket();
  read_socket();
  return gone() ? Errc::disconnected : Errc::ok;
}

Errc TcpLink::wait(std::uint64_t deadline_ns) noexcept {
  for (;;) {
    const Errc code = check();
    if (incoming_.consumer().ready()) {
      return Errc::ok;
    }
    if (code != Errc::ok) {
      return code;
    }
    const std::uint64_t now = shm::steady_now();
    if (now >= deadline_ns) {
      return Errc::timed_out;
    }
    pollfd entry{socket_.get(), static_cast<short>(POLLIN | (writable_watched_ ? POLLOUT : 0)), 0};
    const bool could_write = writable_watched_;
    (void)shm::wait_any({&entry, 1}, deadline_ns);
    if (could_write && (entry.revents & POLLOUT) != 0) {
      (void)check();
      return Errc::ok;  // whoever waits for room in the outgoing ring may look again
    }
  }
}

bool TcpLink::prepare_sleep() noexcept {
  (void)check();
  return !incoming_.consumer().ready();
}

void TcpLink::watch_writable(bool wanted) noexcept {
  if (wanted == writable_watched_) {
    return;
  }
  epoll_event event{};
  event.events = EPOLLIN | (wanted ? static_cast<std::uint32_t>(EPOLLOUT) : 0U);
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, socket_.get(), &event);
  writable_watched_ = wanted;
}

/// The session is over. The shutdown wakes whoever watches fd().
void TcpLink::fail(const std::string& why) {
  failed_ = true;
  reason_ = why;
  (void)::shutdown(socket_.get(), SHUT_RDWR);
}

}  // namespace

Result<std::unique_ptr<Link>> make_tcp_link(TcpSession session, const ClientOptions& options) {
  shm::UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  if (!epoll || ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, session.socket.get(), &event) != 0) {
    return os_error("epoll");
  }
  return std::unique_ptr<Link>(
      std::make_unique<TcpLink>(std::move(session), options, std::move(epoll)));
}

}  // namespace mserve
