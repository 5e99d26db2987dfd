// SPDX-License-Identifier: Apache-2.0
#include "cluster/base64.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <utility>

#include "support/seed.hpp"

namespace mserve::cluster {
namespace {

TEST(Base64, IsThatOfTheRfc) {
  const std::pair<std::string, std::string> pairs[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"},
                                                       {std::string("\0\xff\xfe", 3), "AP/+"}};
  for (const auto& [bytes, text] : pairs) {
    EXPECT_EQ(to_base64(bytes), text);
    EXPECT_EQ(from_base64(text, 100), bytes);
  }
}

TEST(Base64, WhatIsNoneIsRefused) {
  for (const char* const wrong : {"Z", "Zg", "Zg=", "=Zg=", "====", "Zg==Zg==", "Z g=", "Zm9v\n",
                                  "Zm-v", "Zm9_", "Zh==", "Zm9=", "Zg=a"}) {
    EXPECT_EQ(from_base64(wrong, 100), std::nullopt) << wrong;
  }
}

TEST(Base64, NoMoreIsReadThanAsked) {
  EXPECT_EQ(from_base64("Zm9v", 3), "foo");
  EXPECT_EQ(from_base64("Zm9v", 2), std::nullopt);
  EXPECT_EQ(from_base64("Zg==", 0), std::nullopt);
  EXPECT_EQ(from_base64("", 0), "");
}

TEST(Base64, WhatIsWrittenReadsBack) {
  std::mt19937_64 random(test::seed());
  for (std::size_t bytes = 0; bytes < 300; ++bytes) {
    std::string text(bytes, '\0');
    for (char& c : text) {
      c = static_cast<char>(random());
    }
    ASSERT_EQ(from_base64(to_base64(text), bytes), text) << bytes;
  }
}

}  // namespace
}  // namespace mserve::cluster
