// SPDX-License-Identifier: Apache-2.0
#include "cluster/document_keeper.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mserve::cluster {
namespace {

using Kind = ReloadAnswer::Kind;

Document numbered_document(std::int64_t version) {
  return {.version = version, .by = "x", .text = "timeout = " + std::to_string(version) + "\n"};
}

/// A file and a broker that does as it is told.
class DocumentKeeping : public ::testing::Test {
 protected:
  DocumentKeeper& keeper() {
    if (!keeper_) {
      keeper_.emplace(DocumentKeeper::Hands{
          .read = [this] { return file_; },
          .stage =
              [this](const std::optional<std::string>& text) {
                if (fault_.empty()) {
                  staged_ = text;
                }
                return fault_;
              },
          .keep =
              [this](const std::string& text) {
                EXPECT_EQ(staged_, text);
                EXPECT_TRUE(taken_) << "a broker that starts now would read what it has not taken";
                if (fault_.empty()) {
                  file_ = text;
                  staged_.reset();
                }
                return fault_;
              },
          .check =
              [](std::string_view text) {
                return text.find("bad") != std::string_view::npos
                           ? std::vector<std::string>{"line 1: bad", "line 2: too"}
                           : std::vector<std::string>{};
              },
          .reload =
              [this](auto answered) {
                EXPECT_FALSE(asked_) << "one at a time";
                asked_ = std::move(answered);
                ++reloads_;
              },
          .changed = [this] { ++changes_; }});
    }
    return *keeper_;
  }
  void answer(ReloadAnswer answer) {
    ASSERT_TRUE(asked_);
    const auto told = std::exchange(asked_, nullptr);
    taken_ = answer.kind == Kind::done;
    told(answer);
  }
  /// Brings it to the broker, which takes it.
  void take(std::int64_t version) {
    keeper().want(numbered_document(version));
    keeper().tick(epoch_, now_);
    answer({.kind = Kind::done, .document = true});
  }
  void expect(DocumentStanding standing) { EXPECT_EQ(keeper().standing(), standing); }

