// SPDX-License-Identifier: Apache-2.0
#include "control/servant_tags.hpp"

#include <gtest/gtest.h>

namespace mserve::broker::test {
namespace {

TEST(ServantTags, WeightIsOneUnlessATagSaysOtherwise) {
  EXPECT_EQ(weight_of(""), 1U);
  EXPECT_EQ(weight_of("gpu version=canary"), 1U);
  EXPECT_EQ(weight_of("weight=3"), 3U);
  EXPECT_EQ(weight_of("gpu weight=1000  zone=a"), 1000U);
  EXPECT_EQ(weight_of("overweight=7"), 1U);
}

TEST(ServantTags, AWeightThatIsNoneIsRefused) {
  for (const char* tags : {"weight=", "weight=0", "weight=1001", "weight=-1", "weight=3x",
                           "gpu weight=1.5", "weight=2 weight=", "weight=99999999999999999999"}) {
    EXPECT_EQ(weight_of(tags), std::nullopt) << tags;
  }
}

TEST(ServantTags, AHomeIsTheHashOfTheLastPeer) {
  EXPECT_EQ(home_of(""), 0U);
  EXPECT_EQ(home_of("peer= zone=a"), 0U);
  EXPECT_EQ(home_of("peers=a xpeer=a"), 0U);
  EXPECT_EQ(home_of("peer=a"), kdb::route_of_text("a").hash);
  EXPECT_EQ(home_of("group=hdb peer=a zone=b"), home_of("peer=a"));
  EXPECT_EQ(home_of("peer=b  peer=a"), home_of("peer=a"));
  EXPECT_NE(home_of("peer=a"), home_of("peer=b"));
}

}  // namespace
}  // namespace mserve::broker::test
