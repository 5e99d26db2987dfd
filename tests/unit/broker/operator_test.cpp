// SPDX-License-Identifier: Apache-2.0
// The parts that make up what an operator may do: who, to whom, and for which reasons.
#include <gtest/gtest.h>

#include "control/operator_protocol.hpp"
#include "control/servant_hold.hpp"
#include "control/servant_target.hpp"

namespace mserve::broker::test {
namespace {

using Reason = ServantHold::Reason;

constexpr std::uint64_t load(std::uint64_t orders, std::uint64_t running) {
  return orders << 32 | running;
}

TEST(Operator, OnlyTheBrokersOwnUserAndRootMay) {
  EXPECT_EQ(check_operator(1000, 1000).code, Errc::ok);
  EXPECT_EQ(check_operator(0, 1000).code, Errc::ok);
  EXPECT_EQ(check_operator(1001, 1000).code, Errc::access);
  EXPECT_EQ(check_operator(1001, 0).code, Errc::access);
  EXPECT_STRNE(check_operator(1001, 1000).where, "");
}

TEST(ServantHold, IsSuspendedByTheFirstReasonAndResumedByTheLast) {
  ServantHold hold;
  EXPECT_EQ(hold.set(Reason::paused, true), true);
  EXPECT_EQ(hold.set(Reason::paused, true), std::nullopt);
  EXPECT_EQ(hold.set(Reason::stopped, true), std::nullopt);
  EXPECT_EQ(hold.set(Reason::paused, false), std::nullopt);
  EXPECT_TRUE(hold.has(Reason::stopped));
  EXPECT_FALSE(hold.has(Reason::paused));
  EXPECT_EQ(hold.set(Reason::paused, false), std::nullopt);
  EXPECT_EQ(hold.set(Reason::stopped, false), false);
  EXPECT_EQ(hold.set(Reason::stopped, false), std::nullopt);
}

TEST(ServantHold, IsDryOnlyOnceTheLastOrderWasCarriedOut) {
  ServantHold hold;
  EXPECT_FALSE(hold.dry(load(0, 0))) << "idle, but nothing holds requests off";
  EXPECT_TRUE(hold.obeyed(load(0, 5)));
  (void)hold.set(Reason::paused, true);
  EXPECT_FALSE(hold.dry(load(0, 0))) << "it does not know yet";
  EXPECT_FALSE(hold.obeyed(load(0, 0)));
  EXPECT_FALSE(hold.dry(load(1, 1)));
  EXPECT_TRUE(hold.obeyed(load(1, 1)));
  EXPECT_TRUE(hold.dry(load(1, 0)));
  // Paused, resumed and paused again: what was true after the first time says nothing.
  (void)hold.set(Reason::paused, false);
  EXPECT_FALSE(hold.dry(load(2, 0)));
  (void)hold.set(Reason::paused, true);
  EXPECT_FALSE(hold.dry(load(1, 0)));
  EXPECT_TRUE(hold.dry(load(3, 0)));
}

TEST(ServantTarget, AllOneNameGroupOrTag) {
  const auto matches = [](const char* target, std::uint32_t number, const char* tags) {
    const auto parsed = ServantTarget::parse(target);
    EXPECT_TRUE(parsed) << target;
    return parsed && parsed->matches(number, "hdb-1", tags);
  };
  EXPECT_TRUE(matches("name:hdb-1", 7, "group=a"));
  EXPECT_FALSE(matches("name:hdb", 7, "hdb"));
  EXPECT_FALSE(matches("name:hdb-10", 7, "hdb-10"));
  EXPECT_TRUE(matches("all", 7, ""));
  EXPECT_TRUE(matches("7", 7, "group=a"));
  EXPECT_FALSE(matches("7", 8, "7"));
  EXPECT_TRUE(matches("group:a", 1, "gpu group=a"));
  EXPECT_FALSE(matches("group:a", 1, "group=ab"));
  EXPECT_FALSE(matches("group:a", 1, "subgroup=a"));
  EXPECT_TRUE(matches("tag:group=a", 1, "group=a  weight=2"));
  EXPECT_TRUE(matches("tag:weight=2", 1, "group=a  weight=2"));
  EXPECT_TRUE(matches("tag:gpu", 1, "gpu"));
  EXPECT_FALSE(matches("tag:gpu", 1, ""));
}

TEST(ServantTarget, WhatIsNoneIsRefused) {
  for (const char* text : {"", "ALL", "0", "-1", "1.5", "1 ", " 1", "4294967296", "group:", "tag:",
                           "name:", "group:a b", "name:a b", "name", "group", "grp:x"}) {
    EXPECT_FALSE(ServantTarget::parse(text)) << text;
  }
}

}  // namespace
}  // namespace mserve::broker::test
