// SPDX-License-Identifier: Apache-2.0
#include "access/checker.hpp"

#include <gtest/gtest.h>

#include <future>
#include <map>

#include "files.hpp"

namespace mserve::broker {
namespace {

std::shared_ptr<const AccessRules> quick_rules() {
  const test::AccessFiles files;
  std::vector<std::string> faults;
  return AccessRules::read(files.write("users.csv", test::kQuickUsers),
                           files.write("roles.csv", test::kQuickRoles), faults);
}

/// Counts what is ready, and lets the test wait for it.
struct Bell {
  void ring() {
    {
      const std::lock_guard lock(mutex);
      ++count;
    }
    rung.notify_all();
  }
  void wait_for(int wanted) {
    std::unique_lock lock(mutex);
    rung.wait(lock, [&] { return count >= wanted; });
  }
  std::mutex mutex;
  std::condition_variable rung;
  int count = 0;
};

TEST(PasswordChecker, AnswersEachLoginOnceWithItsRole) {
  const auto rules = quick_rules();
  Bell bell;
  PasswordChecker checker({.threads = 2, .avoid_core = 0, .ready = [&] { bell.ring(); }});
  constexpr int kLogins = 100;
  for (int i = 0; i < kLogins; ++i) {
    const auto index = static_cast<std::uint32_t>(i);
    ASSERT_TRUE(checker.try_ask(
        {index, index + 1000, rules, "ken", Secret(i % 2 == 0 ? "ken" : "wrongpassword")}));
  }
  bell.wait_for(kLogins);
  std::map<std::uint32_t, bool> admitted;
  for (LoginAnswer answer; checker.next(answer);) {
    EXPECT_EQ(answer.generation, answer.index + 1000);
    admitted[answer.index] = answer.role != nullptr;
  }
  ASSERT_EQ(admitted.size(), static_cast<std::size_t>(kLogins));
  for (const auto& [index, in] : admitted) {
    EXPECT_EQ(in, index % 2 == 0);
  }
}

TEST(PasswordChecker, RefusesWhatTooManyWaitFor) {
  const auto rules = quick_rules();
  std::promise<void> held;
  std::promise<void> go;
  std::shared_future<void> may_go = go.get_future().share();
  std::once_flag once;
  PasswordChecker checker({.threads = 1, .avoid_core = -1, .ready = [&] {
                             std::call_once(once, [&] { held.set_value(); });
                             may_go.wait();
                           }});
  ASSERT_TRUE(checker.try_ask({0, 0, rules, "ken", Secret("ken")}));
  held.get_future().wait();  // the only helper is busy
  for (std::size_t i = 0; i < PasswordChecker::kWaitingMax; ++i) {
    EXPECT_TRUE(checker.try_ask({1, 1, rules, "ken", Secret("ken")}));
  }
  EXPECT_FALSE(checker.try_ask({2, 2, rules, "ken", Secret("ken")}));
  go.set_value();
}

TEST(Secret, MovesWithoutLeavingACopy) {
  Secret first("hunter2");
  const char* const where = first.c_str();
  const Secret second = std::move(first);
  EXPECT_EQ(second.c_str(), where);
  EXPECT_EQ(second.text(), "hunter2");
  EXPECT_EQ(first.text(), "");  // NOLINT(bugprone-use-after-move): that is the question
}

}  // namespace
}  // namespace mserve::broker
