// SPDX-License-Identifier: Apache-2.0
// Just enough of a broker for one servant at a time: the handshake of shm/README.md, and the rings
// as members.
#pragma once

#include <unistd.h>

#include <array>
#include <filesystem>
#include <optional>
#include <string>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/futex.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/rendezvous.hpp"
#include "mserve/shm/ring.hpp"
#include "mserve/shm/segment.hpp"
#include "mserve/shm/socket.hpp"

namespace mserve::servant {

class TinyBroker {
 public:
  static constexpr std::uint32_t kRingBytes = 64 << 10;

  /// Listens in `directory`, which exists and is private.
  TinyBroker(const std::string& directory, const std::string& name) {
    if (Result<std::string> path = shm::socket_path(directory, name)) {
      path_ = path.value();
      if (Result<shm::UniqueFd> fd = shm::listen_at(path_)) {
        listener_ = std::move(fd).value();
      }
    }
  }
  TinyBroker(const TinyBroker&) = delete;
  TinyBroker& operator=(const TinyBroker&) = delete;
  ~TinyBroker() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

  /// Takes one servant through the handshake; blocks up to ten seconds. @return ok, or where it
  /// broke.
  Errc accept() {
    const std::uint64_t deadline = shm::steady_now() + 10'000'000'000;
    if (const Errc waited = shm::wait_readable(listener_.get(), deadline); waited != Errc::ok) {
      return waited;
    }
    Result<shm::UniqueFd> fd = shm::accept_from(listener_.get());
    if (!fd) {
      return fd.error().code;
    }
    socket_ = std::move(fd).value();
    std::array<std::byte, shm::kWireBytesMax> buffer{};
    Result<shm::ReceivedMessage> got = shm::receive_message(socket_.get(), buffer, 0, deadline);
    if (!got) {
      return got.error().code;
    }
    if (shm::parse_control(std::span(buffer).first(got.value().bytes))) {
      return accept();  // one that was about to end, and asked for nothing more
    }
    const Result<shm::Hello> parsed = shm::parse_hello(std::span(buffer).first(got.value().bytes));
    if (!parsed) {
      return parsed.error().code;
    }
    hello = parsed.value();
    if (const Errc welcomed = welcome(deadline); welcomed != Errc::ok) {
      return welcomed;
    }
    got = shm::receive_message(socket_.get(), buffer, 0, deadline);
    if (!got) {
      return got.error().code;
    }
    const Result<shm::Mapped> mapped =
        shm::parse_mapped(std::span(buffer).first(got.value().bytes), kSession);
    return mapped ? start(deadline) : mapped.error().code;
  }

  /// Ends the session as a dead broker does; the listener stays.
  void hang_up() { socket_.reset(); }

  /// Sends one whole request and wakes the servant if it sleeps.
  bool send(std::uint64_t id, std::span<const std::byte> payload, std::uint8_t flags) {
    shm::FrameHeader header;
    header.flags = flags;
    header.id = id;
    if (!shm::try_send_whole(to, header, {}, payload)) {
      return false;
    }
    // A futex wake can come before the sleep that it is meant for; that sleep then ends by its own
    // time-out.
    if (to.consumer_polled() == shm::Polled::sleeping_on_futex) {
      (void)shm::futex_wake(peer_.front()->sleep_word);
    } else if (to.consumer_polled() == shm::Polled::sleeping_on_socket) {
      (void)shm::send_byte(socket_.get());
    }
    return true;
  }

  /// True once the servant closed its end.
  bool servant_gone() {
    std::array<std::byte, shm::kWireBytesMax> buffer{};
    return shm::drain_bytes(socket_.get(), buffer).code == Errc::disconnected;
  }

  shm::Hello hello;
  shm::RingProducer to;
  shm::RingConsumer from;

 private:
  static constexpr std::uint64_t kSession = (std::uint64_t{1} << 32) | 5;
  static constexpr std::uint64_t kEpoch = 77;

  Errc welcome(std::uint64_t deadline) {
    const std::uint64_t bytes = shm::segment_bytes(kRingBytes, 0);
    Result<shm::Segment> own = shm::Segment::create("tiny-own", bytes);
    Result<shm::Segment> peer = shm::Segment::create("tiny-peer", bytes);
    if (!own || !peer) {
      return Errc::no_memory;
    }
    const shm::SegmentHeader header = shm::make_segment_header(kSession, kEpoch, kRingBytes, 0);
    (void)own.value().write_header(header);
    (void)peer.value().write_header(header);
    Result<shm::Mapping> mapping = own.value().map(shm::Access::read_write);
    if (!mapping || own.value().seal_writes().code != Errc::ok) {
      return Errc::bad_segment;
    }
    own_ = std::move(mapping).value();
    own_.front()->consumer_pos.store(shm::ring_start(5),
                                     std::memory_order_relaxed);  // before Welcome
    own_.front()->polled.store(1, std::memory_order_relaxed);     // before Welcome
    shm::Welcome w;
    w.session = kSession;
    w.broker_epoch = kEpoch;
    w.ring_start = shm::ring_start(5);
    w.message_bytes_max = 1 << 20;
    w.to_peer_ring_bytes = w.to_broker_ring_bytes = kRingBytes;
    w.frame_bytes_max = shm::frame_bytes_max(kRingBytes);
    w.credit = hello.credit;
    w.servant = 3;
    w.broker_pid = getpid();
    (void)shm::set_text(w.broker_version, "tiny");
    const std::array<int, 2> fds{own.value().fd(), peer.value().fd()};
    peer_segment_ = std::move(peer).value();
    return shm::send_message(socket_.get(), shm::wire_bytes(w), fds, deadline).code;
  }

  Errc start(std::uint64_t deadline) {
    if (peer_segment_.seal_writes().code != Errc::ok) {
      return Errc::bad_segment;
    }
    Result<shm::Mapping> mapping = peer_segment_.map(shm::Access::read_only);
    if (!mapping) {
      return Errc::bad_segment;
    }
    peer_ = std::move(mapping).value();
    to = shm::RingProducer(memory(own_, peer_));
    from = shm::RingConsumer(memory(peer_, own_));
    shm::Ready ready;
    ready.session = kSession;
    return shm::send_message(socket_.get(), shm::wire_bytes(ready), {}, deadline).code;
  }

  static shm::RingMemory memory(const shm::Mapping& producer, const shm::Mapping& consumer) {
    return {producer.ring(),
            kRingBytes,
            shm::ring_start(5),
            &producer.front()->producer_pos,
            &consumer.front()->consumer_pos,
            &consumer.front()->polled};
  }

  std::string path_;
  shm::UniqueFd listener_;
  shm::UniqueFd socket_;
  shm::Segment peer_segment_;
  shm::Mapping own_;
  shm::Mapping peer_;
};

}  // namespace mserve::servant
