// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/histogram.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "support/seed.hpp"

namespace mserve::shm {
namespace {

void expect_close(std::uint64_t got, std::uint64_t exact) {
  EXPECT_LE(std::abs(static_cast<double>(got) - static_cast<double>(exact)),
            0.004 * static_cast<double>(exact))
      << got << " instead of " << exact;
}

TEST(Histogram, IsEmptyAtFirst) {
  const auto histogram = std::make_unique<Histogram>();
  EXPECT_EQ(histogram->count(), 0U);
  EXPECT_EQ(histogram->min(), 0U);
  EXPECT_EQ(histogram->max(), 0U);
  EXPECT_EQ(histogram->percentile(50), 0U);
  EXPECT_EQ(histogram->mean(), 0.0);
}

TEST(Histogram, OneValueIsEveryPercentile) {
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{255},
                                    std::uint64_t{256}, std::uint64_t{3'600'000'000'000}}) {
    const auto histogram = std::make_unique<Histogram>();
    histogram->record(value);
    for (const double percent : {-1.0, 0.0, 0.001, 50.0, 99.999, 100.0, 200.0, std::nan("")}) {
      EXPECT_EQ(histogram->percentile(percent), value);
    }
  }
}

TEST(Histogram, SmallValuesAreExact) {
  const auto histogram = std::make_unique<Histogram>();
  for (std::uint64_t value = 0; value < 256; ++value) {
    histogram->record(value);
  }
  for (std::uint64_t rank = 1; rank < 256; ++rank) {
    EXPECT_EQ(histogram->percentile(100.0 * static_cast<double>(rank) / 256.0), rank - 1);
  }
}

TEST(Histogram, EveryMagnitudeIsWithinItsError) {
  // Between two far neighbours the clamping to min and max does not hide the bucket's middle.
  for (unsigned bits = 0; bits < 43; ++bits) {
    for (const std::uint64_t value :
         {std::uint64_t{1} << bits, (std::uint64_t{1} << bits) + (std::uint64_t{1} << bits) / 3,
          (std::uint64_t{2} << bits) - 1}) {
      const auto histogram = std::make_unique<Histogram>();
      histogram->record(0);
      histogram->record(value);
      histogram->record(UINT64_MAX);
      expect_close(histogram->percentile(50), value);
    }
  }
}

TEST(Histogram, BeyondItsRangeValuesStillCount) {
  const auto histogram = std::make_unique<Histogram>();
  histogram->record(1);
  histogram->record(UINT64_MAX, 3);
  EXPECT_EQ(histogram->count(), 4U);
  EXPECT_EQ(histogram->max(), UINT64_MAX);
  EXPECT_GE(histogram->percentile(50), std::uint64_t{1} << 42);
  EXPECT_NEAR(histogram->mean(), 0.75 * std::ldexp(1.0, 64), std::ldexp(1.0, 20));
}

TEST(Histogram, AgreesWithSortedDataAndMerges) {
  std::mt19937_64 random(test::seed());
  std::lognormal_distribution<double> latency(8.0, 2.5);
  const auto one = std::make_unique<Histogram>();
  const auto two = std::make_unique<Histogram>();
  std::vector<std::uint64_t> exact;
  double sum = 0;
  for (int i = 0; i < 50'000; ++i) {
    const auto value = static_cast<std::uint64_t>(std::min(latency(random), 3.6e12));
    (i % 3 == 0 ? one : two)->record(value);
    exact.push_back(value);
    sum += static_cast<double>(value);
  }
  one->merge(*two);
  std::sort(exact.begin(), exact.end());
  ASSERT_EQ(one->count(), exact.size());
  EXPECT_EQ(one->min(), exact.front());
  EXPECT_EQ(one->max(), exact.back());
  EXPECT_NEAR(one->mean(), sum / 50'000, 1e-6 * sum / 50'000);
  for (const double percent : {0.1, 1.0, 10.0, 50.0, 90.0, 99.0, 99.9, 99.99}) {
    const auto rank = static_cast<std::size_t>(std::ceil(percent / 100 * 50'000 - 1e-6));
    expect_close(one->percentile(percent), exact[rank - 1]);
  }
}

TEST(Histogram, RepeatedRecordingEqualsOneWithTimes) {
  const auto one = std::make_unique<Histogram>();
  const auto many = std::make_unique<Histogram>();
  one->record(1000, 5);
  one->record(7, 0);
  for (int i = 0; i < 5; ++i) {
    many->record(1000);
  }
  EXPECT_EQ(one->count(), many->count());
  EXPECT_EQ(one->mean(), many->mean());
  EXPECT_EQ(one->min(), 1000U);
}

TEST(Histogram, ResetForgetsEverything) {
  const auto histogram = std::make_unique<Histogram>();
  histogram->record(1000);
  histogram->reset();
  EXPECT_EQ(histogram->count(), 0U);
  histogram->record(5);
  EXPECT_EQ(histogram->percentile(100), 5U);
  EXPECT_EQ(histogram->min(), 5U);
}

}  // namespace
}  // namespace mserve::shm
