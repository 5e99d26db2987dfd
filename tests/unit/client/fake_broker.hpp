// SPDX-License-Identifier: Apache-2.0
// The other end of a client's session, played by a test on the same thread: rings in the test's own
// memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lib/core.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/message.hpp"
#include "support/pattern.hpp"
#include "support/ring_buffer.hpp"

namespace mserve::test {

inline Bytes bytes_of(const std::string& text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A deadline that passes while a test waits for it.
inline std::uint64_t soon() {
  return shm::steady_now() + 2'000'000;
}

/// One session's rings. Shared by both ends, so that either may go first.
struct Wire {
  Wire(std::uint64_t ring_bytes, std::uint64_t start)
      : requests(ring_bytes, start), replies(ring_bytes, start), controls(4096, start) {}
  RingBuffer requests;
  RingBuffer replies;
  RingBuffer controls;
  bool hung_up = false;
  int bells = 0;
  int looks = 0;  ///< Calls of check().
  std::string closing_reason;
};

struct FakeOptions {
  std::uint64_t ring_bytes = 65536;
  /// Close to the wrap of 64-bit cursors.
  std::uint64_t start = 0 - std::uint64_t{4096};
  std::uint64_t window_bytes = 65536;
  std::uint64_t message_bytes_max = 1U << 30;
  bool remote = false;  ///< A gateway's session: answers are read as a gateway's.
  const char* name = "fake";
};

/// What one request looked like when it had arrived completely.
struct Received {
  shm::FrameHeader head;
  Bytes payload;
};

class FakeBroker {
 public:
  explicit FakeBroker(FakeOptions options = {}) : options_(options), assembler_(1U << 30) {}

  /// Sessions with this broker; it must outlive them.
  LinkFactory factory() {
    return [this](std::uint64_t, std::string* reason) -> Result<std::unique_ptr<Link>> {
      ++attach_attempts;
      if (absent) {
        if (reason != nullptr) {
          *reason = "no broker in this test";
        }
        return Error{Errc::no_broker, 0, "fake"};
      }
      wire = std::make_shared<Wire>(options_.ring_bytes, options_.start);
      auto link = std::make_unique<FakeLink>(*this, wire);  // its producers prepare the rings first
      requests = shm::RingConsumer(wire->requests.memory());
      controls = shm::RingConsumer(wire->controls.memory());
      replies = shm::RingProducer(wire->replies.memory());
      return std::unique_ptr<Link>(std::move(link));
    };
  }

  /// Takes everything that waits in the request ring; complete requests go to `received`.
  void read_requests(int frames_max = 1 << 30) {
    shm::FrameView frame;
    while (frames_max-- > 0 && requests.front(frame) == Errc::ok) {
      shm::Extensions ext;
      (void)shm::parse_extensions(frame.extensions, ext);
      if (frame.header.kind == shm::Kind::abort) {
        aborts.push_back(frame.header.id);
        assembler_.drop(frame.header.id);
      } else if (ext.has_flow) {
        Bytes whole;
        if (assembler_.add(frame.header.id, ext.flow, frame.payload, whole) == Errc::ok) {
          received.push_back({frame.header, std::move(whole)});
        }
      } else {
        received.push_back({frame.header, Bytes(frame.payload.begin(), frame.payload.end())});
      }
      requests.release();
    }
  }

  /// Takes everything that waits in the control ring.
  void read_controls() {
    shm::FrameView frame;
    while (controls.front(frame) == Errc::ok) {
      if (frame.header.kind == shm::Kind::window) {
        granted_bytes += frame.header.aux;
        grants.push_back(frame.header.aux);
      } else {
        cancels.push_back(frame.header.id);
      }
      controls.release();
    }
  }

  static shm::FrameHeader reply_head(std::uint64_t id, Errc status = Errc::ok,
                                     std::uint32_t servant = 1) {
    shm::FrameHeader head;
    head.kind = shm::Kind::reply;
    head.id = id;
    head.aux = shm::pack({servant, static_cast<std::uint16_t>(status)});
    return head;
  }

  bool answer(std::uint64_t id, std::span<const std::byte> payload, Errc status = Errc::ok) {
    return shm::try_send_whole(replies, reply_head(id, status), {}, payload);
  }
  bool answer(std::uint64_t id, const std::string& text, Errc status = Errc::ok) {
    return answer(id, bytes_of(text), status);
  }
  bool answer_with_info(std::uint64_t id, std::span<const std::byte> payload,
                        const shm::InfoExt& info) {
    std::byte extension[64];
    (void)shm::put_extension(extension, shm::ExtType::info, 0, info);
    return shm::try_send_whole(replies, reply_head(id), extension, payload);
  }
  bool fragment(std::uint64_t id, std::uint64_t offset, std::uint64_t total,
                std::span<const std::byte> part) {
    std::byte extension[24];
    (void)shm::put_extension(extension, shm::ExtType::flow, 0, shm::FlowExt{offset, total});
    return shm::try_send_whole(replies, reply_head(id), extension, part);
  }
  bool abort(std::uint64_t id, Errc code) {
    shm::FrameHeader head;
    head.kind = shm::Kind::abort;
    head.id = id;
    head.aux = static_cast<std::uint64_t>(code);
    return shm::try_send_whole(replies, head, {}, {});
  }

  /// Dies: sockets hang up, nobody listens.
  void die() {
    wire->hung_up = true;
    absent = true;
  }

  /// What the next session says.
  std::string route_rule = "arg:1";
  /// Runs whenever the client sleeps: what other processes do meanwhile.
  std::function<void()> meanwhile;
  /// Runs whenever the client looks for answers.
  std::function<void()> on_pass;
  /// Told until when the client wants to sleep, if it does.
  std::function<void(std::uint64_t until_ns)> on_sleep;

  bool absent = false;
  int attach_attempts = 0;
  std::shared_ptr<Wire> wire;
  shm::RingConsumer requests;
  shm::RingConsumer controls;
  shm::RingProducer replies;
  std::vector<Received> received;
  std::vector<std::uint64_t> aborts;
  std::vector<std::uint64_t> cancels;
  std::vector<std::uint64_t> grants;
  std::uint64_t granted_bytes = 0;

 private:
  class FakeLink final : public Link {
   public:
    FakeLink(FakeBroker& broker, std::shared_ptr<Wire> wire)
        : broker_(broker),
          wire_(std::move(wire)),
          outgoing_(wire_->requests.memory()),
          incoming_(wire_->replies.memory()),
          control_(wire_->controls.memory()),
          name_(broker.options_.name),
          remote_(broker.options_.remote) {
      info_.session = 7;
      info_.out_ring_bytes = info_.in_ring_bytes =
          static_cast<std::uint32_t>(broker.options_.ring_bytes);
      info_.message_bytes_max = broker.options_.message_bytes_max;
      info_.window_bytes = broker.options_.window_bytes;
      info_.route_rule = broker.route_rule;
    }
    shm::RingProducer& outgoing() noexcept override { return outgoing_; }
    shm::RingConsumer& incoming() noexcept override {
      if (broker_.on_pass) {
        broker_.on_pass();
      }
      return incoming_;
    }
    shm::RingProducer& control() noexcept override { return control_; }
    const shm::SessionInfo& info() const noexcept override { return info_; }
    void wake_broker() noexcept override { ++wire_->bells; }
    Errc wait(std::uint64_t deadline_ns) noexcept override {
      if (broker_.meanwhile) {
        broker_.meanwhile();
      }
      if (incoming_.ready()) {
        return Errc::ok;
      }
      if (broker_.on_sleep) {
        broker_.on_sleep(deadline_ns);
      }
      return wire_->hung_up                     ? Errc::disconnected
             : shm::steady_now() >= deadline_ns ? Errc::timed_out
                                                : Errc::ok;
    }
    bool prepare_sleep() noexcept override { return !incoming_.ready(); }
    Errc finish_sleep() noexcept override { return check(); }
    Errc check() noexcept override {
      ++wire_->looks;
      return wire_->hung_up ? Errc::disconnected : Errc::ok;
    }
    std::string closing_reason() const override { return wire_->closing_reason; }
    int fd() const noexcept override { return 42; }
    const std::string& endpoint() const noexcept override { return name_; }
    bool remote() const noexcept override { return remote_; }

   private:
    FakeBroker& broker_;
    std::shared_ptr<Wire> wire_;
    shm::RingProducer outgoing_;
    shm::RingConsumer incoming_;
    shm::RingProducer control_;
    shm::SessionInfo info_;
    const std::string name_;
    const bool remote_;
  };

  FakeOptions options_;
  shm::Assembler assembler_;
};

/// A core attached to the fake, which sleeps at once when it has nothing to do.
inline std::unique_ptr<ClientCore> attached_core(FakeBroker& broker, ClientOptions options = {}) {
  options.idle = shm::IdleStrategy::park;
  options.retry_ns_min = 1;
  options.retry_ns_max = 1;
  auto core = std::make_unique<ClientCore>(options, broker.factory());
  (void)core->attach(options.attach_ns_max, nullptr);
  return core;
}

}  // namespace mserve::test
