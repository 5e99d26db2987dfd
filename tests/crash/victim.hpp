// SPDX-License-Identifier: Apache-2.0
// Peers that are to die by SIGKILL at a certain step, and what is compared afterwards. All of it
// runs in a process of the victim's own.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstring>
#include <string>

#include "mserve/shm/message.hpp"
#include "support/holdings.hpp"
#include "support/process.hpp"
#include "support/raw_peer.hpp"
#include "support/wait.hpp"

namespace mserve::test {

/// A death that nothing in this process can notice or delay.
[[noreturn]] inline void die() {
  for (;;) {
    (void)::kill(getpid(), SIGKILL);
  }
}

[[noreturn]] inline void die_attaching(const Broker& broker, shm::Role role, AttachStep step) {
  const RawPeer peer(broker, RawSetup{.role = role, .name = "victim", .at = [step](AttachStep now) {
                                        if (now == step) {
                                          die();
                                        }
                                      }});
  _exit(1);  // the step never came
}

/// Claims a frame and writes half of what belongs into it.
inline void claim_half(RawPeer& peer) {
  std::byte* const frame = peer.out().try_claim(2000);
  if (frame == nullptr) {
    _exit(1);
  }
  std::memset(frame + shm::kFrameHeaderBytes, 0xff, 1000);
}

/// Commits a frame and does not even wake the broker.
inline void commit_silently(RawPeer& peer, shm::Kind kind, std::uint64_t id) {
  shm::FrameHeader head;
  head.kind = kind;
  head.flags = shm::kFlagOpaque;
  head.id = id;
  if (!shm::try_send_whole(peer.out(), head, {}, pattern(1000))) {
    _exit(1);
  }
}

inline void say_cancel(RawPeer& peer, std::uint64_t id) {
  shm::FrameHeader head;
  head.kind = shm::Kind::cancel;
  head.id = id;
  (void)peer.send_control(head);
}

/// Waits until a frame lies in the ring, and leaves it there.
inline void await_ready(RawPeer& peer) {
  if (!wait_until([&] { return peer.in().ready(); }, "a frame to lie there")) {
    _exit(1);
  }
}

/// Looks at the next frame and does not release it.
inline void await_front(RawPeer& peer) {
  await_ready(peer);
  shm::FrameView view;
  if (peer.in().front(view) != Errc::ok) {
    _exit(1);
  }
}

/// A count that depends on who is faster; the sums must fit all the same.
inline constexpr std::int64_t kEither = -1;

/// The counters in which each request is found again.
struct Books {
  std::int64_t requests = 0;
  std::int64_t replies = 0;  ///< Whole answers.
  std::int64_t errors = 0;
  std::int64_t discarded = 0;
  std::int64_t retried = 0;

  [[nodiscard]] static Books of(const Broker& broker) {
    const auto now = [&broker](const char* name) {
      return static_cast<std::int64_t>(broker.counter(name).value_or(0));
    };
    return {now("requests"), now("replies"), now("errors"), now("discarded"), now("retried")};
  }
  [[nodiscard]] Books operator-(const Books& b) const {
    return {requests - b.requests, replies - b.replies, errors - b.errors, discarded - b.discarded,
            retried - b.retried};
  }
  /// Whether each request is found once more: as an answer, an error, or discarded.
  [[nodiscard]] bool closed() const { return requests == replies + errors + discarded; }
  void expect(const Books& wanted) const {
    const auto same = [](const char* what, std::int64_t is, std::int64_t should) {
      EXPECT_TRUE(should == kEither || is == should) << what << ": " << is << ", not " << should;
    };
    same("requests", requests, wanted.requests);
    same("replies", replies, wanted.replies);
    same("errors", errors, wanted.errors);
    same("discarded", discarded, wanted.discarded);
    same("retried", retried, wanted.retried);
    EXPECT_TRUE(closed()) << requests << " is not " << replies << " + " << errors << " + "
                          << discarded;
  }
};

}  // namespace mserve::test
