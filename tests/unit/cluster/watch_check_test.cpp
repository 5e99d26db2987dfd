// SPDX-License-Identifier: Apache-2.0
#include "cluster/watch_check.hpp"

#include <gtest/gtest.h>

#include <string>

namespace mserve::cluster {
namespace {

using Verdict = WatchCheck::Verdict;

KeyValue key(const std::string& name, std::int64_t revision) {
  return {.key = "/b/" + name, .mod_revision = revision};
}
WatchAnswer event(const std::string& name, std::int64_t revision, bool removed = false) {
  return {.newest = revision, .events = {{.removed = removed, .kv = key(name, revision)}}};
}

class Watched : public ::testing::Test {
 protected:
  void SetUp() override {
    check_.listed({.revision = 9, .count = 2, .all = {key("a", 5), key("b", 9)}});
  }
  WatchCheck check_{};
};

TEST_F(Watched, WhatIsToldInTimeIsFine) {
  EXPECT_EQ(check_.judge({.count = 2, .revision = 9}, 9), Verdict::fine);
  EXPECT_EQ(check_.judge({.count = 3, .revision = 12}, 9), Verdict::late);
  check_.told(event("c", 12));
  EXPECT_EQ(check_.judge({.count = 3, .revision = 12}, 12), Verdict::fine);
  EXPECT_EQ(check_.judge({.count = 3, .revision = 14}, 12), Verdict::late);
  EXPECT_EQ(check_.judge({.count = 3, .revision = 16}, 14), Verdict::fine) << "busy, not silent";
  check_.told(event("a", 17, true));
  EXPECT_EQ(check_.judge({.count = 2, .revision = 16}, 17), Verdict::fine);
  EXPECT_EQ(check_.judge({.count = 1, .revision = 16}, 17), Verdict::late);
  check_.told(event("b", 18, true));
  EXPECT_EQ(check_.judge({.count = 1, .revision = 16}, 19), Verdict::fine);
}

TEST_F(Watched, WhatIsNotToldIsSilence) {
  EXPECT_EQ(check_.judge({.count = 2, .revision = 12}, 9), Verdict::late);
  EXPECT_EQ(check_.judge({.count = 2, .revision = 12}, 9), Verdict::silent) << "by revision";
  check_.listed({.revision = 12, .count = 2, .all = {key("a", 5), key("b", 12)}});
  EXPECT_EQ(check_.judge({.count = 1, .revision = 5}, 12), Verdict::late);
  EXPECT_EQ(check_.judge({.count = 1, .revision = 5}, 12), Verdict::silent) << "by count";
  check_.listed({.revision = 13, .count = 1, .all = {key("a", 5)}});
  EXPECT_EQ(check_.judge({.count = 2, .revision = 14}, 13), Verdict::late);
  check_.forget();
  EXPECT_EQ(check_.judge({.count = 2, .revision = 14}, 13), Verdict::late) << "of another watch";
}

// The document of the cluster is among what is watched, and no broker's key.
TEST_F(Watched, AllThatIsListedIsCounted) {
  const KeyValue document{.key = "/document", .mod_revision = 10};
  check_.listed({.revision = 10, .count = 3, .all = {key("a", 5), key("b", 9), document}});
  EXPECT_EQ(check_.judge({.count = 3, .revision = 10}, 10), Verdict::fine);
  check_.told({.newest = 11, .events = {{.removed = true, .kv = document}}});
  EXPECT_EQ(check_.judge({.count = 2, .revision = 9}, 11), Verdict::fine);
}

TEST_F(Watched, KeysThatCannotBeReadDoNotSpoilTheCount) {
  check_.listed({.revision = 9, .count = 3, .skipped = 1, .all = {key("a", 5), key("b", 9)}});
  EXPECT_EQ(check_.judge({.count = 3, .revision = 9}, 9), Verdict::fine);
  check_.told({.newest = 10, .skipped = 1});
  EXPECT_EQ(check_.judge({.count = 4, .revision = 10}, 10), Verdict::fine) << "a second one";
  EXPECT_EQ(check_.judge({.count = 3, .revision = 10}, 10), Verdict::late);
  EXPECT_EQ(check_.judge({.count = 3, .revision = 10}, 10), Verdict::silent);
}

TEST_F(Watched, MoreThanAreListedAreNotCounted) {
  check_.listed({.revision = 9, .more = true, .count = 5000, .all = {key("a", 5)}});
  EXPECT_EQ(check_.judge({.count = 7, .revision = 9}, 9), Verdict::fine);
  check_.listed({.revision = 9, .count = 0});
  for (std::size_t i = 0; i <= kKeysMax; ++i) {
    check_.told(event(std::to_string(i), static_cast<std::int64_t>(10 + i)));
  }
  EXPECT_EQ(check_.judge({.count = 7, .revision = 9}, 5000), Verdict::fine);
}

}  // namespace
}  // namespace mserve::cluster
