// SPDX-License-Identifier: Apache-2.0
#include "options_file.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <string_view>

#include "support/temp_dir.hpp"

namespace mserve::broker {
namespace {

using namespace std::string_view_literals;

// What fuzz/broker_config_fuzz.cpp found: see toml.hpp.
TEST(OptionsFile, HeadersWithoutAKeyAreAFaultWithTheirLine) {
  const mserve::test::TempDir dir;
  const std::string path = dir.file("mserve.toml");
  for (const std::string_view text :
       {"retries = 1\n[`e`]\n"sv, "retries = 1\n[\0\0[e]]\n"sv, "retries = 1\n[[=]]"sv,
        "retries = 1\n[#]"sv, "retries = 1\n\xc3\xa9 = 2"sv}) {
    std::ofstream(path, std::ios::trunc) << text;
    std::vector<std::string> faults;
    EXPECT_TRUE(read_options_file(path, false, faults).empty());
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_TRUE(faults.front().starts_with(path + ":2: ")) << faults.front();
  }
}

}  // namespace
}  // namespace mserve::broker
