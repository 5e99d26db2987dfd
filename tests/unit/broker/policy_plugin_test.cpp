// SPDX-License-Identifier: Apache-2.0
// A plugin's policy: what it is told, and what becomes of wrong answers.
#include "plugin/policy_plugin.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "support/seed.hpp"
#include "unit/dispatch/desk.hpp"

namespace mserve::broker::test {
namespace {

/// A plugin that writes down what it is told and answers what the test says.
struct Told {
  static inline std::vector<std::string> events;  // NOLINT: the table's functions are free ones
  static inline std::vector<std::uint32_t> answers;
  static inline int states = 0;

  static void note(std::string event) { events.push_back(std::move(event)); }
  static void* create(std::uint32_t servants_max) {
    ++states;
    note("create " + std::to_string(servants_max));
    return new int(states);
  }
  static void destroy(void* state) {
    --states;
    delete static_cast<int*>(state);
  }
  static void renew(void* /*state*/, std::uint32_t servant) {
    note("renew " + std::to_string(servant));
  }
  static void enter(void* state, const mserve_free_servant* s) {
    EXPECT_EQ(s->size, sizeof(mserve_free_servant));
    note("enter " + std::to_string(s->index) + " of " + std::to_string(*static_cast<int*>(state)) +
         " runs " + std::to_string(s->outstanding) + " weighs " + std::to_string(s->weight) +
         " routes " + std::to_string(s->routes) + " room " + std::to_string(s->room));
  }
  static void leave(void* /*state*/, std::uint32_t servant, std::uint32_t sent) {
    note("leave " + std::to_string(servant) + (sent == 1 ? " sent" : ""));
  }
  static std::uint32_t choose(void* /*state*/) {
    note("choose");
    const std::uint32_t answer = answers.back();
    answers.pop_back();
    return answer;
  }
  static const mserve_policy_table& table() {
    static constexpr mserve_policy_table kTable{sizeof(mserve_policy_table),
                                                MSERVE_PLUGIN_ABI,
                                                "told",
                                                create,
                                                destroy,
                                                renew,
                                                enter,
                                                leave,
                                                choose};
    return kTable;
  }
};

class PolicyPlugin : public ::testing::Test {
 protected:
  PolicyPlugin() {
    Told::events.clear();
    Told::answers.clear();
  }
  ~PolicyPlugin() override { EXPECT_EQ(Told::states, 0) << "each state is destroyed once"; }

