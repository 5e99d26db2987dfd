// SPDX-License-Identifier: Apache-2.0
#include "support/raw_peer.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <stdexcept>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/membarrier.hpp"
#include "mserve/shm/socket.hpp"
#include "support/wait.hpp"

namespace mserve::test {

namespace {

shm::RingMemory memory_of(const shm::Mapping& producer, const shm::Mapping& consumer,
                          std::uint32_t ring_bytes, std::uint64_t start) {
  return {producer.ring(),
          ring_bytes,
          start,
          &producer.front()->producer_pos,
          &consumer.front()->consumer_pos,
          &consumer.front()->polled};
}

template <class T>
T need(Result<T> result, const char* what) {
  if (!result) {
    throw std::runtime_error(std::string(what) + ": " + to_string(result.error().code));
  }
  return std::move(result).value();
}

}  // namespace

Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

Bytes pattern(std::size_t count, std::uint32_t seed) {
  Bytes bytes(count);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    std::memcpy(bytes.data() + i, &state, 8);
  }
  for (; i < count; ++i) {
    bytes[i] = static_cast<std::byte>(i * 31 + seed);
  }
  return bytes;
}

RawPeer::RawPeer(const Broker& broker, const RawSetup& setup)
    : RawPeer(broker.directory(), broker.name(), setup) {}

RawPeer::RawPeer(const std::string& directory, const std::string& name, const RawSetup& setup) {
  const auto done = [&setup](AttachStep step) {
    if (setup.at) {
      setup.at(step);
    }
  };
  if (shm::membarrier_available()) {
    (void)shm::membarrier_register_global_expedited();
  }
  const std::string path = need(shm::socket_path(directory, name), "path");
  socket_ = need(shm::connect_to(path, watchdog()), "connect");
  done(AttachStep::connected);
  shm::Hello hello;
  hello.role = setup.role;
  hello.credit = setup.role == shm::Role::servant ? setup.credit : 0;
  hello.ring_bytes = setup.ring_bytes;
  (void)shm::set_text(hello.name, setup.name);
  (void)shm::set_text(hello.tags, setup.tags);
  (void)shm::send_message(socket_.get(), shm::wire_bytes(hello), {}, watchdog());
  done(AttachStep::said_hello);
  std::array<std::byte, shm::kWireBytesMax> buffer;
  auto answer = need(shm::receive_message(socket_.get(), buffer, 2, watchdog()), "welcome");
  welcome_ = need(shm::parse_welcome(std::span(buffer).first(answer.bytes), setup.role), "welcome");
  if (welcome_.status != Errc::ok) {
    throw std::runtime_error(std::string("refused: ") + to_string(welcome_.status) + ": " +
                             std::string(shm::text_of(welcome_.reason)));
  }
  done(AttachStep::welcomed);
  const std::uint32_t out_bytes = welcome_.to_broker_ring_bytes;
  broker_ = need(
      shm::Mapping::map(answer.fds[0].get(), shm::segment_bytes(welcome_.to_peer_ring_bytes, 0),
                        shm::Access::read_only),
      "map broker's");
  own_ = need(
      shm::Mapping::map(answer.fds[1].get(), shm::segment_bytes(out_bytes, welcome_.control_bytes),
                        shm::Access::read_write),
      "map own");
  const std::uint64_t start = welcome_.ring_start;
  const bool seq_cst = welcome_.wake_mode == shm::WakeMode::seq_cst;
  out_ = shm::RingProducer(memory_of(own_, broker_, out_bytes, start), seq_cst);
  in_ = shm::RingConsumer(memory_of(broker_, own_, welcome_.to_peer_ring_bytes, start));
  if (welcome_.control_bytes != 0) {
    shm::RingMemory control = memory_of(own_, broker_, welcome_.control_bytes, start);
    control.data = own_.ring() + out_bytes;
    control.producer_pos = nullptr;
    control.consumer_pos = &broker_.front()->control_consumer_pos;
    control_ = shm::RingProducer(control, seq_cst);
  }
  front().consumer_pos.store(start, std::memory_order_relaxed);
  front().polled.store(static_cast<std::uint32_t>(shm::Polled::polling), std::memory_order_relaxed);
  done(AttachStep::mapped);
  const shm::Mapped mapped{.session = welcome_.session};
  (void)shm::send_message(socket_.get(), shm::wire_bytes(mapped), {}, watchdog());
  auto ready = need(shm::receive_message(socket_.get(), buffer, 0, watchdog()), "ready");
  (void)need(shm::parse_ready(std::span(buffer).first(ready.bytes), welcome_.session), "ready");
}

