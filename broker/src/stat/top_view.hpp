// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "stat/monitor_call.hpp"

// The screens of `mserve-stat top` as lines of text: no terminal here.
namespace mserve::stat {

enum class Screen : std::uint8_t { servants, clients, routes, latency, events, help };

/// How a line is shown where the terminal can.
enum class Look : std::uint8_t { plain, title, head, warning, keys };
struct Line {
  std::string text;
  Look look = Look::plain;
};

/// What whoever watches has chosen.
struct Choices {
  Screen screen = Screen::servants;
  Screen before = Screen::servants;  ///< Where the help was asked for.
  std::size_t sort = 0;              ///< Column of the present screen; beyond the last: the last.
  bool reverse = false;
  bool paused = false;
  std::size_t first = 0;  ///< Rows scrolled away.
  double interval_s = 1;
};

/// What there is to show. Without a view, `trouble` says why.
struct Shown {
  const View* view = nullptr;
  std::vector<shm::MonitorHappening> events{};  ///< Oldest first.
  std::string broker;
  std::int64_t pid = 0;
  std::string trouble{};
};

/// The whole screen: `height` lines, none longer than `width`; what does not fit is left out, the
/// columns on the right first; a trouble and the help are wrapped. The last line tells the keys.
/// Corrects `choices` (sort, first).
[[nodiscard]] std::vector<Line> render(const Shown& shown, Choices& choices, std::size_t width,
                                       std::size_t height);

/// Columns of a screen that can be sorted; 0: none can.
[[nodiscard]] std::size_t sortable_columns(Screen screen) noexcept;

}  // namespace mserve::stat
