// SPDX-License-Identifier: Apache-2.0
// An Exchange between a broker and a q that are both made of buffers.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/shm/message.hpp"
#include "shim/exchange.hpp"
#include "unit/servant/fake_broker.hpp"
#include "unit/shim/fake_q.hpp"

namespace mserve::shim {

using servant::Reply;
using servant::RingBuffer;

/// `to` and `from` are seen from the broker.
class Desk {
 public:
  struct Shape {
    Form form = Form::plain;
    std::uint8_t capability = 6;
    std::uint64_t ring_bytes = 64 << 10;
    std::uint32_t credit = 1;
    std::uint64_t message_bytes_max = 16 << 20;
    std::uint64_t max_gathered = 1 << 20;
    bool peer = false;  ///< q is another broker; with Form::lbt.
  };

  explicit Desk(Shape shape)
      : shape_(shape),
        to_memory_(shape.ring_bytes, kStart),
        from_memory_(shape.ring_bytes, kStart),
        to(to_memory_.memory()),
        from(from_memory_.memory()),
        shim_out(from_memory_.memory()),
        shim_in(to_memory_.memory()),
        exchange([this](std::string_view line) { warnings.emplace_back(line); }, shape.peer),
        replies_(std::uint64_t{1} << 40) {
    exchange.connect(shape.form, shape.capability);
    attach();
  }
  Desk() : Desk(Shape{}) {}

  void attach() {
    exchange.attach({.servant = kServant,
                     .credit = shape_.credit,
                     .out_ring_bytes = shape_.ring_bytes,
                     .message_bytes_max = shape_.message_bytes_max,
                     .max_gathered = shape_.max_gathered});
  }

  Progress step(bool look = false) {
    Rings rings{shim_out, shim_in};
    return exchange.step(q, &rings, look, now_ns);
  }
  Progress step_detached() { return exchange.step(q, nullptr, true, now_ns); }

  /// Steps until there is nothing more to do, reading all replies unless told not to.
  /// @return the last step's outcome.
  Progress run(bool reading = true) {
    Progress last = Progress::worked;
    for (int n = 0; n < 1'000'000; ++n) {
      last = step(true);
      if (reading) {
        read();
      }
      const bool again = last == Progress::worked || (last == Progress::waits_for_ring && reading);
      if (!again) {
        break;
      }
    }
    return last;
  }

  // --- the broker's side ---
  static shm::FrameHeader header(std::uint64_t id, std::uint8_t flags = 0,
                                 shm::Kind kind = shm::Kind::request) {
    shm::FrameHeader h;
    h.kind = kind;
    h.flags = flags;
    h.id = id;
    return h;
  }
  bool send(std::uint64_t id, std::span<const std::byte> payload, std::uint8_t flags = 0) {
    return shm::try_send_whole(to, header(id, flags), {}, payload);
  }
  bool send(std::uint64_t id, const kdb::Value& query) { return send(id, kdb::encode(query)); }
  bool send_pair(std::uint64_t id, const kdb::Value& query, const kdb::Value& options) {
    return send(id, pair(query, options), shm::kFlagPair);
  }
  bool send_fragment(std::uint64_t id, std::uint64_t offset, std::uint64_t total,
                     std::span<const std::byte> payload, std::uint8_t flags = 0) {
    std::byte extension[shm::ext_bytes_of(sizeof(shm::FlowExt))];
    (void)shm::put_extension(extension, shm::ExtType::flow, 0, shm::FlowExt{offset, total});
    return shm::try_send_whole(to, header(id, flags), extension, payload);
  }
  /// Sends all of a large request, stepping whenever the ring is full.
  void send_flow(std::uint64_t id, std::span<const std::byte> payload, std::size_t piece,
                 std::uint8_t flags = 0) {
    for (std::size_t at = 0; at < payload.size();) {
      const std::size_t now = std::min(piece, payload.size() - at);
      if (send_fragment(id, at, payload.size(), payload.subspan(at, now), flags)) {
        at += now;
      } else {
        ASSERT_NE(step(), Progress::broker_broken);
        read();
      }
    }
  }
  bool send_abort(std::uint64_t id) {
    return shm::try_send_whole(to, header(id, 0, shm::Kind::abort), {}, {});
  }
  bool send_cancel(std::uint64_t id) {
    return shm::try_send_whole(to, header(id, 0, shm::Kind::cancel), {}, {});
  }
  static std::vector<std::byte> pair(const kdb::Value& first, const kdb::Value& second) {
    std::vector<std::byte> bytes = kdb::encode(first);
    const std::vector<std::byte> behind = kdb::encode(second);
    bytes.insert(bytes.end(), behind.begin(), behind.end());
    return bytes;
  }

  /// Takes all that the shim committed; complete replies are added to `replies`.
  void read() {
    shm::FrameView frame;
    while (from.front(frame) == Errc::ok) {
      ++frames;
      if (frame.header.kind == shm::Kind::abort) {
        aborts.push_back(frame.header.id);
        replies_.drop(frame.header.id);
      } else {
        take(frame);
      }
      from.release();
    }
  }

  /// The reply to `id`; fails the test when there is none, or more than one.
  Reply reply(std::uint64_t id) {
    std::optional<Reply> found;
    for (const Reply& r : replies) {
      if (r.id == id) {
        EXPECT_FALSE(found) << "two replies to " << id;
        found = r;
      }
    }
    EXPECT_TRUE(found) << "no reply to " << id;
    return found.value_or(Reply{});
  }
  static Errc status(const Reply& reply) { return static_cast<Errc>(reply.aux.status); }

 private:
  static constexpr std::uint32_t kServant = 7;
  /// Near the end of the cursor's range, so that every test wraps 2^64 soon.
  static constexpr std::uint64_t kStart = ~std::uint64_t{0} - 8191;

  void take(const shm::FrameView& frame) {
    shm::Extensions extensions;
    ASSERT_TRUE(shm::parse_extensions(frame.extensions, extensions));
    ASSERT_EQ(frame.header.kind, shm::Kind::reply);
    Reply reply{frame.header.id, frame.header.flags, shm::unpack_reply(frame.header.aux), {}};
    EXPECT_EQ(reply.aux.servant, kServant);
    Errc added = Errc::ok;
    if (extensions.has_flow) {
      ++fragments;
      added = replies_.add(reply.id, extensions.flow, frame.payload, reply.payload);
    } else {
      reply.payload.assign(frame.payload.begin(), frame.payload.end());
    }
    ASSERT_TRUE(added == Errc::ok || added == Errc::empty) << to_string(added);
    if (added == Errc::ok) {
      replies.push_back(std::move(reply));
    }
  }

  Shape shape_;
  RingBuffer to_memory_;
  RingBuffer from_memory_;

 public:
  shm::RingProducer to;
  shm::RingConsumer from;
  shm::RingProducer shim_out;
  shm::RingConsumer shim_in;
  FakeQ q;
  std::vector<std::string> warnings;
  Exchange exchange;
  std::vector<Reply> replies;
  std::vector<std::uint64_t> aborts;
  std::uint64_t now_ns = 1'000'000;  ///< The time; it stands still.
  int frames = 0;
  int fragments = 0;

 private:
  shm::Assembler replies_;
};

inline kdb::Value text(std::string_view t) {
  return kdb::Value::chars(std::string(t));
}

/// A byte vector of `count` bytes; encoded it takes 6 more.
inline kdb::Value blob(std::size_t count, std::uint8_t seed = 1) {
  std::vector<std::uint8_t> bytes(count);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::uint8_t>(seed + i % 251);
  }
  return kdb::Value::bytes(std::move(bytes));
}

}  // namespace mserve::shim
