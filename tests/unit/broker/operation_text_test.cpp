// SPDX-License-Identifier: Apache-2.0
// What operators are told: whom it concerned, and what became of the others.
#include "control/operation_text.hpp"

#include <gtest/gtest.h>

namespace mserve::broker::test {
namespace {

constexpr std::size_t kTextBytes = sizeof(shm::ControlReply::text) - 1;

TEST(ServantList, NamesAsManyAsFitAndCountsTheOthers) {
  ServantList list;
  list.add("a", 1);
  list.add("b", 0);
  EXPECT_EQ(list.text(), "a (number 1), b (not attached)");
  for (std::uint32_t i = 3; i <= 1000; ++i) {
    list.add("servant", i);
  }
  EXPECT_EQ(list.count(), 1000U);
  EXPECT_EQ(list.text(),
            "a (number 1), b (not attached), servant (number 3), servant (number 4), "
            "servant (number 5) and 995 more");
}

TEST(OperationAnswer, ThoseThatWentByThemselvesAreToldApart) {
  OperationProgress progress;
  progress.done.add("a", 1);
  progress.gone.add("b", 2);
  auto answer = answer_of(shm::Verb::drain, progress, false);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, Errc::ok);
  EXPECT_EQ(answer->count, 1U);
  EXPECT_EQ(answer->text, "drained: a (number 1); 1 gone: b (number 2)");
  progress.done = {};
  answer = answer_of(shm::Verb::pause, progress, false);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, Errc::no_servant) << "it was done to nobody";
  EXPECT_EQ(answer->text, "none paused; 1 gone: b (number 2)");
}

TEST(OperationAnswer, ComesWhenAllAreDoneOrItIsCalledOffOrTooLate) {
  OperationProgress progress;
  progress.done.add("a", 1);
  progress.waiting.add("b", 2);
  EXPECT_FALSE(answer_of(shm::Verb::retire, progress, false));
  EXPECT_EQ(answer_of(shm::Verb::retire, progress, true)->status, Errc::timed_out);
  EXPECT_EQ(answer_of(shm::Verb::retire, progress, true)->text,
            "1 of 2 servants not retired yet: b (number 2); what is not resumed stays paused");
  EXPECT_EQ(answer_of(shm::Verb::resume, progress, true)->text,
            "1 of 2 servants not resumed yet: b (number 2); the order stands");
  progress.called_off = true;
  EXPECT_EQ(answer_of(shm::Verb::retire, progress, false)->status, Errc::cancelled);
}

TEST(OperationAnswer, FitsWhateverTheNames) {
  const std::string name(63, 'x');
  OperationProgress progress;
  for (std::uint32_t i = 0; i < 100; ++i) {
    progress.done.add(name, UINT32_MAX);
    progress.gone.add(name, UINT32_MAX);
  }
  const auto done = answer_of(shm::Verb::retire, progress, false);
  EXPECT_LE(done->text.size(), kTextBytes);
  EXPECT_NE(done->text.find(name), std::string::npos);
  progress.waiting = progress.done;
  EXPECT_LE(answer_of(shm::Verb::retire, progress, true)->text.size(), kTextBytes);
}

}  // namespace
}  // namespace mserve::broker::test
