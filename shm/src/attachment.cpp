// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/attachment.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/futex.hpp"
#include "mserve/shm/membarrier.hpp"
#include "mserve/shm/parking.hpp"
#include "mserve/shm/segment.hpp"
#include "mserve/shm/socket.hpp"

namespace mserve::shm {

/// What an attachment owns beside its rings. On the heap, so that the Attachment can move while the
/// rings point into the mappings.
struct Attachment::Parts {
  UniqueFd socket;
  Mapping own;     // ours, writable: replies or requests go out here
  Mapping broker;  // the broker's, read-only
  bool seq_cst_wakes = false;
  std::string closing_reason;
  Errc closing_code = Errc::disconnected;

  SegmentFront& front() const noexcept { return *own.front(); }
};

namespace {

void tell(std::string* reason, std::string text) {
  if (reason != nullptr) {
    *reason = std::move(text);
  }
}

void tell_silence(const Error& error, int fd, std::string* reason) {
  if (error.code == Errc::timed_out) {
    tell(reason, silence_text(fd));
  }
}

/// Why connecting failed, for people.
std::string unconnected(Errc code, const std::string& broker, const std::string& directory,
                        const std::string& path) {
  switch (code) {
    case Errc::access:
      return access(directory.c_str(), X_OK) != 0 ? "this user may not enter " + directory
                                                  : "this user may not connect to " + path;
    case Errc::timed_out:
      return "broker '" + broker + "' takes no connections; is it stopped or overloaded?";
    default:
      return "no broker '" + broker + "' listens at " + path;
  }
}

}  // namespace

Result<UniqueFd> connect_to_broker(const std::string& broker, const std::string& directory,
                                   std::uint64_t deadline_ns, std::string* reason) {
  const bool by_rule = directory.empty();
  const std::string where = by_rule ? default_directory() : directory;
  const Error unsafe =
      check_directory(where, by_rule ? DirectoryOwner::self_or_root : DirectoryOwner::anybody,
                      /*group_allowed=*/true, reason);
  if (unsafe.code != Errc::ok) {
    return unsafe;
  }
  auto path = socket_path(where, broker, reason);
  if (!path) {
    return path.error();
  }
  auto connected = connect_to(path.value(), deadline_ns);
  if (!connected) {
    tell(reason, unconnected(connected.error().code, broker, where, path.value()));
  }
  return connected;
}

namespace {

Result<Hello> make_hello(const AttachOptions& options, std::string* reason) {
  Hello hello;
  hello.role = options.role;
  hello.flags = options.role == Role::servant ? options.tier : 0;
  hello.ring_bytes = options.ring_bytes;
  hello.credit = options.role == Role::servant ? options.credit : 0;
  if (!set_text(hello.name, options.name) || !set_text(hello.tags, options.tags)) {
    tell(reason, "name (63 bytes) or tags (255 bytes) too long");
    return Error{Errc::invalid, 0, "hello"};
  }
  if (options.tier > kTierMax) {
    tell(reason, "tiers are 0 to 3");
    return Error{Errc::invalid, 0, "hello"};
  }
  return hello;
}

/// Maps one received segment after checking everything that the Welcome promised about it.
Result<Mapping> map_segment(int fd, const Welcome& welcome, std::uint32_t ring_bytes,
                            std::uint32_t control_bytes, Access access, bool lock) {
  const std::uint64_t bytes = segment_bytes(ring_bytes, control_bytes);
  auto header = Segment::check(fd, bytes);
  if (!header) {
    return header.error();
  }
  const SegmentHeader& h = header.value();
  if (h.session != welcome.session || h.broker_epoch != welcome.broker_epoch ||
      h.ring_bytes != ring_bytes || h.control_bytes != control_bytes) {
    return Error{Errc::bad_segment, 0, "header differs from welcome"};
  }
  return Mapping::map(fd, bytes, access, MapOptions{.prefault = true, .lock = lock});
}

SessionInfo info_of(const Welcome& w) {
  SessionInfo info;
  info.session = w.session;
  info.broker_epoch = w.broker_epoch;
  info.out_ring_bytes = w.to_broker_ring_bytes;
  info.in_ring_bytes = w.to_peer_ring_bytes;
  info.frame_bytes_max = w.frame_bytes_max;
  info.message_bytes_max = w.message_bytes_max;
  info.window_bytes = w.window_bytes;
  info.credit = w.credit;
  info.servant = w.servant;
  info.broker_pid = w.broker_pid;
  info.route_rule = text_of(w.route_rule);
  info.placement = (w.flags & kWelcomePlacement) != 0;
  info.counters_name = text_of(w.counters_name);
  info.broker_version = text_of(w.broker_version);
  return info;
}

RingMemory memory_of(const Mapping& producer, const Mapping& consumer, std::uint32_t ring_bytes,
                     std::uint64_t start) {
  SegmentFront* const from = producer.front();
  SegmentFront* const to = consumer.front();
  return {producer.ring(), ring_bytes, start, &from->producer_pos, &to->consumer_pos, &to->polled};
}

/// Says hello and takes the answer, which may be a refusal.
Result<Welcome> greet(int fd, const AttachOptions& options, std::uint64_t deadline_ns,
                      ReceivedMessage& received, std::string* reason) {
  auto hello = make_hello(options, reason);
  if (!hello) {
    return hello.error();
  }
  // A broker that refuses this user does so before it reads anything and hangs up: the refusal
  // waits for us all the same.
  const Error sent = send_message(fd, wire_bytes(hello.value()), {}, deadline_ns);
  if (sent.code != Errc::ok && sent.code != Errc::disconnected) {
    return sent;
  }
  std::array<std::byte, kWireBytesMax> buffer;
  auto answer = receive_message(fd, buffer, 2, deadline_ns);
  if (!answer) {
    return answer.error();
  }
  received = std::move(answer).value();
  auto welcome = parse_welcome(std::span(buffer).first(received.bytes), options.role);
  if (!welcome) {
    tell(reason, "the broker's answer does not follow the protocol");
    return welcome.error();
  }
  if (welcome.value().status != Errc::ok) {
    tell(reason, std::string(text_of(welcome.value().reason)));
    return Error{welcome.value().status, 0, "refused by the broker"};
  }
  return welcome;
}

/// Maps both segments and binds nothing yet.
Error map_both(const Welcome& welcome, const ReceivedMessage& received, bool lock, Mapping& own,
               Mapping& broker) {
  if (received.fd_count != 2) {
    return Error{Errc::protocol, 0, "welcome without two descriptors"};
  }
  auto from_broker = map_segment(received.fds[0].get(), welcome, welcome.to_peer_ring_bytes, 0,
                                 Access::read_only, lock);
  if (!from_broker) {
    return from_broker.error();
  }
  auto to_broker = map_segment(received.fds[1].get(), welcome, welcome.to_broker_ring_bytes,
                               welcome.control_bytes, Access::read_write, lock);
  if (!to_broker) {
    return to_broker.error();
  }
  broker = std::move(from_broker).value();
  own = std::move(to_broker).value();
  return {};
}

/// Tells the broker that it may seal and waits until it polls.
Error confirm(int fd, std::uint64_t session, std::uint64_t deadline_ns, std::string* reason) {
  const Mapped mapped{.session = session};
  if (const Error e = send_message(fd, wire_bytes(mapped), {}, deadline_ns); e.code != Errc::ok) {
    return e;
  }
  std::array<std::byte, kWireBytesMax> buffer;
  auto answer = receive_message(fd, buffer, 0, deadline_ns);
  if (!answer) {
    return answer.error();
  }
  const auto bytes = std::span(buffer).first(answer.value().bytes);
  if (const auto closing = parse_closing(bytes)) {
    tell(reason, std::string(text_of(closing.value().reason)));
    return Error{closing.value().status, 0, "refused by the broker"};
  }
  auto ready = parse_ready(bytes, session);
  return ready ? Error{} : ready.error();
}

}  // namespace

Attachment::Attachment(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}
Attachment::Attachment(Attachment&&) noexcept = default;
Attachment& Attachment::operator=(Attachment&&) noexcept = default;
Attachment::~Attachment() = default;

Result<Attachment> Attachment::open(const AttachOptions& options, std::string* reason) {
  const std::uint64_t deadline_ns = add_capped(steady_now(), options.timeout_ns);
  auto parts = std::make_unique<Parts>();
  auto connected = connect_to_broker(options.broker, options.directory, deadline_ns, reason);
  if (!connected) {
    return connected.error();
  }
  parts->socket = std::move(connected).value();
  const int fd = parts->socket.get();
  ReceivedMessage received;
  auto welcome = greet(fd, options, deadline_ns, received, reason);
  if (!welcome) {
    tell_silence(welcome.error(), fd, reason);
    return welcome.error();
  }
  parts->seq_cst_wakes = welcome.value().wake_mode == WakeMode::seq_cst;
  if (!parts->seq_cst_wakes) {
    if (const Error e = membarrier_register_global_expedited(); e.code != Errc::ok) {
      tell(reason, "this process may not use membarrier, which the broker relies on");
      return e;
    }
  }
  Attachment attachment(std::move(parts));
  attachment.info_ = info_of(welcome.value());
  if (options.role == Role::observer) {
    return attachment;
  }
  Parts& p = *attachment.parts_;
  if (const Error e = map_both(welcome.value(), received, options.lock_memory, p.own, p.broker);
      e.code != Errc::ok) {
    return e;
  }
  attachment.bind(welcome.value());
  if (const Error e = confirm(fd, welcome.value().session, deadline_ns, reason);
      e.code != Errc::ok) {
    tell_silence(e, fd, reason);
    return e;
  }
  return attachment;
}

void Attachment::bind(const Welcome& welcome) noexcept {
  Parts& p = *parts_;
  info_.lock_failed = p.own.lock_errno() != 0 || p.broker.lock_errno() != 0;
  const std::uint64_t start = welcome.ring_start;
  outgoing_ = RingProducer(memory_of(p.own, p.broker, welcome.to_broker_ring_bytes, start),
                           p.seq_cst_wakes);
  incoming_ = RingConsumer(memory_of(p.broker, p.own, welcome.to_peer_ring_bytes, start));
  if (welcome.control_bytes != 0) {
    RingMemory control = memory_of(p.own, p.broker, welcome.control_bytes, start);
    control.data = p.own.ring() + welcome.to_broker_ring_bytes;
    control.producer_pos = nullptr;
    control.consumer_pos = &p.broker.front()->control_consumer_pos;
    control_ = RingProducer(control, p.seq_cst_wakes);
  }
  p.front().consumer_pos.store(start, std::memory_order_relaxed);  // before Mapped
  store_polled(p.front().polled, Polled::polling, p.seq_cst_wakes);
}

void Attachment::ring_bell() noexcept {
  (void)send_byte(parts_->socket.get());
}

bool Attachment::announce_sleep(Polled how) noexcept {
  store_polled(parts_->front().polled, how, parts_->seq_cst_wakes);  // C1
  parking_barrier(parts_->seq_cst_wakes);                            // C2
  if (incoming_.ready_before_sleep(parts_->seq_cst_wakes)) {         // C3
    store_polled(parts_->front().polled, Polled::polling, parts_->seq_cst_wakes);
    return false;
  }
  return true;
}

bool Attachment::prepare_sleep() noexcept {
  return parts_->own.front() != nullptr && announce_sleep(Polled::sleeping_on_socket);
}

Errc Attachment::finish_sleep() noexcept {
  if (parts_->own.front() == nullptr) {
    return check();  // an observer has no rings
  }
  store_polled(parts_->front().polled, Polled::polling, parts_->seq_cst_wakes);
  return check();
}

Errc Attachment::wait(std::uint64_t deadline_ns, SleepOn how) noexcept {
  if (parts_->own.front() == nullptr) {
    return Errc::invalid;
  }
  for (;;) {
    if (incoming_.ready()) {
      return Errc::ok;
    }
    const std::uint64_t now = steady_now();
    if (now >= deadline_ns) {
      return Errc::timed_out;
    }
    const std::uint64_t until = std::min(deadline_ns, now + kSleepNsMax);
    if (how == SleepOn::socket) {
      if (announce_sleep(Polled::sleeping_on_socket)) {
        (void)wait_readable(fd(), until);
      }
    } else {
      // Read before C1: a wake between C1 and the sleep leaves the word alone, so the waker
      // repeats.
      const std::uint32_t word = parts_->front().sleep_word.load(std::memory_order_relaxed);
      if (announce_sleep(Polled::sleeping_on_futex)) {
        (void)futex_wait(parts_->front().sleep_word, word, until);
      }
    }
    if (finish_sleep() != Errc::ok) {
      return incoming_.ready() ? Errc::ok : Errc::disconnected;
    }
  }
}

Errc Attachment::check() noexcept {
  std::array<std::byte, kWireBytesMax> buffer;
  for (int i = 0; i < 4; ++i) {
    const Drained drained = drain_bytes(fd(), buffer);
    if (drained.code != Errc::ok) {
      return Errc::disconnected;
    }
    if (drained.message_bytes > 0) {
      auto closing = parse_closing(std::span(buffer).first(drained.message_bytes));
      if (closing) {
        parts_->closing_code = closing.value().status;
        parts_->closing_reason = text_of(closing.value().reason);
      }
      return Errc::disconnected;
    }
    if (!drained.more) {
      break;
    }
  }
  return Errc::ok;
}

const std::string& Attachment::closing_reason() const noexcept {
  return parts_->closing_reason;
}
Errc Attachment::closing_code() const noexcept {
  return parts_->closing_code;
}
int Attachment::fd() const noexcept {
  return parts_->socket.get();
}

}  // namespace mserve::shm
