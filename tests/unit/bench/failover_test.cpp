// SPDX-License-Identifier: Apache-2.0
// The books of a client that loses a host.
#include <gtest/gtest.h>

#include "failover_book.hpp"

namespace mserve::bench {
namespace {

constexpr std::uint64_t kMs = 1'000'000;

TEST(FailoverBook, CountsWhatIsLostAnsweredTwiceOrFailed) {
  FailoverBook book;
  const std::uint64_t first = book.send(1 * kMs);
  const std::uint64_t second = book.send(2 * kMs);
  const std::uint64_t third = book.send(3 * kMs);
  (void)book.send(4 * kMs);
  EXPECT_FALSE(book.knows(0));
  EXPECT_TRUE(book.knows(4));
  EXPECT_FALSE(book.knows(5));
  book.answer(first, 5 * kMs, "peer-c", 0);
  book.answer(second, 5 * kMs, "peer-c", 0);
  book.answer(second, 6 * kMs, "peer-b", 0);
  book.fail(second, "late");
  book.fail(third, "servant_died");
  const FailoverFigures figures = book.figures();
  EXPECT_EQ(figures.sent, 4U);
  EXPECT_EQ(figures.lost, 1U);
  EXPECT_EQ(book.under_way(), 1U);
  EXPECT_EQ(figures.twice, 1U) << "it is one request, however often it was answered";
  EXPECT_EQ(figures.failed, 1U);
  EXPECT_EQ(figures.errors.at("servant_died"), 1U);
  EXPECT_EQ(figures.wait_ns + figures.silence_ns + figures.moved, 0U) << "nothing was lost yet";
}

TEST(FailoverBook, TellsWhatWasAtTheLostHostFromWhatWasNot) {
  FailoverBook book;
  const std::uint64_t there = book.send(10 * kMs);
  const std::uint64_t elsewhere = book.send(10 * kMs);
  const std::uint64_t just_done = book.send(10 * kMs);
  book.answer(book.send(10 * kMs), 11 * kMs, "peer-c", 0);
  book.lose("peer-b");
  book.answer(just_done, 12 * kMs, "peer-b", 0);
  EXPECT_EQ(book.figures().wait_ns, 2 * kMs);
  book.answer(elsewhere, 500 * kMs, "peer-c", 0);
  EXPECT_EQ(book.figures().wait_ns, 2 * kMs) << "that was slow, and never at B";
  book.answer(there, 700 * kMs, "peer-c", 689 * kMs);
  const FailoverFigures figures = book.figures();
  EXPECT_EQ(figures.moved, 1U);
  EXPECT_EQ(figures.wait_ns, 690 * kMs);
  EXPECT_EQ(figures.silence_ns, 488 * kMs);
}

TEST(FailoverBook, SilenceCountsFromTheLastAnswerBeforeTheLossToTheEnd) {
  FailoverBook book;
  book.hear_nothing(1 * kMs);
  book.answer(book.send(10 * kMs), 20 * kMs, "peer-b", 0);
  book.hear_nothing(100 * kMs);
  EXPECT_EQ(book.figures().silence_ns, 0U);
  book.lose("peer-b");
  book.hear_nothing(120 * kMs);
  EXPECT_EQ(book.figures().silence_ns, 100 * kMs);
  book.end_of_silence();
  book.answer(book.send(120 * kMs), 900 * kMs, "peer-c", 0);
  EXPECT_EQ(book.figures().silence_ns, 100 * kMs);
}

}  // namespace
}  // namespace mserve::bench
