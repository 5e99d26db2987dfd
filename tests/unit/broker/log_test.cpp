// SPDX-License-Identifier: Apache-2.0
// A log that nobody reads, or that nothing can be written to; and floods of lines.
#include "control/log.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <csignal>
#include <cstdlib>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "control/log_writer.hpp"
#include "mserve/shm/standard_descriptors.hpp"
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

/// Logs so many lines on a thread that hands them to `queue`.
void log_behind(LogQueue& queue, int lines) {
  std::thread([&queue, lines] {
    queue.take_lines_of_this_thread();
    for (int i = 0; i < lines; ++i) {
      log(LogLevel::warning, "queued", {{"number", i}});
    }
  }).join();
}

TEST(LogQueue, ItsThreadWritesNothingItselfAndAnotherOneInOrder) {
  LogQueue queue;
  EXPECT_EQ(lines_of([&queue] { log_behind(queue, 2); }), "");
  const std::string text = lines_of([&queue] {
    log(LogLevel::warning, "direct");
    queue.write_out();
  });
  EXPECT_LT(text.find(" direct\n"), text.find(" queued number=0\n")) << text;
  EXPECT_LT(text.find(" queued number=0\n"), text.find(" queued number=1\n")) << text;
  EXPECT_EQ(count(text, "\n"), 3U) << text;
}

TEST(LogQueue, WhatIsLeftAtItsEndIsWritten) {
  const std::string text = lines_of([] {
    LogQueue queue;
    log_behind(queue, 1);
  });
  EXPECT_EQ(count(text, " queued number=0\n"), 1U) << text;
}

TEST(LogQueue, WhatItHasNoRoomForIsCountedAndTold) {
  const std::string text = lines_of([] {
    LogQueue queue(4);
    log_behind(queue, 7);
    queue.write_out();
    queue.write_out();
  });
  EXPECT_EQ(count(text, " queued number="), 4U) << text;
  EXPECT_EQ(count(text, " log_lost lines=3\n"), 1U) << text;
}

TEST(LogQueue, ALineThatIsNotShownTakesNoRoom) {
  const std::string text = lines_of([] {
    LogQueue queue(1);
    ASSERT_TRUE(set_log_level("error"));
    log_behind(queue, 5);
    ASSERT_TRUE(set_log_level("info"));
    log_behind(queue, 1);
    queue.write_out();
  });
  EXPECT_EQ(count(text, " queued number=0\n"), 1U) << text;
  EXPECT_EQ(count(text, "log_lost"), 0U) << text;
}

/// Sets how lines look for as long as it lives.
class Form {
 public:
  explicit Form(const LogForm& form) { set_log_form(form); }
  ~Form() { set_log_form({}); }
  Form(const Form&) = delete;
  Form& operator=(const Form&) = delete;
};

boost::json::object object_of(const std::string& line) {
  boost::system::error_code error;
  const boost::json::value value = boost::json::parse(line, error);
  EXPECT_FALSE(error) << line;
  return !error && value.is_object() ? value.as_object() : boost::json::object();
}

TEST(LogText, IsOneLineWhoseFieldsNobodyCanForge) {
  const std::string name = "a b\nerror forged=1\t\"\\\x1b[2J\x9b\x7f";
  const std::string text = lines_of([&] {
    log(LogLevel::warning, "seen",
        {{"word", "x.y:1"},
         {"name", name},
         {"empty", ""},
         {"none", std::nullopt},
         {"n", -3},
         {"big", UINT64_MAX},
         {"yes", true},
         {"reason", LogText{"one"}},
         {"equal", "a=b"}});
  });
  const std::string expected =
      R"( warning seen word=x.y:1 name="a b\nerror forged=1\t\"\\\x1b[2J\x9b\x7f" empty="" n=-3 )"
      R"(big=18446744073709551615 yes=true reason="one" equal="a=b")"
      "\n";
  EXPECT_EQ(text.substr(std::min(text.size(), text.find(' '))), expected);
  EXPECT_EQ(event_text("u", std::array{LogField{"name", "\xc3\xa9\xc2\x9b\xff"}}),
            "u name=\"\xc3\xa9\\xc2\\x9b\\xff\"");
}

