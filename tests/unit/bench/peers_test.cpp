// SPDX-License-Identifier: Apache-2.0
// Every peer of this build carries bytes there and back, in each mode and setting, and what goes
// wrong is said.
#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cores.hpp"
#include "peers/in_copy.hpp"
#include "peers/peer.hpp"
#include "peers/peer_stage.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint64_t kShortNs = 5'000'000;
constexpr std::array<const char*, 6> kNames = {"unix", "tcp", "boost", "zmq", "nng", "haproxy"};

/// Nothing, with the reason printed, when this build or machine lacks it.
std::optional<PeerKind> kind_of(const std::string& name) {
  for (PeerKind& kind : peer_catalogue("mserve-broker")) {
    if (kind.name == name) {
      if (kind.missing.empty()) {
        return std::move(kind);
      }
      std::cout << name << " is not tested: " << kind.missing << "\n";
    }
  }
  return std::nullopt;
}

/// @return round trips; each answer was compared with its request, with one and with many under
/// way.
std::uint64_t trips_through(const PeerKind& kind, PeerMode mode, const PeerSetting& setting,
                            std::size_t payload_bytes) {
  return in_copy([&] {
    PeerStage stage(kind, {mode, setting, choose_cores().value(), payload_bytes, {}});
    const Timer timer;
    const auto samples = std::make_unique<shm::Histogram>();
    stage.measure(timer, kShortNs, *samples);
    return stage.throughput(kShortNs) > 0 ? samples->count() : 0;
  });
}

class Peers : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    kind = kind_of(GetParam());
    if (!kind) {
      GTEST_SKIP() << GetParam() << " is not in this build or not on this machine";
    }
    if (!choose_cores()) {
      GTEST_SKIP() << "fewer than two usable cores";
    }
  }
  std::optional<PeerKind> kind;
};

TEST_P(Peers, CarryBytesInEverySetting) {
  for (const PeerMode mode : {PeerMode::pair, PeerMode::processes}) {
    ASSERT_FALSE(kind->settings(mode).empty());
    for (const PeerSetting& setting : kind->settings(mode)) {
      EXPECT_GT(trips_through(*kind, mode, setting, 40), 0U)
          << to_string(mode) << ": " << describe(setting);
    }
  }
}

