// SPDX-License-Identifier: Apache-2.0
#include "cluster/host_lookup.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "support/wait.hpp"
#include "unit/cluster/silent_names.hpp"

namespace mserve::cluster {
namespace {

TEST(HostLookup, TellsWhatTheResolverSays) {
  std::atomic<bool> told{false};
  HostAnswer answer;
  const auto lookup = HostLookup::begin(
      "h",
      [](const std::string& host) {
        return HostAnswer{.addresses = {host, "::1"}, .fault = "x"};
      },
      [&](const HostAnswer& found) {
        answer = found;
        told = true;
      });
  ASSERT_NE(lookup, nullptr);
  EXPECT_TRUE(test::wait_until([&] { return told.load(std::memory_order_acquire); }, "the answer"));
  EXPECT_EQ(answer.addresses, (std::vector<std::string>{"h", "::1"}));
}

TEST(HostLookup, TheSystemKnowsAddressesAndSaysWhatItDoesNotKnow) {
  EXPECT_EQ(resolve_by_system("127.0.0.1").addresses, std::vector<std::string>{"127.0.0.1"});
  EXPECT_EQ(resolve_by_system("::1").addresses, std::vector<std::string>{"::1"});
  const HostAnswer none = resolve_by_system("no name at all");
  EXPECT_TRUE(none.addresses.empty());
  EXPECT_NE(none.fault, "");
}

// Goal: nobody waits for one that hangs, it tells nobody who is gone, and few of them pile up.
TEST(HostLookup, OneThatHangsIsLeftToItself) {
  test::SilentNames names;
  std::atomic<int> told{0};
  const auto begin = [&](const std::string& host) {
    return HostLookup::begin(host, names.resolver(), [&told](const HostAnswer&) { ++told; });
  };
  std::vector<std::unique_ptr<HostLookup>> lookups;
  for (std::uint32_t i = 0; i < kLookupsPerHostMax; ++i) {
    lookups.push_back(begin("silent"));
    ASSERT_NE(lookups.back(), nullptr);
  }
  EXPECT_EQ(begin("silent"), nullptr);
  EXPECT_NE(begin("silent-too"), nullptr) << "another name has nothing to do with it";
  lookups.clear();
  EXPECT_EQ(begin("silent"), nullptr) << "the threads are still there";
  names.answer();
  EXPECT_TRUE(test::wait_until(
      [&] {
        return HostLookup::begin("silent", names.resolver(), [](const HostAnswer&) {}) != nullptr;
      },
      "them to be over"));
  names.wait_until_over();
  EXPECT_EQ(told, 0);
}

}  // namespace
}  // namespace mserve::cluster
