// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/futex.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/segment.hpp"
#include "mserve/shm/socket.hpp"

namespace mserve::shm {
namespace {

constexpr std::uint32_t kSmallRing = 4096;

TEST(Futex, ReturnsAtOnceWhenTheWordDiffers) {
  const std::atomic<std::uint32_t> word{1};
  EXPECT_EQ(futex_wait(word, 0, kNoDeadline), Errc::ok);
}

TEST(Futex, TimesOutAtAnAbsoluteDeadline) {
  const std::atomic<std::uint32_t> word{0};
  EXPECT_EQ(futex_wait(word, 0, 0), Errc::timed_out) << "long past";
  const std::uint64_t deadline = steady_now() + 2'000'000;
  Errc code = Errc::ok;
  while (code == Errc::ok) {  // a signal may wake it early
    code = futex_wait(word, 0, deadline);
  }
  EXPECT_EQ(code, Errc::timed_out);
  EXPECT_GE(steady_now(), deadline);
}

TEST(Futex, WakeCountsWhoSleeps) {
  std::atomic<std::uint32_t> word{0};
  EXPECT_EQ(futex_wake(word), 0);
  std::atomic<bool> woken{false};
  std::thread sleeper([&] {
    (void)futex_wait(word, 0, kNoDeadline);
    woken.store(true, std::memory_order_release);
  });
  while (futex_wake(word) == 0 && !woken.load(std::memory_order_acquire)) {
    std::this_thread::yield();
  }
  sleeper.join();
  EXPECT_TRUE(woken.load(std::memory_order_acquire));
}

TEST(Futex, AnotherProcessWakesThroughItsReadOnlyMapping) {
  // Goal: the sleeper's word lies in its own segment, which the waker cannot write.
  const std::uint64_t bytes = segment_bytes(kSmallRing, 0);
  Result<Segment> made = Segment::create("mserve-test", bytes);
  ASSERT_TRUE(made);
  Result<Mapping> sleeper = made.value().map(Access::read_write);
  ASSERT_TRUE(sleeper);
  ASSERT_EQ(made.value().seal_writes().code, Errc::ok);
  const pid_t child = ::fork();
  if (child == 0) {
    Result<Mapping> waker = made.value().map(Access::read_only);
    if (!waker) {
      ::_exit(1);
    }
    while (futex_wake(waker.value().front()->sleep_word) == 0) {
      ::usleep(100);
    }
    ::_exit(0);
  }
  EXPECT_EQ(futex_wait(sleeper.value().front()->sleep_word, 0, kNoDeadline), Errc::ok);
  // A signal instead of the wake would leave the child ringing; let it find one more sleeper.
  int status = -1;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    (void)futex_wait(sleeper.value().front()->sleep_word, 0, steady_now() + 1'000'000);
  }
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace mserve::shm