TEST_P(Peers, CarryTheSmallestAndTheLargestMessage) {
  for (const PeerMode mode : {PeerMode::pair, PeerMode::processes}) {
    for (const std::size_t payload_bytes : {std::size_t{1}, kPeerPayloadBytesMax}) {
      EXPECT_GT(trips_through(*kind, mode, kind->settings(mode).front(), payload_bytes), 0U)
          << to_string(mode) << ", " << payload_bytes << " B";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Each, Peers, ::testing::ValuesIn(kNames),
                         [](const auto& test) { return std::string(test.param); });

TEST(PeerCatalogue, SaysWhatIsMissingAndHowToGetIt) {
  std::vector<std::string> names;
  for (const PeerKind& kind : peer_catalogue("mserve-broker")) {
    names.emplace_back(kind.name);
    EXPECT_TRUE(kind.missing.empty() || kind.missing.find("setup.sh") != std::string::npos)
        << kind.missing;
    EXPECT_TRUE(!kind.missing.empty() || kind.open != nullptr) << kind.name;
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{"mserve", "unix", "tcp", "boost", "zmq", "nng", "haproxy"}));
}

/// A peer inside the test: what the client sends comes back as `twist` makes it.
class Mirror final : public Peer {
 public:
  using Twist = void (*)(std::vector<std::byte>&);
  struct Queue {
    std::deque<std::vector<std::byte>> messages;
  };
  Mirror(Twist twist, bool relay_lives) : twist_(twist), relay_lives_(relay_lives) {}

  std::unique_ptr<Relay> start_relay() override {
    class Fake final : public Relay {
     public:
      explicit Fake(bool lives) : lives_(lives) {}
      bool ended() override { return !lives_; }

     private:
      bool lives_;
    };
    return std::make_unique<Fake>(relay_lives_);
  }
  std::unique_ptr<Endpoint> client() override {
    return std::make_unique<End>(requests_, answers_, nullptr);
  }
  std::unique_ptr<Endpoint> servant() override {
    return std::make_unique<End>(answers_, requests_, twist_);
  }

 private:
  class End final : public Endpoint {
   public:
    End(Queue& out, Queue& in, Twist twist) : out_(out), in_(in), twist_(twist) {}
    bool try_send(std::span<const std::byte> message) override {
      out_.messages.emplace_back(message.begin(), message.end());
      if (twist_ != nullptr) {
        twist_(out_.messages.back());
      }
      if (out_.messages.back().empty()) {
        out_.messages.pop_back();
      }
      return true;
    }
    bool try_receive(std::span<std::byte> message) override {
      if (in_.messages.empty()) {
        return false;
      }
      std::copy(in_.messages.front().begin(), in_.messages.front().end(), message.begin());
      in_.messages.pop_front();
      return true;
    }
    bool receive(std::span<std::byte> message) override { return try_receive(message); }

   private:
    Queue& out_;
    Queue& in_;
    Twist twist_;
  };

  Twist twist_;
  bool relay_lives_;
  Queue requests_;
  Queue answers_;
};

PeerKind mirror(Mirror::Twist twist, bool relay_lives) {
  return {"mirror", "Mirror", "", "", {}, {}, [=](const PeerOptions&) {
            return std::make_unique<Mirror>(twist, relay_lives);
          }};
}

std::string failure_of(const PeerKind& kind) {
  PeerSetting anywhere;
  anywhere.placement = PeerPlacement::anywhere;
  anywhere.ends = Wait::spin;
  try {
    PeerStage stage(kind, {PeerMode::pair, anywhere, {}, 40, {}});
    const Timer timer;
    const auto samples = std::make_unique<shm::Histogram>();
    stage.measure(timer, kShortNs, *samples);
    return samples->count() > 0 ? "" : "nothing measured";
  } catch (const std::exception& e) {
    return e.what();
  }
}

TEST(PeerStage, MeasuresWhatAnswersRightly) {
  EXPECT_EQ(failure_of(mirror([](std::vector<std::byte>&) {}, true)), "");
}

TEST(PeerStage, NoticesASingleBitThatChanged) {
  EXPECT_EQ(failure_of(mirror([](std::vector<std::byte>& m) { m.back() ^= std::byte{1}; }, true)),
            "Mirror: the answer is not what was sent");
}

TEST(PeerStage, NoticesTheAnswerToAnotherRequest) {
  EXPECT_EQ(failure_of(mirror([](std::vector<std::byte>& m) { m.front() ^= std::byte{1}; }, true)),
            "Mirror: the answer is not what was sent");
}

TEST(PeerStage, NoticesThatTheRelayEnded) {
  EXPECT_EQ(failure_of(mirror([](std::vector<std::byte>& m) { m.clear(); }, false)),
            "Mirror: relay or servant ended");
}

TEST(PeerWindow, IsSmallerForMessagesThatFillBuffers) {
  EXPECT_EQ(peer_window(40), 64U);
  EXPECT_EQ(peer_window(4096), 16U);
  EXPECT_EQ(peer_window(kPeerPayloadBytesMax), 1U);
}

TEST(InCopy, HandsBackValuesAndFailures) {
  EXPECT_EQ(in_copy([] { return 42; }), 42);
  try {
    (void)in_copy([]() -> int { throw std::runtime_error("such a pity"); });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& e) {
    EXPECT_STREQ(e.what(), "such a pity");
  }
}

TEST(InCopy, NoticesACopyThatEndedWithoutAResult) {
  EXPECT_THROW((void)in_copy([]() -> int { _exit(0); }), std::runtime_error);
}

}  // namespace
}  // namespace mserve::bench
