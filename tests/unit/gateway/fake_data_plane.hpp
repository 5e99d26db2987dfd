// SPDX-License-Identifier: Apache-2.0
// The data plane as a gateway's session sees it, played by a test on the same thread: rings in the
// test's own memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gateway/gateway_link.hpp"
#include "mserve/shm/message.hpp"
#include "support/pattern.hpp"
#include "support/ring_buffer.hpp"

namespace mserve::test {

/// Close to the wrap of 64-bit cursors.
inline constexpr std::uint64_t kRingStart = 0 - std::uint64_t{4096};

struct FakePlaneSetup {
  std::uint32_t ring_bytes = 1U << 20;
  std::uint32_t control_bytes = 4096;
  std::uint32_t frame_bytes_max = 64U << 10;
  std::uint64_t window_bytes = 64U << 10;
};

class FakeDataPlane {
 public:
  explicit FakeDataPlane(const FakePlaneSetup& setup = {})
      : setup_(setup),
        requests_(setup.ring_bytes, kRingStart),
        replies_(setup.ring_bytes, kRingStart),
        controls_(setup.control_bytes, kRingStart) {}

  /// The gateway's end; this must outlive it.
  std::unique_ptr<broker::GatewaySession> session() {
    auto made = std::make_unique<Session>(*this);  // its producers prepare the rings first
    in_ = shm::RingConsumer(requests_.memory());
    control_ = shm::RingConsumer(controls_.memory());
    out_ = shm::RingProducer(replies_.memory());
    return made;
  }

  /// A request, or one fragment of it.
  struct Request {
    shm::FrameHeader head;
    broker::OriginId origin;
    bool fragment = false;
    shm::FlowExt flow;
    Bytes payload;
    std::uint64_t broadcast = 0;  ///< How many make one; 0: it is none.
    std::uint32_t broadcast_to = 0;
    shm::DeadlineExt deadline{};
    bool here = false;  ///< No link to another broker may run it.
  };
  struct Grant {
    broker::OriginId origin;
    std::uint64_t bytes = 0;
  };

  /// Takes everything that the gateway sent.
  void read(int frames_max = 1 << 30) {
    shm::FrameView frame;
    while (frames_max-- > 0 && in_.front(frame) == Errc::ok) {
      const shm::Extensions ext = parse(frame);
      const broker::OriginId origin{ext.origin_index, ext.origin_generation};
      if (frame.header.kind == shm::Kind::abort) {
        aborts.push_back(frame.header.id);
      } else {
        requests.push_back({frame.header, origin, ext.has_flow, ext.flow,
                            Bytes(frame.payload.begin(), frame.payload.end()), ext.broadcast.count,
                            ext.broadcast_to, ext.deadline, ext.here});
      }
      in_.release();
    }
    while (control_.front(frame) == Errc::ok) {
      const shm::Extensions ext = parse(frame);
      const broker::OriginId origin{ext.origin_index, ext.origin_generation};
      if (frame.header.kind == shm::Kind::gone) {
        gones.push_back(origin);
      } else if (frame.header.kind == shm::Kind::cancel) {
        cancels.push_back(frame.header.id);
      } else {
        grants.push_back({origin, frame.header.aux});
      }
      control_.release();
    }
  }
  /// The same, and the oldest request is handed over.
  Request take() {
    read();
    if (requests.empty()) {
      return {};
    }
    Request first = std::move(requests.front());
    requests.erase(requests.begin());
    return first;
  }
  /// Takes one request and forgets all of it but its id. Allocates nothing.
  std::uint64_t take_id() {
    shm::FrameView frame;
    if (in_.front(frame) != Errc::ok) {
      return 0;
    }
    in_.release();
    return frame.header.id;
  }
  /// Puts a request in fragments together, granting `step` bytes at a time; `turn` lets the gateway
  /// act in between.
  template <class Turn>
  Bytes take_flow(std::uint64_t step, Turn turn) {
    Request part = take();
    const std::uint64_t id = part.head.id;
    Bytes all = std::move(part.payload);
    while (part.fragment && all.size() < part.flow.total_bytes) {
      window(id, step);
      const std::size_t before = all.size();
      for (int i = 0; i < 100 && all.size() < before + step && all.size() < part.flow.total_bytes;
           ++i) {
        turn();
        for (read(); !requests.empty(); requests.erase(requests.begin())) {
          const Request& next = requests.front();
          if (next.flow.offset != all.size()) {
            return {};
          }
          all.insert(all.end(), next.payload.begin(), next.payload.end());
        }
      }
      if (all.size() == before || all.size() > before + step) {
        return {};
      }
    }
    return all;
  }

