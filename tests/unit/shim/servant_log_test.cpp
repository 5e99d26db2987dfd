// SPDX-License-Identifier: Apache-2.0
#include "servant_log.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <string>

namespace mserve {
namespace {

using Level = ServantLogLine::Level;

constexpr std::int64_t kWhenNs = 1'709'210'096'001'234'567;

TEST(ServantLog, TextIsOneLineAsItWasSaid) {
  const ServantLog log("calc", false);
  EXPECT_EQ(log.format({.event = "stopped"}, 0), "calc: stopped\n");
  EXPECT_EQ(
      log.format({.level = Level::warning, .event = "no q", .text = "a\nb\x1b[2J\xc3\xa9"}, 0),
      "calc: no q: a b [2J\xc3\xa9\n");
  EXPECT_LT(log.format({.event = "e", .text = std::string(100'000, 'x')}, 0).size(), 1100U);
}

TEST(ServantLog, JsonIsOneValidObjectWhateverWasSaid) {
  const ServantLog log("na\"me", true);
  std::string text;
  for (int byte = 0; byte < 256; ++byte) {
    text += static_cast<char>(byte);
  }
  const std::string line =
      log.format({.level = Level::warning, .event = "no q", .text = text}, kWhenNs);
  ASSERT_EQ(line.find('\n'), line.size() - 1);
  const boost::json::object seen = boost::json::parse(line).as_object();
  EXPECT_EQ(seen.at("time"), "2024-02-29T12:34:56.001234Z");
  EXPECT_EQ(seen.at("level"), "warning");
  EXPECT_EQ(seen.at("event"), "no_q");
  EXPECT_EQ(seen.at("servant"), "na\"me");
  EXPECT_EQ(seen.at("text").as_string().size(), 128U + 2 * 128);
  EXPECT_FALSE(
      boost::json::parse(log.format({.event = "e"}, kWhenNs)).as_object().contains("text"));
  const std::string halved(1023, 'x');
  EXPECT_TRUE(boost::json::parse(log.format({.event = "e", .text = halved + "\xc3\xa9"}, kWhenNs))
                  .is_object());
}

TEST(ServantLog, InTheJournalALineBeginsWithItsPriority) {
  struct stat is {};
  ASSERT_EQ(::fstat(STDERR_FILENO, &is), 0);
  ::setenv("JOURNAL_STREAM", (std::to_string(is.st_dev) + ":" + std::to_string(is.st_ino)).c_str(),
           1);
  const ServantLog log("calc", false);
  ::unsetenv("JOURNAL_STREAM");
  EXPECT_EQ(log.format({.event = "stopped"}, 0), "<6>calc: stopped\n");
  EXPECT_EQ(log.format({.level = Level::warning, .event = "q lost"}, 0), "<4>calc: q lost\n");
}

}  // namespace
}  // namespace mserve
