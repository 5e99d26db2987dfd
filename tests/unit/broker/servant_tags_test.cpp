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

}  // namespace
}  // namespace mserve::broker::test
