// SPDX-License-Identifier: Apache-2.0
#include "pin/machine_files.hpp"

#include <gtest/gtest.h>

#include "pin/jitter.hpp"

namespace mserve::pin {
namespace {

TEST(CoreLists, AreReadAsTheKernelWritesThem) {
  EXPECT_EQ(parse_cores("0-2,8"), (CoreList{0, 1, 2, 8}));
  EXPECT_EQ(parse_cores(""), CoreList{});
  EXPECT_EQ(parse_cores("3,1,1-2"), (CoreList{1, 2, 3}));
  for (const char* const wrong :
       {"a", "1-", "-1", "2-1", "1, 2", "1\n", "1,", "1,,2", "4096", "0-99999999", "1 2"}) {
    EXPECT_EQ(parse_cores(wrong), std::nullopt) << wrong;
  }
  EXPECT_EQ(cores_text(CoreList{0, 1, 2, 4, 6, 7}), "0-2,4,6-7");
  EXPECT_EQ(cores_text(CoreList{}), "");
}

TEST(CoreLists, AreSets) {
  EXPECT_EQ(minus({1, 2, 3}, {2}), (CoreList{1, 3}));
  EXPECT_EQ(joined({1, 3}, {2, 3}), (CoreList{1, 2, 3}));
  EXPECT_TRUE(contains({1, 3}, 3));
  EXPECT_FALSE(contains({1, 3}, 2));
}

TEST(MachineFilesTest, WhatIsNotThereIsNothing) {
  const MachineFiles files("/nowhere/at/all");
  EXPECT_FALSE(files.read("/proc/stat"));
  EXPECT_FALSE(files.cores("/sys/devices/system/cpu/online"));
  EXPECT_FALSE(files.link("/proc/self/ns/pid"));
  EXPECT_FALSE(files.exists("/proc"));
  EXPECT_TRUE(files.list("/proc").empty());
}

TEST(GapHistogramTest, CountsAndPercentilesAreThoseOfTheGaps) {
  GapHistogram gaps;
  EXPECT_EQ(gaps.percentile_ns(0.5), 0U);
  for (int i = 0; i < 990; ++i) {
    gaps.add(30);
  }
  for (const std::uint64_t ns : {2'000U, 20'000U, 200'000U, 1'000U}) {
    gaps.add(ns);
  }
  for (int i = 0; i < 6; ++i) {
    gaps.add(5'000);
  }
  EXPECT_EQ(gaps.count(), 1000U);
  EXPECT_EQ(gaps.max_ns(), 200'000U);
  EXPECT_EQ(gaps.over_1us(), 9U);
  EXPECT_EQ(gaps.over_10us(), 2U);
  EXPECT_EQ(gaps.over_100us(), 1U);
  EXPECT_EQ(gaps.lost_ns(), 2'000U + 20'000U + 200'000U + 30'000U);
  EXPECT_GE(gaps.percentile_ns(0.5), 30U);
  EXPECT_LT(gaps.percentile_ns(0.5), 34U);  // to an eighth
  EXPECT_EQ(gaps.percentile_ns(1.0), 200'000U);
  EXPECT_EQ(gaps.between(4096, 8192), 6U);
  EXPECT_EQ(gaps.between(16384, 32768), 1U);
  EXPECT_EQ(gaps.between(1, 32), 990U);
}

TEST(GapHistogramTest, TheLongestTimeHasABucket) {
  GapHistogram gaps;
  gaps.add(UINT64_MAX);
  gaps.add(0);
  EXPECT_EQ(gaps.percentile_ns(1.0), UINT64_MAX);
  EXPECT_EQ(gaps.percentile_ns(0.5), 0U);
}

TEST(JitterTest, IsMeasuredOnACoreThatIsThereAndNotOnOthers) {
  const Jitter absent = measure_jitter(MachineFiles(), kCoresMax - 1, 1'000'000);
  EXPECT_NE(absent.fault, "");
  EXPECT_NE(to_text(absent).find("not measured"), std::string::npos);
}

}  // namespace
}  // namespace mserve::pin
