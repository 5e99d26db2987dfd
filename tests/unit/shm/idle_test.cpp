// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/idle.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace mserve::shm {
namespace {

using Step = Idler::Step;

int passes_before_park(Idler& idler, int bound) {
  int passes = 0;
  while (passes < bound && idler.idle() == Step::again) {
    ++passes;
  }
  return passes;
}

TEST(IdleStrategy, NamesGoBothWays) {
  for (const char* word : {"spin", "yield", "park", "auto"}) {
    const std::optional<IdleStrategy> parsed = parse_idle_strategy(word);
    ASSERT_TRUE(parsed.has_value()) << word;
    EXPECT_STREQ(to_string(*parsed), word);
  }
  for (const char* word : {"", "Spin", "automatic", "spin ", "parks"}) {
    EXPECT_FALSE(parse_idle_strategy(word).has_value()) << word;
  }
}

TEST(IdleBudget, AutoNeverSpinsWithFewerCoresThanSpinners) {
  const IdleBudget few = idle_budget(IdleStrategy::automatic, 2, 3);
  EXPECT_EQ(few.spins, 0U);
  EXPECT_EQ(few.yields, 200U);
  const IdleBudget enough = idle_budget(IdleStrategy::automatic, 3, 3);
  EXPECT_GT(enough.spins, 0U);
  EXPECT_LT(enough.spins, IdleBudget::kForever);
  EXPECT_EQ(idle_budget(IdleStrategy::park, 1, 3).spins, 0U);
}

TEST(Idler, SpinAndYieldNeverPark) {
  for (const IdleStrategy strategy : {IdleStrategy::spin, IdleStrategy::yield}) {
    Idler idler(idle_budget(strategy, 1, 3));
    EXPECT_FALSE(idler.ever_parks());
    EXPECT_EQ(passes_before_park(idler, 5000), 5000);
  }
}

TEST(Idler, ParksAfterItsBudgetAndAgainUntilReset) {
  Idler idler(IdleBudget{3, 4});
  EXPECT_TRUE(idler.ever_parks());
  EXPECT_EQ(passes_before_park(idler, 100), 7);
  EXPECT_EQ(idler.idle(), Step::park);
  EXPECT_EQ(idler.idle(), Step::park);
  idler.reset();
  EXPECT_EQ(passes_before_park(idler, 100), 7);
}

TEST(Idler, SaysWhetherItYieldsSinceTheLastWork) {
  for (const IdleBudget budget : {IdleBudget{2, 3}, IdleBudget{2, IdleBudget::kForever}}) {
    Idler idler(budget);
    EXPECT_EQ(passes_before_park(idler, 2), 2);
    EXPECT_FALSE(idler.yields()) << "it spun";
    EXPECT_EQ(passes_before_park(idler, 2), 2);
    EXPECT_TRUE(idler.yields());
    idler.reset();
    EXPECT_FALSE(idler.yields());
  }
}

TEST(Idler, AutoParksSometimeOnThisMachine) {
  Idler idler(IdleStrategy::automatic);
  EXPECT_LT(passes_before_park(idler, 1'000'000), 1'000'000);
}

TEST(UsableCores, FollowTheAffinityMask) {
  int pinned = 0;
  std::thread thread([&] {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(::sched_getcpu()), &set);
    ASSERT_EQ(::sched_setaffinity(0, sizeof(set), &set), 0);
    pinned = usable_cores();
  });
  thread.join();
  EXPECT_EQ(pinned, 1);
  EXPECT_GE(usable_cores(), 1);
}

}  // namespace
}  // namespace mserve::shm
