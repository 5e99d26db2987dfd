// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/errc.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <string>

namespace mserve {
namespace {

TEST(Errc, EveryValueHasItsOwnTextAndAnAdvice) {
  std::set<std::string> texts;
  int known = 0;
  for (unsigned value = 0; value < 200; ++value) {
    const auto code = static_cast<Errc>(value);
    ASSERT_NE(std::strlen(to_string(code)), 0U);
    ASSERT_NE(std::strlen(advice(code)), 0U);
    if (std::string(to_string(code)) != "unknown error") {
      ++known;
      texts.insert(to_string(code));
    }
  }
  EXPECT_EQ(known, 31);
  EXPECT_EQ(texts.size(), 31U);
}

TEST(Errc, TheTextsThatKdbClientsSeeAreStable) {
  EXPECT_STREQ(to_string(Errc::busy), "busy");
  EXPECT_STREQ(to_string(Errc::no_servant), "no servant");
  EXPECT_STREQ(to_string(Errc::servant_died), "servant died");
  EXPECT_STREQ(to_string(Errc::shutdown), "shutdown");
  EXPECT_STREQ(to_string(Errc::timed_out), "timeout");
}

TEST(Errc, OsErrorCarriesErrno) {
  errno = ENOSPC;
  const Error error = os_error("here");
  EXPECT_EQ(error.code, Errc::os);
  EXPECT_EQ(error.os_errno, ENOSPC);
  EXPECT_STREQ(error.where, "here");
}

}  // namespace
}  // namespace mserve
