// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/counters.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::shm {
namespace {

namespace fs = std::filesystem;

class Counters : public ::testing::Test {
 protected:
  void SetUp() override {
    broker_ = "test-" + std::to_string(::getpid()) + "-" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    broker_.resize(std::min<std::size_t>(broker_.size(), 60));
    base_ = counters_name(broker_, ::geteuid());
  }
  void TearDown() override {
    for (int i = 0; i <= 16; ++i) {
      ::shm_unlink((i == 0 ? base_ : base_ + "." + std::to_string(i)).c_str());
    }
  }

  [[nodiscard]] CountersOptions options() const {
    return {.broker = broker_, .broker_epoch = 7, .group = std::nullopt};
  }
  static std::string file(const std::string& name) { return "/dev/shm/" + name; }
  static Errc open_code(const std::string& name) {
    const Result<CountersReader> reader = CountersReader::open(name, ::geteuid());
    return reader ? Errc::ok : reader.error().code;
  }

  std::string broker_;
  std::string base_;
};

TEST_F(Counters, AreSeenByAReaderAndGoneWithTheirWriter) {
  {
    Result<CountersWriter> writer = CountersWriter::create(options());
    ASSERT_TRUE(writer) << writer.error().where;
    EXPECT_EQ(writer.value().name(), base_);
    Counter& requests = writer.value().add("requests");
    Counter& depth = writer.value().add("queue.depth");
    requests.add();
    requests.add(4);
    depth.set(9);
    Result<CountersReader> reader = CountersReader::open(base_, ::geteuid());
    ASSERT_TRUE(reader) << reader.error().where;
    EXPECT_EQ(reader.value().broker_epoch(), 7U);
    EXPECT_EQ(reader.value().pid(), ::getpid());
    std::vector<CountersReader::Value> values = reader.value().snapshot();
    ASSERT_EQ(values.size(), 2U);
    EXPECT_EQ(values[0].name, "requests");
    EXPECT_EQ(values[0].value, 5U);
    EXPECT_EQ(values[1].value, 9U);
    requests.add();
    CountersWriter moved = std::move(writer).value();
    depth.set(1);
    values = reader.value().snapshot();
    EXPECT_EQ(values[0].value, 6U);
    EXPECT_EQ(values[1].value, 1U) << "counters stay where they are when the writer moves";
  }
  EXPECT_FALSE(fs::exists(file(base_)));
  EXPECT_EQ(open_code(base_), Errc::no_broker);
}

TEST_F(Counters, ArePrivateUnlessAGroupIsGiven) {
  const mode_t old = ::umask(0);
  struct stat status = {};
  {
    const Result<CountersWriter> writer = CountersWriter::create(options());
    ASSERT_TRUE(writer);
    ASSERT_EQ(::stat(file(base_).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
  }
  CountersOptions shared = options();
  shared.group = ::getegid();
  const Result<CountersWriter> writer = CountersWriter::create(shared);
  ::umask(old);
  ASSERT_TRUE(writer);
  ASSERT_EQ(::stat(file(base_).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0640U);
}

TEST_F(Counters, TooManyOrIllNamedOnesWorkButAreNotShown) {
  Result<CountersWriter> writer = CountersWriter::create(options());
  ASSERT_TRUE(writer);
  for (const std::string& bad : {std::string(), std::string(48, 'x'), std::string("a b"),
                                 std::string("\x01"), std::string("\xff")}) {
    Counter& counter = writer.value().add(bad);
    counter.add(3);
    EXPECT_EQ(counter.get(), 3U);
  }
  EXPECT_EQ(writer.value().refused(), 5U);
  for (std::uint32_t i = 0; i < kCounterSlots; ++i) {
    writer.value().add("c" + std::to_string(i)).set(i);
  }
  EXPECT_EQ(writer.value().refused(), 5U);
  writer.value().add("one.too.many").set(1);
  EXPECT_EQ(writer.value().refused(), 6U);
  Result<CountersReader> reader = CountersReader::open(base_, ::geteuid());
  ASSERT_TRUE(reader);
  const std::vector<CountersReader::Value> values = reader.value().snapshot();
  ASSERT_EQ(values.size(), kCounterSlots);
  EXPECT_EQ(values.back().name, "c1022");
  EXPECT_EQ(values.back().value, 1022U);
}

TEST_F(Counters, OfAKilledWriterAreReplaced) {
  const pid_t child = ::fork();
  if (child == 0) {
    const Result<CountersWriter> writer = CountersWriter::create(options());
    ::_exit(writer ? 0 : 1);  // like kill -9: no destructor runs
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  ASSERT_TRUE(fs::exists(file(base_)));
  const Result<CountersWriter> writer = CountersWriter::create(options());
  ASSERT_TRUE(writer);
  EXPECT_EQ(writer.value().name(), base_);
  EXPECT_EQ(CountersReader::open(base_, ::geteuid()).value().pid(), ::getpid());
}

TEST_F(Counters, OfALiveWriterAreLeftAloneAndASuffixIsUsed) {
  Result<CountersWriter> first = CountersWriter::create(options());
  ASSERT_TRUE(first);
  first.value().add("mine").set(1);
  {
    const Result<CountersWriter> second = CountersWriter::create(options());
    ASSERT_TRUE(second);
    EXPECT_EQ(second.value().name(), base_ + ".1");
    EXPECT_EQ(open_code(base_ + ".1"), Errc::ok);
  }
  EXPECT_FALSE(fs::exists(file(base_ + ".1")));
  EXPECT_EQ(CountersReader::open(base_, ::geteuid()).value().snapshot().size(), 1U);
}

TEST_F(Counters, WithASuffixDoNotOutliveAKilledWriter) {
  for (const char* suffix : {".1", ".15"}) {
    const UniqueFd left(::shm_open((base_ + suffix).c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
    ASSERT_TRUE(static_cast<bool>(left));
  }
  const Result<CountersWriter> writer = CountersWriter::create(options());
  ASSERT_TRUE(writer);
  EXPECT_EQ(writer.value().name(), base_);
  EXPECT_FALSE(fs::exists(file(base_ + ".1")));
  EXPECT_FALSE(fs::exists(file(base_ + ".15")));
}

TEST_F(Counters, OfAStrangerAreNeitherOpenedNorRemoved) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can make an object that belongs to somebody else";
  }
  const UniqueFd foreign(::shm_open(base_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0666));
  ASSERT_TRUE(static_cast<bool>(foreign));
  ASSERT_EQ(::fchown(foreign.get(), 12345, 12345), 0);
  const Result<CountersWriter> writer = CountersWriter::create(options());
  ASSERT_TRUE(writer);
  EXPECT_EQ(writer.value().name(), base_ + ".1");
  EXPECT_TRUE(fs::exists(file(base_)));
  EXPECT_EQ(open_code(base_), Errc::access);
}

TEST_F(Counters, ASymbolicLinkIsNotFollowed) {
  const std::string target = "/tmp/" + base_;
  ASSERT_EQ(::symlink(target.c_str(), file(base_).c_str()), 0);
  const Result<CountersWriter> writer = CountersWriter::create(options());
  ASSERT_TRUE(writer);
  EXPECT_EQ(writer.value().name(), base_ + ".1");
  EXPECT_FALSE(fs::exists(target));
}

TEST_F(Counters, AForkedChildDoesNotRemoveThem) {
  Result<CountersWriter> writer = CountersWriter::create(options());
  ASSERT_TRUE(writer);
  const pid_t child = ::fork();
  if (child == 0) {
    { const CountersWriter inherited = std::move(writer).value(); }
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(fs::exists(file(base_)));
}

TEST_F(Counters, NotReadyIsToldApartFromWrong) {
  const UniqueFd fd(::shm_open(base_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
  ASSERT_TRUE(static_cast<bool>(fd));
  EXPECT_EQ(open_code(base_), Errc::empty) << "created, not yet sized";
  ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(kCountersBytes)), 0);
  EXPECT_EQ(open_code(base_), Errc::empty) << "sized, not yet filled";
  const auto store = [&](std::uint64_t ready, std::uint32_t slots) {
    EXPECT_EQ(::pwrite(fd.get(), &ready, sizeof(ready), 0), ssize_t{sizeof(ready)});
    EXPECT_EQ(::pwrite(fd.get(), &slots, sizeof(slots), offsetof(CountersHeader, slots)),
              ssize_t{sizeof(slots)});
  };
  const std::uint64_t magic = std::uint64_t{kCountersMagic} << 32;
  store(magic | (std::uint64_t{kCountersMajor} << 16), kCounterSlots);
  EXPECT_EQ(open_code(base_), Errc::ok);
  store(magic | (std::uint64_t{kCountersMajor + 1U} << 16), kCounterSlots);
  EXPECT_EQ(open_code(base_), Errc::version_mismatch);
  store(magic | (std::uint64_t{kCountersMajor} << 16) | 9, kCounterSlots);
  EXPECT_EQ(open_code(base_), Errc::ok) << "a later minor";
  store(~magic, kCounterSlots);
  EXPECT_EQ(open_code(base_), Errc::bad_segment);
  store(magic | (std::uint64_t{kCountersMajor} << 16), kCounterSlots + 1);
  EXPECT_EQ(open_code(base_), Errc::bad_segment);
  ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(kCountersBytes) - 1), 0);
  EXPECT_EQ(open_code(base_), Errc::bad_segment);
}

TEST_F(Counters, AReaderSurvivesNonsenseInTheSlots) {
  const UniqueFd fd(::shm_open(base_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
  ASSERT_TRUE(static_cast<bool>(fd));
  const std::string junk(kCountersBytes, '\xff');
  ASSERT_EQ(::pwrite(fd.get(), junk.data(), junk.size(), 0), static_cast<ssize_t>(kCountersBytes));
  const std::uint64_t ready =
      (std::uint64_t{kCountersMagic} << 32) | (std::uint64_t{kCountersMajor} << 16);
  ASSERT_EQ(::pwrite(fd.get(), &ready, sizeof(ready), 0), ssize_t{sizeof(ready)});
  ASSERT_EQ(::pwrite(fd.get(), &kCounterSlots, 4, offsetof(CountersHeader, slots)), 4);
  Result<CountersReader> reader = CountersReader::open(base_, ::geteuid());
  ASSERT_TRUE(reader);
  EXPECT_TRUE(reader.value().snapshot().empty());
}

TEST_F(Counters, NamesOutsideTheFolderAreRefused) {
  for (const char* name : {"", "../x", "a/b", ".x", "/x"}) {
    EXPECT_EQ(open_code(name), Errc::invalid) << name;
  }
  CountersOptions bad = options();
  bad.broker = "a/b";
  EXPECT_EQ(CountersWriter::create(bad).error().code, Errc::invalid);
}

TEST_F(Counters, EveryNameTakenIsInUse) {
  std::vector<CountersWriter> writers;
  for (int i = 0; i < 16; ++i) {
    Result<CountersWriter> writer = CountersWriter::create(options());
    ASSERT_TRUE(writer) << i;
    writers.push_back(std::move(writer).value());
  }
  EXPECT_EQ(CountersWriter::create(options()).error().code, Errc::in_use);
}

}  // namespace
}  // namespace mserve::shm
