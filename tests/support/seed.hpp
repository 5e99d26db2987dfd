// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

namespace mserve::test {

/// The seed of a random test: MSERVE_TEST_SEED, else a fresh one. Printed with the way to replay
/// it.
inline std::uint64_t seed() {
  const char* const given = std::getenv("MSERVE_TEST_SEED");
  const std::uint64_t value =
      given != nullptr ? std::strtoull(given, nullptr, 0) : std::uint64_t{std::random_device{}()};
  const auto* const info = ::testing::UnitTest::GetInstance()->current_test_info();
  std::cout << "seed " << value << "; replay: MSERVE_TEST_SEED=" << value
            << " (this executable) --gtest_filter=" << info->test_suite_name() << '.'
            << info->name() << '\n';
  return value;
}

}  // namespace mserve::test
