// SPDX-License-Identifier: Apache-2.0
// The broker's end of a session, made of two buffers: what an Engine cannot tell from the real
// thing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/value.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/ring.hpp"
#include "sdk/engine.hpp"
#include "support/ring_buffer.hpp"

namespace mserve::servant {

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

using test::RingBuffer;

struct Reply {
  std::uint64_t id = 0;
  std::uint8_t flags = 0;
  shm::ReplyAux aux;
  std::vector<std::byte> payload;

  [[nodiscard]] kdb::Value value() const {
    const kdb::Result<kdb::Value> decoded = kdb::decode(payload);
    return decoded ? *decoded : kdb::Value::error("the reply is no object");
  }
  [[nodiscard]] std::string error_text() const {
    const kdb::Value v = value();
    return v.is_error() ? std::string(*v.text_view()) : "";
  }
};

/// Both rings and an attached engine. `to` and `from` are seen from the broker.
class FakeBroker {
 public:
  struct Shape {
    std::uint64_t ring_bytes = 64 << 10;
    std::uint32_t credit = 1;
    std::uint64_t message_bytes_max = 1 << 20;
    /// Near the end of the cursor's range, so that every test wraps 2^64 soon.
    std::uint64_t start = ~std::uint64_t{0} - 8191;
  };

  FakeBroker(const Functions& functions, const OpaqueFunction& opaque, Shape shape)
      : to_memory_(shape.ring_bytes, shape.start),
        from_memory_(shape.ring_bytes, shape.start),
        to(to_memory_.memory()),
        from(from_memory_.memory()),
        servant_out(from_memory_.memory()),
        servant_in(to_memory_.memory()),
        engine(functions, opaque),
        replies_(std::uint64_t{1} << 40) {
    engine.attach(
        {.servant = 7, .credit = shape.credit, .message_bytes_max = shape.message_bytes_max});
  }

  Progress step() { return engine.step(servant_out, servant_in); }

  /// Steps until there is nothing more to do, reading all replies. @return the last step's outcome.
  Progress run() {
    Progress last = Progress::worked;
    for (int n = 0; n < 1'000'000 && (last == Progress::worked || last == Progress::blocked); ++n) {
      last = step();
      read();
    }
    return last;
  }

  bool send(std::uint64_t id, std::span<const std::byte> payload, std::uint8_t flags = 0,
            shm::Kind kind = shm::Kind::request) {
    return shm::try_send_whole(to, header(id, flags, kind), {}, payload);
  }
  bool send(std::uint64_t id, const kdb::Value& value) { return send(id, kdb::encode(value)); }
  bool send(std::uint64_t id, std::string_view query) {
    return send(id, kdb::Value::chars(std::string(query)));
  }
  bool send_fragment(std::uint64_t id, std::uint64_t offset, std::uint64_t total,
                     std::span<const std::byte> payload, std::uint8_t flags = 0) {
    std::byte extension[shm::ext_bytes_of(sizeof(shm::FlowExt))];
    (void)shm::put_extension(extension, shm::ExtType::flow, 0, shm::FlowExt{offset, total});
    return shm::try_send_whole(to, header(id, flags, shm::Kind::request), extension, payload);
  }
  static shm::FrameHeader header(std::uint64_t id, std::uint8_t flags, shm::Kind kind) {
    shm::FrameHeader h;
    h.kind = kind;
    h.flags = flags;
    h.id = id;
    return h;
  }

  /// Takes all that the servant committed; complete replies are added to `replies`.
  void read() {
    shm::FrameView frame;
    while (from.front(frame) == Errc::ok) {
      shm::Extensions extensions;
      ++frames;
      if (!shm::parse_extensions(frame.extensions, extensions) ||
          frame.header.kind != shm::Kind::reply) {
        ++faults;
      } else {
        Reply reply{frame.header.id, frame.header.flags, shm::unpack_reply(frame.header.aux), {}};
        Errc added = Errc::ok;
        if (extensions.has_flow) {
          added = replies_.add(reply.id, extensions.flow, frame.payload, reply.payload);
        } else {
          reply.payload.assign(frame.payload.begin(), frame.payload.end());
        }
        faults += added != Errc::ok && added != Errc::empty ? 1 : 0;
        if (added == Errc::ok) {
          replies.push_back(std::move(reply));
        }
      }
      from.release();
    }
  }

 private:
  RingBuffer to_memory_;
  RingBuffer from_memory_;

 public:
  shm::RingProducer to;
  shm::RingConsumer from;
  shm::RingProducer servant_out;
  shm::RingConsumer servant_in;
  Engine engine;
  std::vector<Reply> replies;
  int frames = 0;
  int faults = 0;

  RingBuffer& to_memory() { return to_memory_; }
  RingBuffer& from_memory() { return from_memory_; }

 private:
  shm::Assembler replies_;
};

}  // namespace mserve::servant
