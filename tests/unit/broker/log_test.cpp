// SPDX-License-Identifier: Apache-2.0
// A log that nobody reads, or that nothing can be written to; and floods of lines.
#include "control/log.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "control/log_writer.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::broker {
namespace {

class UnreadLog : public ::testing::Test {
 protected:
  void SetUp() override {
    int ends[2] = {-1, -1};
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    reader_.reset(ends[0]);
    writer_.reset(ends[1]);
    ASSERT_GT(::fcntl(writer_.get(), F_SETPIPE_SZ, 4096), 0);
  }
  std::size_t read_all() {
    std::string text(1 << 16, '\0');
    const ssize_t got = ::read(reader_.get(), text.data(), text.size());
    return got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  shm::UniqueFd reader_;
  shm::UniqueFd writer_;
};

TEST_F(UnreadLog, LosesLinesAndHoldsUpNobody) {
  LogWriter log(writer_.get());
  const std::string line(100, 'x');
  std::size_t written = 0;
  for (int i = 0; i < 1000; ++i) {
    written += log.write(line) ? line.size() : 0;  // would wait for ever where the pipe is full
  }
  EXPECT_GT(written, 0U);
  EXPECT_LT(written, 1000 * line.size());
  EXPECT_EQ(read_all(), written);
  EXPECT_TRUE(log.write(line)) << "somebody reads again";
  EXPECT_EQ(read_all(), line.size());
}

TEST_F(UnreadLog, ALineLongerThanThePipeIsCutAndTheNextOneIsNot) {
  LogWriter log(writer_.get());
  EXPECT_FALSE(log.write(std::string(100'000, 'y')));
  EXPECT_GT(read_all(), 0U);
  EXPECT_TRUE(log.write("short"));
}

TEST_F(UnreadLog, WithoutAReaderAtAllItIsLostToo) {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  reader_.reset();
  EXPECT_FALSE(LogWriter(writer_.get()).write("nobody"));
  EXPECT_NE(std::signal(SIGPIPE, before), SIG_ERR);
}

/// Lines that this process writes to stderr while `act` runs.
template <class Act>
std::string lines_of(const Act& act) {
  ::testing::internal::CaptureStderr();
  act();
  return ::testing::internal::GetCapturedStderr();
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

constexpr std::uint64_t kSecond = 1'000'000'000;

TEST(LogLimiter, AFloodIsSomeLinesThenOneASecondAndNothingGoesUncounted) {
  LogLimiter limiter;
  const std::string text = lines_of([&] {
    for (std::uint64_t second = 100; second < 110; ++second) {
      for (int i = 0; i < 1000; ++i) {
        limiter.log(LogLevel::warning, second * kSecond, "flood");
      }
    }
    limiter.tell_swallowed(110 * kSecond, "kind");
    limiter.tell_swallowed(111 * kSecond, "kind");
  });
  EXPECT_EQ(count(text, " flood"), LogLimiter::kAtOnce + 9) << text;
  EXPECT_EQ(count(text, "swallowed=990\n"), 1U) << text;
  EXPECT_EQ(count(text, "swallowed=999\n"), 8U) << text;
  EXPECT_EQ(count(text, "swallowed kind=\"kind\" lines=999\n"), 1U) << text;
}

TEST(LogLimiter, AFloodOfOneKindHidesNoOther) {
  KindLimiter limiter;
  const std::string text = lines_of([&] {
    for (int i = 0; i < 1000; ++i) {
      limiter.log("loud", LogLevel::warning, kSecond, "loud");
    }
    limiter.log("quiet", LogLevel::warning, kSecond, "quiet");
    limiter.tell_swallowed(2 * kSecond);
  });
  EXPECT_EQ(count(text, " quiet\n"), 1U) << text;
  EXPECT_EQ(count(text, "swallowed kind=\"loud\" lines=990\n"), 1U) << text;
}

}  // namespace
}  // namespace mserve::broker
