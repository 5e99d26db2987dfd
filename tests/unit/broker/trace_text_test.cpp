// SPDX-License-Identifier: Apache-2.0
// What a request looks like in a trace, and a trace that runs into the end of what it may write.
#include "control/trace_text.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <boost/json.hpp>
#include <csignal>
#include <fstream>
#include <sstream>
#include <string>

#include "control/trace_file.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

namespace mserve::broker {
namespace {

RequestStamps stamps() {
  return {.client_id = 7,
          .route = 0xabc,
          .bytes = 40,
          .reply_bytes = 50,
          .submitted_at = 1'000'001,
          .dispatched_at = 1'002'001,
          .ended_at = 1'005'501,
          .client = 2,
          .servant = 0,
          .servant_generation = 1};
}

EndedRequest named(const RequestStamps& of) {
  return {
      .stamps = of, .client = "me", .uid = 1000, .servant = "you", .route_name = "say \"a, b\""};
}

TEST(TraceText, OfACsvHasOneLineForEachWithNamesThatMayBeAnything) {
  TraceText trace(TraceText::form_of("x.csv"), 42, {});
  const RequestStamps all = stamps();
  std::string text;
  trace.append(text, named(all), 5'000'000'000);
  EXPECT_EQ(text,
            "5001000001,5001002001,5001005501,ok,7,me,3,,1000,you,1,0x0000000000000abc,"
            "\"say \"\"a, b\"\"\",40,50\n");
  EXPECT_EQ(trace.tail(), "");
}

TEST(TraceText, WhatRanNowhereWaitedToItsEnd) {
  TraceText trace(TraceText::Form::csv, 42, {});
  RequestStamps failed = stamps();
  failed.dispatched_at = failed.route = failed.reply_bytes = 0;
  failed.client = failed.servant = kNone;
  failed.connection = 9;
  failed.status = Errc::queue_timeout;
  std::string text;
  trace.append(text, {.stamps = failed}, 0);
  EXPECT_EQ(text, "1000001,1005501,1005501,queue timeout,7,,,9,,,,,,40,0\n");
}

TEST(TraceText, OfJsonHasAWaitAndABarInTheRowOfItsServantNamedOnce) {
  TraceText trace(TraceText::form_of("x.json"), 42, {.steady = 1'000'000, .wall = 77});
  const RequestStamps all = stamps();
  std::string text = trace.head();
  trace.append(text, named(all), 0);
  trace.append(text, named(all), 0);
  EXPECT_NO_THROW((void)boost::json::parse(text + "]")) << "as a killed broker leaves it";
  const boost::json::array events = boost::json::parse(text + std::string(trace.tail())).as_array();
  std::string phases;
  for (const boost::json::value& event : events) {
    phases += std::string(event.at("ph").as_string());
    EXPECT_EQ(event.at("pid").as_int64(), 42);
  }
  EXPECT_EQ(phases, "MMMbeXbeX");
  EXPECT_EQ(events[1].at("args").at("labels"), "ts 0 is 77 ns since 1970 UTC");
  EXPECT_EQ(events[2].at("args").at("name"), "you");
  EXPECT_NE(text.find("\"ph\":\"b\",\"pid\":42,\"tid\":1,\"ts\":0.001,\"id\":\"1\""),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\"ph\":\"X\",\"pid\":42,\"tid\":1,\"ts\":2.001,\"dur\":3.500"),
            std::string::npos)
      << text;
  EXPECT_EQ(events[5].at("args").at("route_name"), "say \"a, b\"");
  EXPECT_NE(events[3].at("id"), events[6].at("id"));
}

TEST(TraceText, ATimeBeforeItsBeginIsItsBegin) {
  TraceText trace(TraceText::Form::json, 42, {.steady = 2'000'000, .wall = 0});
  const RequestStamps all = stamps();
  std::string text;
  trace.append(text, named(all), 0);
  EXPECT_NE(text.find("\"ts\":0.000,\"dur\":3.500"), std::string::npos) << text;
}

/// A limit of this process on sizes of files, and back.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) : before_(std::signal(SIGXFSZ, SIG_IGN)) {
    EXPECT_EQ(::getrlimit(RLIMIT_FSIZE, &limit_), 0);
    const rlimit low{bytes, limit_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &low), 0);
  }
  ~SizeLimit() {
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit_), 0);
    (void)std::signal(SIGXFSZ, before_);
  }
  SizeLimit(const SizeLimit&) = delete;
  SizeLimit& operator=(const SizeLimit&) = delete;

 private:
  rlimit limit_{};
  void (*before_)(int);
};

TEST(TraceFileTest, ALimitInTheMiddleOfALineEndsItBehindTheLineBefore) {
  const mserve::test::TempDir dir;
  std::string reason;
  const auto file = TraceFile::create(dir.file("t.csv"), 1U << 20, reason);
  ASSERT_NE(file, nullptr) << reason;
  const RequestStamps all = stamps();
  {
    const SizeLimit limit(1000);
    for (int i = 0; i < 100 && !file->ended(); ++i) {
      file->add(named(all), 0);
      file->flush();
    }
  }
  EXPECT_TRUE(file->ended());
  const std::string text = mserve::test::read_file(dir.file("t.csv"));
  EXPECT_LE(text.size(), 1000U);
  EXPECT_GT(text.size(), 800U);
  EXPECT_TRUE(text.ends_with("40,50\n")) << text;
}

TEST(TraceFileTest, WhatCannotBeWrittenSaysWhy) {
  std::string reason;
  EXPECT_EQ(TraceFile::create("/", 1U << 20, reason), nullptr);
  EXPECT_EQ(reason, "--trace: cannot write /: Is a directory");
}

}  // namespace
}  // namespace mserve::broker
