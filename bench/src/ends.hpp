// SPDX-License-Identifier: Apache-2.0
// The ends of a session as measurements need them: as little work as a client or servant can do.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "mserve/shm/attachment.hpp"
#include "mserve/shm/idle.hpp"
#include "mserve/shm/message.hpp"
#include "mserve/shm/parking.hpp"
#include "trips.hpp"

namespace mserve::bench {

inline constexpr std::uint32_t kPollsPerCheck = 1U << 16;
/// A route like any other: affinity is part of what a request costs.
inline constexpr std::uint64_t kRoute = 0x9ae16a3b2f90404f;

/// Throws std::runtime_error.
[[noreturn]] void fail(const std::string& what);

/// Of a broker that was to be there: throws CannotMeasure when there is none, or it does not take
/// this user; else std::runtime_error.
[[noreturn]] void fail_to_attach(Errc code, const std::string& what);

/// Thrown to leave a measurement at Ctrl-C; whoever measures turns it into an early return.
struct Interrupted {};

/// Throws Interrupted at Ctrl-C, and std::runtime_error with the reason when the broker is gone.
void check_alive(shm::Attachment& attachment);

/// Polls without ever yielding: for a thread with a core of its own.
class SpinWait {
 public:
  void operator()(shm::Attachment& attachment, shm::FrameView& view) {
    for (;;) {
      for (std::uint32_t i = 0; i < kPollsPerCheck; ++i) {
        const Errc code = attachment.incoming().front(view);
        if (code == Errc::ok) [[likely]] {
          return;
        }
        if (code != Errc::empty) {
          fail("the broker sent a frame that is none");
        }
        shm::cpu_pause();
      }
      check_alive(attachment);
    }
  }
};

/// Waits as the idle strategy says, and sleeps when it says so.
class IdleWait {
 public:
  explicit IdleWait(shm::IdleStrategy strategy) noexcept : idler_(strategy) {}

  void operator()(shm::Attachment& attachment, shm::FrameView& view) {
    std::uint32_t polls = 0;
    Errc code = Errc::empty;
    while ((code = attachment.incoming().front(view)) == Errc::empty) {
      if (idler_.idle() == shm::Idler::Step::park) {
        // Whatever it returns, the ring tells the rest.
        (void)attachment.wait(shm::steady_now() + shm::kSleepNsMax, shm::SleepOn::futex);
        check_alive(attachment);
      } else if (++polls == kPollsPerCheck) [[unlikely]] {
        check_alive(attachment);
        polls = 0;
      }
    }
    if (code != Errc::ok) {
      fail("the broker sent a frame that is none");
    }
    idler_.reset();
  }

 private:
  shm::Idler idler_;
};

/// Sends one message and wakes the broker. @return false when there is no room for it.
[[nodiscard]] inline bool try_send(shm::Attachment& attachment, const shm::FrameHeader& header,
                                   std::span<const std::byte> payload) {
  if (!shm::try_send_whole(attachment.outgoing(), header, {}, payload)) [[unlikely]] {
    return false;
  }
  attachment.wake_broker();
  return true;
}

/// As try_send(), where there is always room: one message at a time in a ring much larger than it.
inline void send(shm::Attachment& attachment, const shm::FrameHeader& header,
                 std::span<const std::byte> payload) {
  if (!try_send(attachment, header, payload)) [[unlikely]] {
    fail("the ring towards the broker is full or broken");
  }
}

/// Answers the frame in front with its own payload, copied from ring to ring, and releases it; what
/// is no request is only released. @return false when there is no room: come back later.
[[nodiscard]] inline bool try_echo(shm::Attachment& servant, const shm::FrameView& view) {
  if (view.header.kind == shm::Kind::request) [[likely]] {
    shm::FrameHeader header;
    header.kind = shm::Kind::reply;
    header.flags = view.header.flags & shm::kFlagOpaque;
    header.id = view.header.id;
    header.aux = shm::pack({servant.info().servant, 0});
    if (!try_send(servant, header, view.payload)) [[unlikely]] {
      return false;
    }
  }
  servant.incoming().release();
  return true;
}

/// As try_echo(), where there is always room.
inline void echo(shm::Attachment& servant, const shm::FrameView& view) {
  if (!try_echo(servant, view)) [[unlikely]] {
    fail("the ring towards the broker is full or broken");
  }
}

/// The client's half of a round trip.
struct ClientSide {
  shm::Attachment attachment;
  shm::FrameHeader header;
  std::vector<std::byte> request;
  std::vector<std::byte> answer;  ///< Exactly as long as the answer must be.

  void ask() {
    ++header.id;
    send(attachment, header, request);
  }

  void take(const shm::FrameView& view) {
    const shm::ReplyAux aux = shm::unpack_reply(view.header.aux);
    if (view.header.kind != shm::Kind::reply || view.header.id != header.id || aux.status != 0 ||
        view.payload.size() != answer.size()) [[unlikely]] {
      refuse(view, aux);
    }
    std::memcpy(answer.data(), view.payload.data(), view.payload.size());
    attachment.incoming().release();
  }

  [[noreturn]] void refuse(const shm::FrameView& view, shm::ReplyAux aux) const;
};

/// A client that sends options.payload_bytes of opaque payload and expects them back.
[[nodiscard]] ClientSide opaque_side(const TripOptions& options);

/// One round trip of a thread that is client and servant, and polls without ever yielding.
inline void round_trip(ClientSide& client, shm::Attachment& servant) {
  SpinWait wait;
  shm::FrameView view;
  client.ask();
  wait(servant, view);
  echo(servant, view);
  wait(client.attachment, view);
  client.take(view);
}

}  // namespace mserve::bench