TEST(LogJson, IsOneObjectALineWithTypedFields) {
  const Form json({.json = true});
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) {
    every_byte += static_cast<char>(byte);
  }
  const std::string line = lines_of([&] {
    log(LogLevel::error, "seen",
        {{"name", every_byte},
         {"n", -3},
         {"big", UINT64_MAX},
         {"yes", true},
         {"none", std::nullopt},
         {"policy", LogToml{"\"even\""}},
         {"retries", LogToml{"2"}},
         {"rule", LogToml{"[\"a\"]"}}});
  });
  EXPECT_EQ(count(line, "\n"), 1U) << line;
  EXPECT_TRUE(std::none_of(line.begin(), line.end() - 1, [](char c) {
    return (c >= 0 && c < ' ') || c == 0x7f;
  })) << line;
  const boost::json::object seen = object_of(line);
  EXPECT_TRUE(std::regex_match(std::string(seen.at("time").as_string()),
                               std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)")))
      << line;
  EXPECT_EQ(seen.at("level"), "error");
  EXPECT_EQ(seen.at("event"), "seen");
  EXPECT_EQ(seen.at("name").as_string().size(), 128U + 2 * 128) << "Latin-1 where it is not UTF-8";
  EXPECT_EQ(seen.at("n"), -3);
  EXPECT_EQ(seen.at("big"), UINT64_MAX);
  EXPECT_EQ(seen.at("yes"), true);
  EXPECT_EQ(seen.at("policy"), "even");
  EXPECT_EQ(seen.at("retries"), 2);
  EXPECT_EQ(seen.at("rule"), "[\"a\"]");
  EXPECT_FALSE(seen.contains("none"));
}

TEST(LogJson, LongValuesAreCutBetweenCharacters) {
  for (std::size_t before = kLogValueBytesMax - 4; before <= kLogValueBytesMax + 1; ++before) {
    const std::string value =
        std::string(before, 'x') + "\xf0\x9f\x8c\x8d" + std::string(2000, 'y');
    const std::array fields{LogField{"v", value}};
    const boost::json::object seen = object_of("{" + event_json("e", fields) + "}");
    const std::string shown(seen.at("v").as_string());
    EXPECT_LE(shown.size(), kLogValueBytesMax + 3);
    EXPECT_TRUE(shown.ends_with("...")) << shown.size();
    EXPECT_EQ(shown.find("\xc3"), std::string::npos) << "half a character";
    EXPECT_LE(event_text("e", fields).size(), kLogValueBytesMax + 20);
  }
}

TEST(LogJson, LimitedAndLostLinesAreObjectsToo) {
  const Form json({.json = true});
  LogLimiter limiter;
  std::istringstream lines(lines_of([&] {
    for (int i = 0; i < 100; ++i) {
      limiter.log(LogLevel::warning, kSecond, "flood", {{"i", i}});
    }
    limiter.log(LogLevel::warning, 3 * kSecond, "flood", {{"i", 100}});
    limiter.log(LogLevel::warning, 3 * kSecond, "flood");
    limiter.tell_swallowed(9 * kSecond, "some \"kind\"");
  }));
  std::vector<boost::json::object> seen;
  for (std::string line; std::getline(lines, line);) {
    seen.push_back(object_of(line));
  }
  ASSERT_GE(seen.size(), LogLimiter::kAtOnce + 1);
  EXPECT_EQ(seen[LogLimiter::kAtOnce].at("swallowed"), 90);
}

TEST(LogJournal, LinesBeginWithTheirPriorityAndTextHasNoTime) {
  {
    const Form text({.journal = true});
    EXPECT_EQ(lines_of([] {
                log(LogLevel::info, "one");
                log(LogLevel::warning, "two", {{"n", 2}});
                log(LogLevel::error, "three");
              }),
              "<6>info one\n<4>warning two n=2\n<3>error three\n");
  }
  const Form json({.json = true, .journal = true});
  const std::string line = lines_of([] { log(LogLevel::error, "three"); });
  ASSERT_TRUE(line.starts_with("<3>")) << line;
  EXPECT_EQ(object_of(line.substr(3)).at("event"), "three");
}

TEST(LogJournal, IsStderrOnlyWhereJournalStreamSaysSo) {
  struct stat is {};
  ASSERT_EQ(::fstat(STDERR_FILENO, &is), 0);
  const std::string own = std::to_string(is.st_dev) + ":" + std::to_string(is.st_ino);
  const auto judged = [](const char* value) {
    ::setenv("JOURNAL_STREAM", value, 1);
    const bool journal = shm::stderr_is_journal();
    ::unsetenv("JOURNAL_STREAM");
    return journal;
  };
  EXPECT_TRUE(judged(own.c_str()));
  for (const std::string& other :
       {std::string(), std::string(":"), own + "0", own + " ", "0" + std::string(40, '9') + ":1",
        std::to_string(is.st_dev) + ":" + std::to_string(is.st_ino + 1), std::string("-1:-1")}) {
    EXPECT_FALSE(judged(other.c_str())) << other;
  }
  EXPECT_FALSE(shm::stderr_is_journal());
}

}  // namespace
}  // namespace mserve::broker
