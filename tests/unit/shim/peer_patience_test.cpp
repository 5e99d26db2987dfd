// SPDX-License-Identifier: Apache-2.0
#include "shim/peer_patience.hpp"

#include <gtest/gtest.h>

namespace mserve::shim {
namespace {

constexpr std::uint64_t kBeat = 200'000'000;

/// For how long this peer may send nothing, looked at every `look_ns`.
std::uint64_t patience_of(PeerPatience& patience, bool in_message, std::uint64_t look_ns) {
  std::uint64_t spent = look_ns;
  while (!patience.ends(look_ns, 7, in_message)) {
    spent += look_ns;
  }
  return spent;
}

TEST(PeerPatience, IsThreeBeatsAndLongerInTheMiddleOfAMessage) {
  constexpr std::uint64_t kLook = kBeat / 100;
  PeerPatience patience(kBeat);
  EXPECT_FALSE(patience.ends(kLook, 7, false));
  EXPECT_EQ(patience_of(patience, false, kLook), 3 * kBeat);
  patience.begin();
  EXPECT_EQ(patience_of(patience, true, kLook), 25 * kBeat);
}

TEST(PeerPatience, AnyByteIsASignOfLife) {
  PeerPatience patience(kBeat);
  for (std::uint64_t bytes = 1; bytes < 100; ++bytes) {
    for (int n = 0; n < 5; ++n) {
      ASSERT_FALSE(patience.ends(kBeat / 2, bytes, (bytes & 1) != 0));
    }
  }
}

// Whoever was stopped himself heard nothing.
TEST(PeerPatience, ALongPauseOfOursCountsAsHalfABeat) {
  PeerPatience patience(kBeat);
  EXPECT_FALSE(patience.ends(1, 7, false));
  EXPECT_EQ(patience_of(patience, false, 1'000 * kBeat), 6 * 1'000 * kBeat);
}

}  // namespace
}  // namespace mserve::shim