void RawPeer::wake_broker() {
  if (out_.consumer_polled() != shm::Polled::polling) {
    (void)shm::send_byte(socket_.get());
  }
}

bool RawPeer::try_send(const shm::FrameHeader& head, std::span<const std::byte> extensions,
                       std::span<const std::byte> payload) {
  if (!shm::try_send_whole(out_, head, extensions, payload)) {
    return false;
  }
  wake_broker();
  return true;
}

bool RawPeer::send(const shm::FrameHeader& head, std::span<const std::byte> extensions,
                   std::span<const std::byte> payload) {
  return wait_until([&] { return try_send(head, extensions, payload); },
                    "room in a raw peer's ring");
}

bool RawPeer::request(std::uint64_t id, std::span<const std::byte> payload, std::uint8_t flags,
                      std::uint64_t route) {
  shm::FrameHeader head;
  head.kind = shm::Kind::request;
  head.flags = flags;
  head.id = id;
  head.aux = route;
  return send(head, {}, payload);
}

bool RawPeer::reply(std::uint64_t id, std::span<const std::byte> payload, std::uint16_t status) {
  shm::FrameHeader head;
  head.kind = shm::Kind::reply;
  head.flags = shm::kFlagOpaque;
  head.id = id;
  head.aux = shm::pack(shm::ReplyAux{welcome_.servant, status});
  return send(head, {}, payload);
}

bool RawPeer::fragment(shm::FrameHeader head, std::uint64_t offset, std::uint64_t total,
                       std::span<const std::byte> payload) {
  std::array<std::byte, shm::ext_bytes_of(sizeof(shm::FlowExt))> extension;
  (void)shm::put_extension(extension.data(), shm::ExtType::flow, 0, shm::FlowExt{offset, total});
  return send(head, extension, payload);
}

bool RawPeer::send_control(const shm::FrameHeader& head) {
  return wait_until([&] { return shm::try_send_whole(control_, head, {}, {}); },
                    "room in a control ring") &&
         (wake_broker(), true);
}

std::optional<Frame> RawPeer::poll() {
  shm::FrameView view;
  const Errc code = in_.front(view);
  if (code != Errc::ok) {
    EXPECT_EQ(code, Errc::empty);
    return std::nullopt;
  }
  Frame frame;
  frame.header = view.header;
  EXPECT_TRUE(shm::parse_extensions(view.extensions, frame.extensions));
  frame.payload.assign(view.payload.begin(), view.payload.end());
  in_.release();
  return frame;
}

std::optional<Frame> RawPeer::take() {
  std::optional<Frame> frame;
  (void)wait_until(
      [&] {
        frame = poll();
        return frame || closed();
      },
      "a frame from the broker");
  EXPECT_TRUE(frame) << "the session was closed instead";
  return frame;
}

bool RawPeer::closed() {
  if (closing_) {
    return true;
  }
  std::array<std::byte, shm::kWireBytesMax> buffer;
  const shm::Drained drained = shm::drain_bytes(socket_.get(), buffer);
  if (drained.message_bytes > 0) {
    closing_.emplace();
    if (auto parsed = shm::parse_closing(std::span(buffer).first(drained.message_bytes))) {
      closing_ = parsed.value();
    }
    return true;
  }
  if (drained.code != Errc::ok) {
    closing_.emplace();
    closing_->status = Errc::disconnected;
  }
  return closing_.has_value();
}

shm::Closing RawPeer::wait_closed() {
  (void)wait_until([this] { return closed(); }, "the broker to close a session");
  return closing_.value_or(shm::Closing{});
}

void RawPeer::vanish() {
  socket_.reset();
}

void RawPeer::put_word(std::uint64_t pos, std::uint64_t word) {
  std::byte* const place = own_.ring() + (pos & (welcome_.to_broker_ring_bytes - 1));
  reinterpret_cast<std::atomic<std::uint64_t>*>(place)->store(word, std::memory_order_release);
}

RawPeer raw_client(const Broker& broker, std::uint32_t ring_bytes) {
  return {broker, RawSetup{.role = shm::Role::client, .name = "raw", .ring_bytes = ring_bytes}};
}

RawPeer raw_servant(const Broker& broker, const std::string& name, std::uint32_t credit) {
  return {broker, RawSetup{.role = shm::Role::servant, .name = name, .credit = credit}};
}

}  // namespace mserve::test