  std::optional<std::string> file_;
  std::optional<std::string> staged_;
  bool taken_ = false;  // by the broker, what it was asked to read last
  std::string fault_;
  std::function<void(ReloadAnswer)> asked_;
  int reloads_ = 0;
  int changes_ = 0;
  std::uint64_t epoch_ = 1;
  std::uint64_t now_ = 5'000'000'000;
  std::optional<DocumentKeeper> keeper_;
};

TEST_F(DocumentKeeping, BringsEachVersionToTheBrokerOnce) {
  keeper().tick(epoch_, now_);
  EXPECT_EQ(reloads_, 0) << "etcd has said nothing";
  keeper().want(numbered_document(1));
  keeper().tick(0, now_);
  EXPECT_EQ(reloads_, 0) << "there is no broker";
  take(1);
  EXPECT_EQ(file_, to_file(numbered_document(1)));
  expect({.version = 1});
  keeper().tick(epoch_, now_);
  keeper().want(numbered_document(1));
  keeper().tick(epoch_, now_);
  EXPECT_EQ(reloads_, 1);
  // What comes meanwhile waits for its turn.
  keeper().want(numbered_document(2));
  keeper().tick(epoch_, now_);
  keeper().want(numbered_document(3));
  keeper().tick(epoch_, now_);
  EXPECT_EQ(reloads_, 2);
  answer({.kind = Kind::done, .document = true});
  expect({.version = 2});
  keeper().tick(epoch_, now_);
  answer({.kind = Kind::done, .document = true});
  expect({.version = 3});
}

// One that was killed between the two left a refused one where the broker looked at its next start.
TEST_F(DocumentKeeping, WhatTheBrokerMayRefuseIsNeverWhereItLooksAtItsStart) {
  take(1);
  keeper().want(numbered_document(2));
  keeper().tick(epoch_, now_);
  EXPECT_EQ(staged_, to_file(numbered_document(2)));
  EXPECT_EQ(file_, to_file(numbered_document(1)));
  answer({Kind::refused, "rule: no\n"});
  EXPECT_EQ(staged_, std::nullopt);
  EXPECT_EQ(file_, to_file(numbered_document(1)));
  expect({.version = 1, .refused = 2, .fault = "rule: no?"});
  keeper().tick(epoch_, now_ + 1'000 * DocumentKeeper::kAgainNs);
  EXPECT_EQ(reloads_, 2) << "it has what it had, and is not asked again";
  // One that was started anew may have other flags.
  epoch_ = 2;
  keeper().tick(epoch_, now_);
  EXPECT_EQ(file_, to_file(numbered_document(1)));
  answer({.kind = Kind::done, .document = true});
  expect({.version = 2});
  EXPECT_EQ(file_, to_file(numbered_document(2)));
}

TEST_F(DocumentKeeping, WhatAFormerLifeStagedIsGone) {
  file_ = to_file(numbered_document(1));
  staged_ = to_file(numbered_document(2));
  expect({});
  EXPECT_EQ(staged_, std::nullopt);
  EXPECT_EQ(file_, to_file(numbered_document(1)));
}

// It was believed to be the version that its last line says, whatever was in it.
TEST_F(DocumentKeeping, AFileThatSomebodyEditedIsOfNoVersion) {
  const std::string edited = "retries = 9\n" + to_file(numbered_document(4));
  file_ = edited;
  keeper().tick(epoch_, now_);
  EXPECT_EQ(reloads_, 0);
  expect({});
  take(4);
  expect({.version = 4});
  EXPECT_EQ(file_, to_file(numbered_document(4)));
}

TEST_F(DocumentKeeping, WhatCannotBeKeptIsToldAndTriedAgain) {
  keeper().want(numbered_document(1));
  keeper().tick(epoch_, now_);
  fault_ = "x: Read-only file system";
  answer({.kind = Kind::done, .document = true});
  expect({.version = 1,
          .refused = 1,
          .fault = "it holds, but not once this broker starts anew: x: Read-only file system"});
  keeper().tick(epoch_, now_ + DocumentKeeper::kAgainNs);
  EXPECT_EQ(file_, std::nullopt);
  fault_.clear();
  now_ += 2 * DocumentKeeper::kAgainNs;
  keeper().tick(epoch_, now_);
  EXPECT_EQ(reloads_, 1) << "the broker has it";
  expect({.version = 1});
  EXPECT_EQ(file_, to_file(numbered_document(1)));
}

// Another broker, or another document, is asked for first.
TEST_F(DocumentKeeping, WhatCouldNotBeKeptIsNoneOfABrokerThatStartsAnew) {
  take(1);
  fault_ = "x: Read-only file system";
  for (const std::int64_t version : {2, 3}) {
    now_ += DocumentKeeper::kAgainNs;
    fault_.clear();
    keeper().want(numbered_document(version));
    keeper().tick(epoch_, now_);
    fault_ = "x: Read-only file system";
    answer({.kind = Kind::done, .document = true});
  }
  EXPECT_EQ(reloads_, 3);
  fault_.clear();
  taken_ = false;
  epoch_ = 2;
  keeper().tick(epoch_, now_ + DocumentKeeper::kAgainNs);
  EXPECT_EQ(file_, to_file(numbered_document(1)));
  answer({.kind = Kind::done, .document = true});
  EXPECT_EQ(reloads_, 4);
  EXPECT_EQ(file_, to_file(numbered_document(3)));
}

// One that was written a thousand times a second had the broker read a hundred times.
TEST_F(DocumentKeeping, WhatIsWrittenAllTheTimeIsBroughtNowAndThen) {
  constexpr std::int64_t kWritten = 100;
  for (std::int64_t version = 1; version <= kWritten; ++version) {
    keeper().want(numbered_document(version));
    keeper().tick(epoch_, now_);
    if (asked_) {
      answer({.kind = Kind::done, .document = true});
    }
  }
  EXPECT_EQ(reloads_, static_cast<int>(DocumentKeeper::kAtOnce));
  now_ += DocumentKeeper::kAgainNs;
  keeper().tick(epoch_, now_);
  answer({.kind = Kind::done, .document = true});
  expect({.version = kWritten});
}

TEST_F(DocumentKeeping, TheFirstOneThatIsRefusedLeavesNoFile) {
  keeper().want(numbered_document(1));
  keeper().tick(epoch_, now_);
  answer({Kind::refused, std::string(2 * kFaultBytesMax, 'x')});
  EXPECT_EQ(file_, std::nullopt);
  EXPECT_EQ(keeper().standing().version, 0);
  EXPECT_EQ(keeper().standing().refused, 1);
  EXPECT_EQ(keeper().standing().fault.size(), kFaultBytesMax);
}

TEST_F(DocumentKeeping, WhatIsNotValidDoesNotReachTheBroker) {
  take(1);
  Document bad = numbered_document(2);
  bad.text = "bad";
  keeper().want(bad);
  keeper().tick(epoch_, now_);
  EXPECT_EQ(reloads_, 1);
  EXPECT_EQ(file_, to_file(numbered_document(1)));
  expect({.version = 1, .refused = 2, .fault = "line 1: bad; line 2: too"});
}

TEST_F(DocumentKeeping, WhatIsNotValidLeavesNothingStagedOfTheOneBefore) {
  take(1);
  keeper().want(numbered_document(2));
  keeper().tick(epoch_, now_);
  answer({Kind::silent, "stopped"});
  EXPECT_EQ(staged_, to_file(numbered_document(2)));
  Document bad = numbered_document(3);
  bad.text = "bad";
  keeper().want(bad);
  keeper().tick(epoch_, now_);
  EXPECT_EQ(staged_, std::nullopt);
  answer({.kind = Kind::done, .document = true});
  expect({.version = 1, .refused = 3, .fault = "line 1: bad; line 2: too"});
}

TEST_F(DocumentKeeping, ASilentBrokerIsAskedAgainAfterAWhile) {
  take(1);
  keeper().want(numbered_document(2));
  keeper().tick(epoch_, now_);
  answer({Kind::silent, "stopped"});
  expect({.version = 1});
  keeper().tick(epoch_, now_);
  EXPECT_EQ(reloads_, 2);
  now_ += DocumentKeeper::kAgainNs;
  keeper().tick(epoch_, now_);
  EXPECT_EQ(reloads_, 3);
  answer({Kind::refused, "no"});
  EXPECT_EQ(file_, to_file(numbered_document(1))) << "what it had before it fell silent";
  answer({.kind = Kind::done, .document = true});
  expect({.version = 1, .refused = 2, .fault = "no"});
}

TEST_F(DocumentKeeping, AFileOfAFormerLifeCountsUntilEtcdSaysOtherwise) {
  file_ = to_file(numbered_document(4));
  expect({});
  EXPECT_EQ(keeper().held(), numbered_document(4));
  keeper().tick(epoch_, now_);
  expect({});
  answer({.kind = Kind::done, .document = true});
  expect({.version = 4});
  keeper().want(numbered_document(4));
  keeper().tick(epoch_, now_);
  EXPECT_EQ(reloads_, 1) << "etcd says the same";
}

TEST_F(DocumentKeeping, ABrokerThatBeganWithoutItHasNone) {
  file_ = to_file(numbered_document(4));
  keeper().tick(epoch_, now_);
  answer({Kind::refused, "rule: no"});
  expect({.version = 0, .refused = 4, .fault = "rule: no"});
  EXPECT_EQ(file_, to_file(numbered_document(4)));
}

TEST_F(DocumentKeeping, ABrokerThatReadsNoneHasNone) {
  keeper().want(numbered_document(1));
  keeper().tick(epoch_, now_);
  answer({.kind = Kind::done});
  EXPECT_EQ(keeper().standing().version, 0);
  EXPECT_EQ(keeper().standing().refused, 1);
  EXPECT_NE(keeper().standing().fault.find("without --cluster"), std::string::npos);
  EXPECT_EQ(file_, std::nullopt);
}

TEST_F(DocumentKeeping, AFileThatCannotBeWrittenIsToldAndTriedAgain) {
  fault_ = "x: No space left on device";
  keeper().want(numbered_document(1));
  keeper().tick(epoch_, now_);
  expect({.version = 0, .refused = 1, .fault = fault_});
  fault_.clear();
  keeper().tick(epoch_, now_);
  EXPECT_EQ(reloads_, 0);
  keeper().tick(epoch_, now_ + DocumentKeeper::kAgainNs);
  answer({.kind = Kind::done, .document = true});
  expect({.version = 1});
}

}  // namespace
}  // namespace mserve::cluster
