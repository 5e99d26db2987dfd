// SPDX-License-Identifier: Apache-2.0
#include "stat/top_view.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

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
                                             {"REQ/S", 6, false, true},
                                             {"BUSY", 5, false, true},
                                             {"HIT", 5, false, true},
                                             {"P50", 7, false, true},
                                             {"P99", 7, false, true},
                                             {"ERR", 5, false, true},  // the last at 80
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

/// How many columns a line of that width has.
std::size_t columns_within(const Grid& grid, std::size_t width) {
  std::size_t taken = 0;
  std::size_t count = 0;
  for (const Column& column : grid.columns) {
    taken += column.width + (count != 0 ? 1 : 0);
    if (taken > width) {
      break;
    }
    ++count;
  }
  return count;
}

/// On the left of its column; a mark says that there is more of it.
std::string words_cell(const std::string& text, std::size_t width) {
  return text.size() > width ? text.substr(0, width - 1) + "+" : left(text, width);
}

std::string grid_line(const Grid& grid, const Row* row, std::size_t width, std::size_t sort) {
  std::string line;
  for (std::size_t i = 0; i < columns_within(grid, width); ++i) {
    const Column& column = grid.columns[i];
    std::string text = row != nullptr ? (*row)[i].text : column.title;
    if (row == nullptr && i == sort) {
      text = column.words ? text + "*" : "*" + text;
    }
    line += i != 0 ? " " : "";
    line += column.words ? words_cell(text, column.width) : right(text, column.width);
  }
  return line;
}

/// Puts what there is to know of a table into the line above it, unless a trouble stands there.
void note(std::vector<Line>& lines, const std::string& text) {
  Line& line = lines.back();
  if (line.look == Look::plain) {
    line.text += (line.text.empty() ? "" : "; ") + text;
  }
}

/// Keeps the scrolled rows within those that there are, and tells which of them are on the screen
/// if not all are.
void scroll(std::vector<Line>& lines, Choices& choices, std::size_t count, std::size_t rows) {
  choices.first = std::min(choices.first, count > rows ? count - rows : 0);
  if (count > rows && rows > 0) {
    const std::size_t last = choices.first + rows;
    note(lines, std::to_string(choices.first + 1) + "-" + std::to_string(last) + " of " +
                    std::to_string(count) +
                    (last < count ? ", Page Down shows more" : ", Page Up shows the others"));
  }
}

std::size_t below_head(std::size_t room) {
  return room > 1 ? room - 1 : 0;
}

