// SPDX-License-Identifier: Apache-2.0
#include "stat/top_view.hpp"

#include <algorithm>
#include <cstdio>

#include "stat/tables.hpp"
#include "stat/text.hpp"

namespace mserve::stat {

namespace {

struct Column {
  const char* title;
  std::size_t width;
  bool words = false;       ///< Stands on the left.
  bool descending = false;  ///< Sorted, the largest come first.
};
struct Cell {
  std::string text;
  double key = 0;  ///< Of columns that are no words.
};
using Row = std::vector<Cell>;
struct Grid {
  std::vector<Column> columns;
  std::vector<Row> rows;
};

// The columns that matter most stand on the left: a narrow terminal loses the others.
const std::vector<Column>& columns_of(Screen screen) {
  static const std::vector<Column> kServants{{"#", 4},
                                             {"NAME", 18, true},
                                             {"STATE", 9, true},
                                             {"RUN", 5, false, true},
                                             {"REQ/S", 7, false, true},
                                             {"BUSY", 6, false, true},
                                             {"HIT", 6, false, true},
                                             {"P50", 8, false, true},
                                             {"P99", 8, false, true},
                                             {"ERR", 5, false, true},
                                             {"IN", 6, false, true},
                                             {"OUT", 6, false, true},
                                             {"PID", 8}};
  static const std::vector<Column> kClients{{"#", 4},
                                            {"NAME", 15, true},
                                            {"ROLE", 8, true},
                                            {"REQ/S", 7, false, true},
                                            {"REQS", 7, false, true},
                                            {"OPEN", 6, false, true},
                                            {"ERR", 6, false, true},
                                            {"KEPT", 6, false, true},
                                            {"IN", 6, false, true},
                                            {"OUT", 6, false, true},
                                            {"UID", 6},
                                            {"PID", 8}};
  static const std::vector<Column> kRoutes{{"ROUTE", 24, true},      {"REQ/S", 7, false, true},
                                           {"REQS", 7, false, true}, {"SHARE", 7, false, true},
                                           {"HIT", 7, false, true},  {"MEAN", 9, false, true},
                                           {"ERROR", 7, false, true}};
  static const std::vector<Column> kNone;
  switch (screen) {
    case Screen::servants:
      return kServants;
    case Screen::clients:
      return kClients;
    case Screen::routes:
      return kRoutes;
    default:
      return kNone;
  }
}

Cell count_cell(double count) {
  return {count_text(count), count};
}
Cell count_cell(std::uint64_t count) {
  return count_cell(static_cast<double>(count));
}
Cell number_cell(std::int64_t number) {
  return {std::to_string(number), static_cast<double>(number)};
}
Cell share_cell(double part, double whole) {
  return {share_text(part, whole), whole > 0 ? part / whole : -1};
}
Cell time_cell(const shm::MonitorHistogram& histogram, double percent) {
  const double ns = histogram.percentile_ns(percent);
  return histogram.count() != 0 ? Cell{time_text(ns), ns} : Cell{"-", -1};
}
Cell ring_cell(std::uint64_t bytes) {
  return {bytes_text(static_cast<double>(bytes)), static_cast<double>(bytes)};
}

Grid servants_grid(const View& view) {
  Grid grid{columns_of(Screen::servants), {}};
  for (const shm::MonitorSession& session : view.now.sessions) {
    if (!session.is(shm::Role::servant)) {
      continue;
    }
    const shm::MonitorSession* const then = view.before_of(session);
    const auto before = then != nullptr ? then->busy : shm::MonitorBusyCounts{};
    const auto latency = view.latency_of(session).value_or(shm::MonitorLatency{});
    const bool rates = view.before.has_value();
    const auto sent = static_cast<double>(session.busy.requests - (rates ? before.requests : 0));
    const auto hits = static_cast<double>(session.busy.hits - (rates ? before.hits : 0));
    constexpr double kNsPerSecond = 1e9;
    grid.rows.push_back(
        {number_cell(session.identity.number),
         {session.name()},
         {state_of(session)},
         {std::to_string(session.now.running) + "/" + std::to_string(session.identity.credit),
          static_cast<double>(session.now.running)},
         count_cell(view.rate(session.busy.requests, before.requests)),
         share_cell(static_cast<double>(latency.execution.sum_ns),
                    view.seconds() * kNsPerSecond * session.identity.credit),
         share_cell(hits, sent),
         time_cell(latency.execution, 50),
         time_cell(latency.execution, 99),
         count_cell(session.busy.errors),
         ring_cell(session.now.in_bytes),
         ring_cell(session.now.out_bytes),
         number_cell(session.identity.pid)});
  }
  return grid;
}

Grid clients_grid(const View& view) {
  Grid grid{columns_of(Screen::clients), {}};
  for (const shm::MonitorSession& session : view.now.sessions) {
    if (session.is(shm::Role::servant)) {
      continue;
    }
    const shm::MonitorSession* const then = view.before_of(session);
    const std::uint64_t open =
        session.busy.requests > session.busy.answered + session.busy.errors
            ? session.busy.requests - session.busy.answered - session.busy.errors
            : 0;
    grid.rows.push_back(
        {number_cell(session.identity.number),
         {session.name()},
         {session.is(shm::Role::gateway) ? "gateway" : "client"},
         count_cell(view.rate(session.busy.requests, then != nullptr ? then->busy.requests : 0)),
         count_cell(session.busy.requests),
         count_cell(open),
         count_cell(session.busy.errors),
         ring_cell(session.now.kept_bytes),
         ring_cell(session.now.in_bytes),
         ring_cell(session.now.out_bytes),
         number_cell(session.identity.uid),
         number_cell(session.identity.pid)});
  }
  return grid;
}

Grid routes_grid(const View& view) {
  Grid grid{columns_of(Screen::routes), {}};
  double all = 0;
  for (const shm::MonitorRoute& route : view.now.routes) {
    all += static_cast<double>(route.answered - route.error);
  }
  for (const shm::MonitorRoute& route : view.now.routes) {
    std::uint64_t before = route.error;  // what it inherited is nothing that happened to it
    if (view.before) {
      const auto& then = view.before->routes;
      const auto found = std::find_if(then.begin(), then.end(),
                                      [&](const auto& one) { return one.hash == route.hash; });
      before = found != then.end() ? found->answered : before;
    }
    const auto own = static_cast<double>(route.answered - route.error);
    const double mean = own > 0 ? static_cast<double>(route.execution_ns) / own : 0;
    grid.rows.push_back({{route_text(route)},
                         count_cell(view.rate(route.answered, before)),
                         count_cell(route.answered),
                         share_cell(own, all),
                         share_cell(static_cast<double>(route.hits), own),
                         {time_text(mean), mean},
                         count_cell(route.error)});
  }
  return grid;
}

void sort_rows(Grid& grid, Choices& choices) {
  choices.sort = std::min(choices.sort, grid.columns.size() - 1);
  const Column& column = grid.columns[choices.sort];
  const bool descending = column.descending != choices.reverse;
  std::stable_sort(grid.rows.begin(), grid.rows.end(), [&](const Row& a, const Row& b) {
    const Cell& one = descending ? b[choices.sort] : a[choices.sort];
    const Cell& two = descending ? a[choices.sort] : b[choices.sort];
    return column.words ? one.text < two.text : one.key < two.key;
  });
}

/// What is left on the right goes to the first column of words, as far as names and routes need it.
void widen(Grid& grid, std::size_t width) {
  std::size_t taken = 0;
  for (const Column& column : grid.columns) {
    taken += column.width + 1;
  }
  for (std::size_t i = 0; i < grid.columns.size(); ++i) {
    Column& column = grid.columns[i];
    if (column.words) {
      std::size_t longest = column.width;
      for (const Row& row : grid.rows) {
        longest = std::max(longest, row[i].text.size());
      }
      column.width += std::min(longest - column.width, width - std::min(width, taken));
      return;
    }
  }
}

std::string grid_line(const Grid& grid, const Row* row, std::size_t width, std::size_t sort) {
  std::string line;
  for (std::size_t i = 0; i < grid.columns.size(); ++i) {
    const Column& column = grid.columns[i];
    if (line.size() + column.width + 1 > width) {
      break;
    }
    std::string text = row != nullptr ? (*row)[i].text : column.title;
    if (row == nullptr && i == sort) {
      text = column.words ? text + "*" : "*" + text;
    }
    line += i != 0 ? " " : "";
    line += column.words ? left(text, column.width) : right(text, column.width);
  }
  return line;
}

/// Keeps the scrolled rows within those that there are, and tells which of them are on the screen
/// if not all are: in the line above the table, where a trouble goes first. @return rows that fit.
std::size_t scroll(std::vector<Line>& lines, Choices& choices, std::size_t count,
                   std::size_t room) {
  const std::size_t rows = room > 1 ? room - 1 : 0;
  choices.first = std::min(choices.first, count > rows ? count - rows : 0);
  if (count > rows && rows > 0 && lines.back().text.empty()) {
    lines.back().text = std::to_string(choices.first + 1) + "-" +
                        std::to_string(choices.first + rows) + " of " + std::to_string(count) +
                        "; arrows and Page Down show more";
  }
  return rows;
}

void add_grid(std::vector<Line>& lines, Grid grid, Choices& choices, std::size_t width,
              std::size_t room, const char* nothing) {
  sort_rows(grid, choices);
  widen(grid, width);
  const std::size_t rows = scroll(lines, choices, grid.rows.size(), room);
  lines.push_back({grid_line(grid, nullptr, width, choices.sort), Look::head});
  if (grid.rows.empty()) {
    lines.push_back({nothing});
    return;
  }
  for (std::size_t i = choices.first; i < std::min(grid.rows.size(), choices.first + rows); ++i) {
    const bool odd = choices.screen == Screen::servants && grid.rows[i][2].text != "attached";
    lines.push_back({grid_line(grid, &grid.rows[i], width, 0), odd ? Look::warning : Look::plain});
  }
}

/// Words that belong together, as many as fit.
std::string joined(const std::vector<std::string>& parts, std::size_t width) {
  std::string line;
  for (const std::string& part : parts) {
    if (line.size() + part.size() + 2 > width) {
      break;
    }
    line += (line.empty() ? "" : "  ") + part;
  }
  return line;
}

void add_summary(std::vector<Line>& lines, const Shown& shown, const Choices& choices,
                 std::size_t width) {
  const View& view = *shown.view;
  const shm::MonitorTotals& now = view.now.totals;
  const shm::MonitorTotals before = view.before ? view.before->totals : shm::MonitorTotals{};
  const auto up = static_cast<double>(now.told_at - std::min(now.started_at, now.told_at));
  lines.push_back(
      {joined({"mserve " + shown.broker, "pid " + std::to_string(shown.pid), "up " + time_text(up),
               std::string("policy ") + policy_name(now.policy),
               "every " + time_text(choices.interval_s * 1e9), choices.paused ? "PAUSED" : ""},
              width),
       Look::title});
  const auto errors = now.errors + now.refused;
  lines.push_back(
      {joined(
           {count_text(view.rate(now.replies, before.replies)) + " answers/s",
            "queued " + count_text(static_cast<double>(now.queued)) +
                (now.queued != 0 ? " for " + time_text(static_cast<double>(now.queue_age_ns)) : ""),
            "running " + count_text(static_cast<double>(now.running)),
            count_text(view.rate(errors, before.errors + before.refused)) + " broker errors/s",
            "poisoned " + count_text(static_cast<double>(now.poisoned)),
            "retried " + count_text(static_cast<double>(now.retried))},
           width),
       now.queued != 0 ? Look::warning : Look::plain});
  const auto since = [&](std::uint64_t a, std::uint64_t b) {
    return static_cast<double>(view.before && a >= b ? a - b : a);
  };
  const double routed = since(now.dispatched, before.dispatched);
  const double worked = since(now.worked, before.worked);
  const double passes = since(now.passes, before.passes);
  lines.push_back({joined({"affinity hits " + share_text(since(now.hits, before.hits), routed),
                           "spills " + share_text(since(now.spills, before.spills), routed),
                           "data thread " + share_text(worked, passes) + " of passes busy",
                           "asleep " + share_text(since(now.asleep_ns, before.asleep_ns),
                                                  view.before ? view.seconds() * 1e9 : up)},
                          width)});
  const shm::MonitorLatency latency = view.latency();
  const auto pair = [](const char* name, const shm::MonitorHistogram& h) {
    return std::string(name) + " p50 " + time_text(h.percentile_ns(50)) + " p99 " +
           time_text(h.percentile_ns(99));
  };
  lines.push_back(
      {joined({pair("round trip", latency.whole), pair("queue", latency.queue)}, width)});
  lines.push_back({});
}

void add_latency(std::vector<Line>& lines, const View& view, std::size_t width, std::size_t room) {
  const shm::MonitorLatency latency = view.latency();
  const shm::MonitorBrokerTimes broker = view.broker_times();
  for (std::string& line : latency_lines(latency, &broker)) {
    lines.push_back({std::move(line), lines.size() == 5 ? Look::head : Look::plain});
  }
  lines.push_back({});
  lines.push_back(
      {"round trip, of " + count_text(static_cast<double>(latency.whole.count())) + " requests",
       Look::head});
  constexpr std::size_t kTaken = 8;
  for (std::string& line : plot_lines(latency.whole, width, room > kTaken ? room - kTaken : 1)) {
    lines.push_back({std::move(line)});
  }
}

void add_events(std::vector<Line>& lines, const Shown& shown, Choices& choices, std::size_t room) {
  const auto& events = shown.events;
  const std::size_t rows = scroll(lines, choices, events.size(), room);
  lines.push_back({"TIME (UTC)          EVENT        #  WHAT", Look::head});
  for (std::size_t i = choices.first; i < std::min(events.size(), choices.first + rows); ++i) {
    const shm::MonitorHappening& event = events[events.size() - 1 - i];  // the newest first
    const bool bad =
        event.kind == shm::MonitorEventKind::closed || event.kind == shm::MonitorEventKind::stopped;
    lines.push_back({date_text(event.at) + " " + left(to_string(event.kind), 9) +
                         right(event.session != 0 ? std::to_string(event.session) : "", 5) + "  " +
                         event.text,
                     bad ? Look::warning : Look::plain});
  }
}

void add_help(std::vector<Line>& lines) {
  for (const char* const text :
       {"Screens   s servants   c clients   r routes   l latency   e events   h or ? this",
        "Sort      > or . by the next column   < or , by the one before   R reversed",
        "Rows      arrows, Page Up, Page Down, Home",
        "Time      + and - the interval   space holds it   Ctrl-L redraws   q ends", "",
        "REQ/S, BUSY, HIT and the latencies are of the last interval; all else is since",
        "the start of the session, or now. BUSY: the share of its credit's time in which",
        "it had a request. HIT: requests for a route that it held. P50, P99: execution,",
        "from handing it over to having its answer. IN, OUT: bytes in its two rings.",
        "OPEN: requests without an answer. KEPT: answers that wait until it reads.",
        "ERR: of a servant, answers that were errors of its own; of a client, requests",
        "that the broker ended (time-outs, busy, no servant), as in broker errors/s.",
        "Of routes, REQS may contain ERROR requests of others that were dropped."}) {
    lines.push_back({text});
  }
}

const char* keys_of(Screen screen) {
  switch (screen) {
    case Screen::help:
      return "q quit  s c r l e back";
    case Screen::latency:
    case Screen::events:
      return "q quit  h help  s servants  c clients  r routes  l latency  e events";
    default:
      return "q quit  h help  s servants  c clients  r routes  l latency  e events  <> sort";
  }
}

}  // namespace

std::size_t sortable_columns(Screen screen) noexcept {
  return columns_of(screen).size();
}

std::vector<Line> render(const Shown& shown, Choices& choices, std::size_t width,
                         std::size_t height) {
  std::vector<Line> lines;
  const std::size_t body = height > 0 ? height - 1 : 0;
  if (shown.view == nullptr) {
    lines.push_back({"mserve " + shown.broker, Look::title});
    lines.push_back({});
    lines.push_back({shown.trouble, Look::warning});
    lines.push_back({"Looking for it again every second.", Look::plain});
  } else if (choices.screen == Screen::help) {
    lines.push_back({"mserve-stat top: keys and columns", Look::title});
    lines.push_back({});
    add_help(lines);
  } else {
    add_summary(lines, shown, choices, width);
    if (!shown.trouble.empty()) {
      lines.back() = {shown.trouble, Look::warning};
    }
    const std::size_t room = body > lines.size() ? body - lines.size() : 0;
    switch (choices.screen) {
      case Screen::clients:
        add_grid(lines, clients_grid(*shown.view), choices, width, room, "nobody is attached");
        break;
      case Screen::routes:
        add_grid(lines, routes_grid(*shown.view), choices, width, room, "no request had a route");
        break;
      case Screen::latency:
        add_latency(lines, *shown.view, width, room);
        break;
      case Screen::events:
        add_events(lines, shown, choices, room);
        break;
      default:
        add_grid(lines, servants_grid(*shown.view), choices, width, room, "no servant is attached");
    }
  }
  lines.resize(body);
  if (height > 0) {
    lines.push_back({keys_of(choices.screen), Look::keys});
  }
  for (Line& line : lines) {
    if (line.text.size() > width) {
      line.text.resize(width);
    }
  }
  return lines;
}

}  // namespace mserve::stat
