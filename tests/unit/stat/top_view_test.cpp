// SPDX-License-Identifier: Apache-2.0
// The screens of `mserve-stat top`, of views that the tests make.
#include "stat/top_view.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace mserve::stat {
namespace {

/// A broker with as many servants, the second of which is paused; looked at twice, a second apart.
View view_of(std::uint32_t servants) {
  View view;
  view.now.taken_at = 11'000'000'000;
  view.now.totals.told_at = 11'000'000'000;
  view.now.totals.started_at = 1'000'000'000;
  for (std::uint32_t i = 1; i <= servants; ++i) {
    shm::MonitorSession session;
    session.identity.number = i;
    session.identity.role = static_cast<std::uint32_t>(shm::Role::servant);
    session.identity.credit = 1;
    session.identity.pid = 1000 + static_cast<std::int32_t>(i);
    const std::string name = "a-name-as-long-as-they-go-" + std::to_string(1000 + i);
    std::strncpy(session.identity.name, name.c_str(), sizeof session.identity.name - 1);
    session.held = i == 2 ? shm::kMonitorPaused : 0;
    view.now.sessions.push_back(session);
  }
  view.before = view.now;
  view.before->taken_at -= 1'000'000'000;
  return view;
}

Shown shown_of(const View& view) {
  Shown shown;
  shown.view = &view;
  shown.broker = "prices";
  shown.pid = 4242;
  return shown;
}

std::string text_of(const std::vector<Line>& lines) {
  std::string text;
  for (const Line& line : lines) {
    text += line.text + "\n";
  }
  return text;
}

bool has(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

// Goal: what matters is there at each size. Method: the sizes of small, usual and large terminals.
TEST(TopView, EachSizeShowsWhatMattersAndNoHalfOfIt) {
  const View view = view_of(40);
  Choices choices;
  choices.paused = true;
  std::string text = text_of(render(shown_of(view), choices, 80, 24));
  EXPECT_TRUE(has(text, "mserve prices  PAUSED  40 servants, 1 not serving")) << text;
  EXPECT_TRUE(has(text, " P99   ERR\n")) << text;
  EXPECT_TRUE(has(text, "a-name-as-long-as+ attached")) << "cut, and said so\n" << text;
  EXPECT_TRUE(has(text, "1-17 of 40, Page Down shows more\n")) << text;
  EXPECT_TRUE(has(text, "round trip p50 - p99 -")) << "nothing is no 0 ns\n" << text;
  EXPECT_TRUE(has(text, "[s servants]  c clients")) << text;
  text = text_of(render(shown_of(view), choices, 120, 40));
  EXPECT_TRUE(has(text, "a-name-as-long-as-they-go-1001 attached")) << text;
  text = text_of(render(shown_of(view), choices, 60, 20));
  EXPECT_TRUE(has(text, "PAUSED")) << text;
  EXPECT_TRUE(has(text, "[s] c r l e screens  <> sort")) << text;
  choices.first = 1000;
  const auto lines = render(shown_of(view), choices, 60, 20);
  EXPECT_TRUE(has(text_of(lines), "28-40 of 40, Page Up shows the others\n")) << text_of(lines);
  EXPECT_EQ(lines.size(), 20U);
  EXPECT_EQ(lines.back().text.size(), 59U) << "a bar, but for the last cell";
}

TEST(TopView, ASortThatCannotBeSeenIsTold) {
  const View view = view_of(2);
  Choices choices;
  choices.sort = 12;
  EXPECT_TRUE(has(text_of(render(shown_of(view), choices, 120, 24)), "*PID\n"));
  const std::string text = text_of(render(shown_of(view), choices, 80, 24));
  EXPECT_TRUE(has(text, "\nsorted by PID, which is too far right to be seen\n")) << text;
}

TEST(TopView, ANumberIsWholeOrNotThere) {
  View view = view_of(1);
  for (int i = 0; i < 10; ++i) {
    ++view.now.latency.whole.counts[shm::monitor_bucket_of(20'000'000)];
  }
  Choices choices{.screen = Screen::latency};
  const std::string text = text_of(render(shown_of(view), choices, 60, 20));
  EXPECT_TRUE(has(text, "      p90      p99\n")) << text;
  EXPECT_TRUE(has(text, "round trip, of 10 requests of the last 1.00 s\n")) << text;
  view.before.reset();
  const std::string whole = text_of(render(shown_of(view), choices, 80, 20));
  EXPECT_TRUE(has(whole, "requests since the start\n")) << whole;
  EXPECT_TRUE(has(whole, "    p99.9    max<=\n")) << "of a bucket, not of a request\n" << whole;
}

TEST(TopView, TroublesAndHelpAreWrapped) {
  const View view = view_of(1);
  Shown shown = shown_of(view);
  shown.trouble = "GONE: no broker 'prices' listens at /a/directory/with/a/long/name/prices.sock";
  Choices choices;
  const std::string wanted =
      "\nGONE: no broker 'prices' listens at\n/a/directory/with/a/long/name/prices.sock";
  auto lines = render(shown, choices, 60, 20);
  std::string text = text_of(lines);
  EXPECT_TRUE(has(text, wanted + "; waits until it is\nback; q ends\n0 answers/s")) << text;
  EXPECT_TRUE(has(lines.at(0).text, "mserve prices")) << "right below the title\n" << text;
  EXPECT_EQ(lines.at(1).look, Look::warning) << text;
  EXPECT_TRUE(has(text, "attached")) << text;
  shown.view = nullptr;
  choices.interval_s = 5;
  text = text_of(render(shown, choices, 60, 20));
  EXPECT_TRUE(has(text, wanted + "\nLooking again every 5.00 s.\n")) << text;
  // One word longer than the line, no room at all.
  shown.trouble = std::string(100, 'x');
  EXPECT_TRUE(has(text_of(render(shown, choices, 60, 20)),
                  "\n" + std::string(60, 'x') + "\n" + std::string(40, 'x') + "\n"));
  for (const std::size_t size : {0U, 1U, 2U, 3U}) {
    for (const Screen screen : {Screen::servants, Screen::latency, Screen::help}) {
      choices.screen = screen;
      EXPECT_EQ(render(shown, choices, size, size).size(), size);
      EXPECT_EQ(render(shown_of(view), choices, size, size).size(), size);
    }
  }
  choices = {.screen = Screen::help};
  text = text_of(render(shown, choices, 60, 20));
  EXPECT_TRUE(has(text, "latency\n          e events")) << text;
  EXPECT_TRUE(has(text, ", Page Down shows more\n")) << text;
  EXPECT_TRUE(has(text, "[h back]")) << text;
  text = text_of(render(shown, choices, 80, 24));
  EXPECT_FALSE(has(text, "Page Down shows")) << "all at 80x24";
  for (const char* const word : {"poisoned: ", "Spills: ", "Busy passes: "}) {
    std::string flat = text;
    std::replace(flat.begin(), flat.end(), '\n', ' ');
    EXPECT_TRUE(has(flat, word)) << text;
  }
}

}  // namespace
}  // namespace mserve::stat