void add_grid(std::vector<Line>& lines, Grid grid, Choices& choices, std::size_t width,
              std::size_t room, const char* nothing) {
  sort_rows(grid, choices);
  widen(grid, width);
  const std::size_t rows = below_head(room);
  scroll(lines, choices, grid.rows.size(), rows);
  if (choices.sort >= columns_within(grid, width)) {
    note(lines, std::string("sorted by ") + grid.columns[choices.sort].title +
                    ", which is too far right to be seen");
  }
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

/// A text as lines of at most `width`, parted at blanks; all but the first begin with `indent`
/// blanks, if that is not 0, and are parted where several blanks are.
std::vector<std::string> wrapped(const std::string& text, std::size_t width,
                                 std::size_t indent = 0) {
  std::vector<std::string> lines;
  std::string rest = text;
  while (rest.size() > width && width > indent + 1) {
    std::size_t end = rest.rfind(indent != 0 ? "   " : " ", width);
    if (end == std::string::npos || end <= indent) {
      end = rest.rfind(' ', width);
    }
    if (end == std::string::npos || end <= indent) {
      end = width;
    }
    lines.push_back(rest.substr(0, end));
    rest.erase(0, rest[end] == ' ' ? rest.find_first_not_of(' ', end) : end);
    rest.insert(0, indent, ' ');
  }
  lines.push_back(rest);
  return lines;
}

/// Words that belong together, as many as fit.
std::string joined(const std::vector<std::string>& parts, std::size_t width) {
  std::string line;
  for (const std::string& part : parts) {
    if (part.empty()) {
      continue;
    }
    const std::string more = (line.empty() ? "" : "  ") + part;
    if (line.size() + more.size() > width) {
      break;
    }
    line += more;
  }
  return line;
}

/// How many servants there are, and how many of them get nothing.
std::string servants_text(const shm::MonitorSnapshot& now) {
  std::size_t all = 0;
  std::size_t held = 0;
  for (const shm::MonitorSession& session : now.sessions) {
    if (session.is(shm::Role::servant) && session.attached()) {
      ++all;
      held += state_of(session) != "attached" ? 1 : 0;
    }
  }
  return std::to_string(all) + (all == 1 ? " servant" : " servants") +
         (held != 0 ? ", " + std::to_string(held) + " not serving" : "");
}

/// What is wrong, wrapped.
void add_trouble(std::vector<Line>& lines, const std::string& trouble, std::size_t width) {
  for (std::string& line : wrapped(trouble, width)) {
    lines.push_back({std::move(line), Look::warning});
  }
}

void add_summary(std::vector<Line>& lines, const Shown& shown, const Choices& choices,
                 std::size_t width) {
  const View& view = *shown.view;
  const shm::MonitorTotals& now = view.now.totals;
  const shm::MonitorTotals before = view.before ? view.before->totals : shm::MonitorTotals{};
  const auto up = static_cast<double>(now.told_at - std::min(now.started_at, now.told_at));
  lines.push_back(
      {joined({"mserve " + shown.broker, choices.paused ? "PAUSED" : "", servants_text(view.now),
               "up " + time_text(up), std::string("policy ") + policy_name(now.policy),
               "every " + time_text(choices.interval_s * 1e9), "pid " + std::to_string(shown.pid)},
              width),
       Look::title});
  if (!shown.trouble.empty()) {
    add_trouble(lines, shown.trouble + "; waits until it is back; q ends", width);
  }
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
                           "busy passes " + share_text(worked, passes),
                           "asleep " + share_text(since(now.asleep_ns, before.asleep_ns),
                                                  view.before ? view.seconds() * 1e9 : up)},
                          width)});
  const shm::MonitorLatency latency = view.latency();
  const auto pair = [](const char* name, const shm::MonitorHistogram& h) {
    return std::string(name) + " p50 " + time_cell(h, 50).text + " p99 " + time_cell(h, 99).text;
  };
  lines.push_back(
      {joined({pair("round trip", latency.whole), pair("queue", latency.queue)}, width)});
  lines.push_back({});
}

/// As many columns of latency_lines() as there is room for: half a number is another number.
std::string whole_cells(const std::string& line, std::size_t width) {
  const std::size_t cells =
      width > kLatencyNameWidth ? (width - kLatencyNameWidth) / kLatencyCellWidth : 0;
  return line.substr(0, kLatencyNameWidth + cells * kLatencyCellWidth);
}

void add_latency(std::vector<Line>& lines, const View& view, std::size_t width, std::size_t room) {
  const shm::MonitorLatency latency = view.latency();
  const shm::MonitorBrokerTimes broker = view.broker_times();
  Look look = Look::head;
  for (const std::string& line : latency_lines(latency, &broker)) {
    lines.push_back({whole_cells(line, width), look});
    look = Look::plain;
  }
  lines.push_back({});
  lines.push_back(
      {"round trip, of " + count_text(static_cast<double>(latency.whole.count())) + " requests " +
           (view.before ? "of the last " + time_text(view.seconds() * 1e9) : "since the start"),
       Look::head});
  constexpr std::size_t kTaken = 8;
  for (std::string& line : plot_lines(latency.whole, width, room > kTaken ? room - kTaken : 1)) {
    lines.push_back({std::move(line)});
  }
}