  shm::Counter faults_;
  PluginPolicies source_{Told::table(), faults_};
};

TEST_F(PolicyPlugin, HearsWhatThePoliciesOfTheBrokerHear) {
  const auto policy = make_policy(Policy::plugin, 8, &source_);
  policy->renew(5);
  policy->enter({.index = 5, .outstanding = 2, .weight = 7, .routes = 1, .room = false});
  policy->enter({.index = 3});
  EXPECT_TRUE(policy->contains(5));
  Told::answers = {5};
  EXPECT_EQ(policy->choose(), 5U);
  policy->leave(5, true);
  policy->leave(3, false);
  EXPECT_FALSE(policy->contains(5));
  EXPECT_EQ(Told::events, (std::vector<std::string>{"create 8", "renew 5",
                                                    "enter 5 of 1 runs 2 weighs 7 routes 1 room 0",
                                                    "enter 3 of 1 runs 0 weighs 1 routes 0 room 1",
                                                    "choose", "leave 5 sent", "leave 3"}));
  EXPECT_EQ(faults_.get(), 0U);
}

TEST_F(PolicyPlugin, EachInstanceHasAStateOfItsOwn) {
  const auto first = make_policy(Policy::plugin, 4, &source_);
  const auto second = make_policy(Policy::plugin, 4, &source_);
  second->enter({.index = 1});
  first->enter({.index = 2});
  EXPECT_EQ(Told::events[2], "enter 1 of 2 runs 0 weighs 1 routes 0 room 1");
  EXPECT_EQ(Told::events[3], "enter 2 of 1 runs 0 weighs 1 routes 0 room 1");
  EXPECT_FALSE(first->contains(1));
}

TEST_F(PolicyPlugin, AWrongChoiceIsCountedAndTheLowestFreeServantTaken) {
  const auto policy = make_policy(Policy::plugin, 70, &source_);
  for (const std::uint32_t index : {69U, 2U, 4U, 1U}) {
    policy->enter({.index = index});
  }
  policy->leave(1, true);
  std::uint64_t faults = 0;
  for (const std::uint32_t wrong : {70U, 64U, 1U, 0U, kNone, 0x80000000U, 1U << 20}) {
    Told::answers = {wrong};
    EXPECT_EQ(policy->choose(), 2U) << wrong;
    EXPECT_EQ(faults_.get(), ++faults) << wrong;
  }
  Told::answers = {69};
  EXPECT_EQ(policy->choose(), 69U);
  EXPECT_EQ(faults_.get(), faults);
}

TEST_F(PolicyPlugin, IsNotAskedWhileNobodyIsFree) {
  const auto policy = make_policy(Policy::plugin, 4, &source_);
  EXPECT_EQ(policy->choose(), kNone);
  policy->enter({.index = 0});
  policy->leave(0, false);
  EXPECT_EQ(policy->choose(), kNone);
  EXPECT_EQ(faults_.get(), 0U);
}

TEST_F(PolicyPlugin, WithoutAStateThereIsNoPolicy) {
  mserve_policy_table table = Told::table();
  table.create = [](std::uint32_t) -> void* { return nullptr; };
  const PluginPolicies source(table, faults_);
  EXPECT_THROW((void)make_policy(Policy::plugin, 4, &source), std::bad_alloc);
}

// Goal: whatever a plugin answers, the Dispatcher stays whole and every request is run. Method:
// a policy that answers at random, under load that never uses up all servants.
TEST_F(PolicyPlugin, NoAnswerBreaksTheDispatcher) {
  static std::uint64_t random = 0;  // NOLINT: choose() is a free function
  random = mserve::test::seed();
  mserve_policy_table table = Told::table();
  table.choose = [](void*) -> std::uint32_t {
    random = random * 6364136223846793005U + 1442695040888963407U;
    const auto word = static_cast<std::uint32_t>(random >> 32);
    return word % 4 == 0 ? word : word / 4 % 20;
  };
  const PluginPolicies source(table, faults_);
  Limits limits = Desk::small();
  limits.plugin = &source;
  Desk desk({.policy = Policy::plugin}, limits);
  desk.join(8, 2);
  std::map<std::uint32_t, int> runs;
  for (int count = 0; count < 2000; ++count) {
    const std::uint32_t servant = desk.run(static_cast<std::uint64_t>(count % 5));
    ASSERT_LT(servant, 8U);
    ++runs[servant];
    ASSERT_EQ(desk.it.audit(), "");
    desk.done(servant);
  }
  EXPECT_EQ(runs.size(), 8U);
  EXPECT_GT(faults_.get(), 0U);
}

TEST_F(PolicyPlugin, TakesOverAndIsTakenOverFrom) {
  Limits limits = Desk::small();
  limits.plugin = &source_;
  Desk desk({.policy = Policy::orig}, limits);
  desk.join(3);
  EXPECT_EQ(desk.run(), 0U);
  Told::events.clear();
  desk.it.set_options({.policy = Policy::plugin}, desk.now);
  EXPECT_EQ(Told::events.size(), 2U) << "those that are free";
  Told::answers = {2, 2, 2};  // also for the audit
  EXPECT_EQ(desk.run(), 2U);
  desk.it.set_options({.policy = Policy::orig}, desk.now);
  EXPECT_EQ(Told::events.back(), "leave 1");
  EXPECT_EQ(desk.run(), 1U);
}

}  // namespace
}  // namespace mserve::broker::test