  struct Answer {
    Errc status = Errc::ok;
    std::uint8_t flags = 0;
    const shm::InfoExt* info = nullptr;
    std::uint32_t servant = 1;
  };
  bool answer(std::uint64_t id, std::span<const std::byte> payload) {
    return answer(id, payload, Answer{});
  }
  bool answer(std::uint64_t id, std::span<const std::byte> payload, const Answer& how) {
    std::byte extension[shm::ext_bytes_of(sizeof(shm::InfoExt))];
    const std::size_t bytes = how.info != nullptr ? sizeof(extension) : 0;
    if (how.info != nullptr) {
      (void)shm::put_extension(extension, shm::ExtType::info, 0, *how.info);
    }
    return shm::try_send_whole(out_, head_of(id, how), {extension, bytes}, payload);
  }
  bool fragment(std::uint64_t id, std::uint64_t offset, std::uint64_t total,
                std::span<const std::byte> part) {
    return fragment(id, offset, total, part, Answer{});
  }
  bool fragment(std::uint64_t id, std::uint64_t offset, std::uint64_t total,
                std::span<const std::byte> part, const Answer& how) {
    std::byte extensions[128];
    std::byte* end =
        shm::put_extension(extensions, shm::ExtType::flow, 0, shm::FlowExt{offset, total});
    if (how.info != nullptr) {
      end = shm::put_extension(end, shm::ExtType::info, 0, *how.info);
    }
    return shm::try_send_whole(out_, head_of(id, how),
                               {extensions, static_cast<std::size_t>(end - extensions)}, part);
  }
  bool abort(std::uint64_t id, Errc code) { return put(shm::Kind::abort, id, code); }
  bool window(std::uint64_t id, std::uint64_t bytes) {
    shm::FrameHeader head;
    head.kind = shm::Kind::window;
    head.id = id;
    head.aux = bytes;
    return shm::try_send_whole(out_, head, {}, {});
  }
  bool gone(broker::OriginId origin, Errc code) {
    std::byte extension[16];
    (void)shm::put_extension(extension, shm::ExtType::origin, origin.index, origin.generation);
    shm::FrameHeader head;
    head.kind = shm::Kind::gone;
    head.aux = static_cast<std::uint64_t>(code);
    return shm::try_send_whole(out_, head, extension, {});
  }

  [[nodiscard]] std::uint64_t granted_bytes() const {
    std::uint64_t sum = 0;
    for (const Grant& grant : grants) {
      sum += grant.bytes;
    }
    return sum;
  }

  std::vector<Request> requests;
  std::vector<std::uint64_t> aborts;
  std::vector<Grant> grants;
  std::vector<broker::OriginId> gones;
  std::vector<std::uint64_t> cancels;
  int bells = 0;
  bool hung_up = false;

 private:
  class Session final : public broker::GatewaySession {
   public:
    explicit Session(FakeDataPlane& plane)
        : plane_(plane),
          outgoing_(plane.requests_.memory()),
          incoming_(plane.replies_.memory()),
          control_(plane.controls_.memory()) {
      info_.session = 7;
      info_.frame_bytes_max = plane.setup_.frame_bytes_max;
      info_.message_bytes_max = 1U << 30;
      info_.window_bytes = plane.setup_.window_bytes;
      info_.route_rule = "arg:1";
    }
    shm::RingProducer& outgoing() noexcept override { return outgoing_; }
    shm::RingConsumer& incoming() noexcept override { return incoming_; }
    shm::RingProducer& control() noexcept override { return control_; }
    const shm::SessionInfo& info() const noexcept override { return info_; }
    void wake_broker() noexcept override { ++plane_.bells; }
    bool prepare_sleep() noexcept override { return !incoming_.ready(); }
    Errc finish_sleep() noexcept override { return check(); }
    Errc check() noexcept override { return plane_.hung_up ? Errc::disconnected : Errc::ok; }
    std::string closing_reason() const override { return "test"; }
    int fd() const noexcept override { return -1; }

   private:
    FakeDataPlane& plane_;
    shm::RingProducer outgoing_;
    shm::RingConsumer incoming_;
    shm::RingProducer control_;
    shm::SessionInfo info_;
  };

  static shm::Extensions parse(const shm::FrameView& frame) {
    shm::Extensions ext;
    (void)shm::parse_extensions(frame.extensions, ext);
    return ext;
  }
  static shm::FrameHeader head_of(std::uint64_t id, const Answer& how) {
    shm::FrameHeader head;
    head.kind = shm::Kind::reply;
    head.flags = how.flags;
    head.id = id;
    head.aux = shm::pack({how.servant, static_cast<std::uint16_t>(how.status)});
    return head;
  }
  bool put(shm::Kind kind, std::uint64_t id, Errc code) {
    shm::FrameHeader head;
    head.kind = kind;
    head.id = id;
    head.aux = static_cast<std::uint64_t>(code);
    return shm::try_send_whole(out_, head, {}, {});
  }

  FakePlaneSetup setup_;
  RingBuffer requests_;
  RingBuffer replies_;
  RingBuffer controls_;
  shm::RingConsumer in_;
  shm::RingConsumer control_;
  shm::RingProducer out_;
};

}  // namespace mserve::test