void add_events(std::vector<Line>& lines, const Shown& shown, Choices& choices, std::size_t room) {
  const auto& events = shown.events;
  const std::size_t rows = below_head(room);
  scroll(lines, choices, events.size(), rows);
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

void add_help(std::vector<Line>& lines, Choices& choices, std::size_t width, std::size_t room) {
  struct Part {
    const char* text;
    std::size_t indent = 0;
  };
  constexpr std::size_t kBehindName = 10;
  std::vector<std::string> help;
  for (const Part& part : std::initializer_list<Part>{
           {"Screens   s servants   c clients   r routes   l latency   e events   h or ? this, and "
            "back",
            kBehindName},
           {"Sort      > or . by the next column   < or , by the one before   R reversed",
            kBehindName},
           {"Rows      arrows, Page Up, Page Down, Home, End", kBehindName},
           {"Time      + and - the interval   space holds it   Ctrl-L redraws   q ends",
            kBehindName},
           {""},
           {"REQ/S, BUSY, the latencies and HIT of servants are of the last interval; all else is "
            "since the start of the session, or now. * marks the column sorted by, + what is cut."},
           {"BUSY: the share of its credit's time in which it had a request. HIT: requests for a "
            "route that it held. P50, P99: execution, from handing it over to having its answer. "
            "IN, OUT: bytes in its two rings. OPEN: requests without an answer. KEPT: answers that "
            "wait until it reads."},
           {"ERR: of a servant, answers that were errors of its own; of a client, requests that "
            "the broker ended (time-outs, busy, no servant), as in broker errors/s."},
           {"Routes: REQS may contain ERROR requests of others that were dropped. MEAN: execution. "
            "What came over rings has a hash for a name."},
           {"Head: poisoned: sessions closed because the other side broke the rules of its rings. "
            "Spills: requests that went to another servant than one that held their route. Busy "
            "passes: of the data thread's looks, those that found work."}}) {
    for (std::string& line : wrapped(part.text, width, part.indent)) {
      help.push_back(std::move(line));
    }
  }
  scroll(lines, choices, help.size(), room);
  for (std::size_t i = choices.first; i < std::min(help.size(), choices.first + room); ++i) {
    lines.push_back({help[i]});
  }
}

/// The keys, with the present screen in brackets; as long as there is room for.
std::string keys_of(Screen screen, std::size_t width) {
  struct Key {
    Screen screen;
    const char* key;
    const char* name;
  };
  static constexpr std::array<Key, 5> kKeys{{{Screen::servants, "s", " servants"},
                                             {Screen::clients, "c", " clients"},
                                             {Screen::routes, "r", " routes"},
                                             {Screen::latency, "l", " latency"},
                                             {Screen::events, "e", " events"}}};
  const auto marked = [](bool here, const std::string& text) {
    return here ? "[" + text + "]" : text;
  };
  std::vector<std::string> named{"q quit", screen == Screen::help ? "[h back]" : "h help"};
  std::vector<std::string> brief = named;
  std::string keys;
  for (const Key& key : kKeys) {
    named.push_back(marked(screen == key.screen, std::string(key.key) + key.name));
    keys += (keys.empty() ? "" : " ") + marked(screen == key.screen, key.key);
  }
  brief.push_back(keys + " screens");
  for (auto* const parts : {&named, &brief}) {
    if (sortable_columns(screen) != 0) {
      parts->push_back("<> sort");
    }
  }
  const std::string all = joined(named, std::string::npos);
  std::string line = all.size() <= width ? all : joined(brief, width);
  line.resize(width, ' ');
  return line;
}

}  // namespace

std::size_t sortable_columns(Screen screen) noexcept {
  return columns_of(screen).size();
}

std::vector<Line> render(const Shown& shown, Choices& choices, std::size_t width,
                         std::size_t height) {
  std::vector<Line> lines;
  const std::size_t body = height > 0 ? height - 1 : 0;
  const auto room = [&] { return body > lines.size() ? body - lines.size() : 0; };
  if (choices.screen == Screen::help) {
    lines.push_back({"mserve-stat top: keys and columns", Look::title});
    lines.push_back({});
    add_help(lines, choices, width, room());
  } else if (shown.view == nullptr) {
    lines.push_back({"mserve " + shown.broker, Look::title});
    lines.push_back({});
    add_trouble(lines, shown.trouble, width);
    lines.push_back({"Looking again every " + time_text(choices.interval_s * 1e9) + "."});
  } else {
    add_summary(lines, shown, choices, width);
    switch (choices.screen) {
      case Screen::clients:
        add_grid(lines, clients_grid(*shown.view), choices, width, room(), "nobody is attached");
        break;
      case Screen::routes:
        add_grid(lines, routes_grid(*shown.view), choices, width, room(), "no request had a route");
        break;
      case Screen::latency:
        add_latency(lines, *shown.view, width, room());
        break;
      case Screen::events:
        add_events(lines, shown, choices, room());
        break;
      default:
        add_grid(lines, servants_grid(*shown.view), choices, width, room(),
                 "no servant is attached");
    }
  }
  lines.resize(body);
  if (height > 0) {
    // The last cell of a terminal stays free.
    lines.push_back({keys_of(choices.screen, width > 0 ? width - 1 : 0), Look::keys});
  }
  for (Line& line : lines) {
    if (line.text.size() > width) {
      line.text.resize(width);
    }
  }
  return lines;
}

}  // namespace mserve::stat
