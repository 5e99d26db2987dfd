// SPDX-License-Identifier: Apache-2.0
#include "stat/fit_table.hpp"

#include <algorithm>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mserve/kdb/print.hpp"
#include "mserve/kdb/types.hpp"
#include "stat/text.hpp"

namespace mserve::stat {

namespace {

using Names = std::vector<std::string_view>;

/// What is left out, in this order; all else says what whoever looks came for.
const Names& least(bool rates) {
  static const Names totals{"out_capacity",  "in_capacity", "out_bytes",  "in_bytes",
                            "uid",           "since",       "overruns",   "interrupts",
                            "credit",        "tier",        "queue_p50",  "error",
                            "execution_p50", "hits",        "kept_bytes", "execution_p99",
                            "tags",          "errors",      "pid",        "answered"};
  static const Names moments{"out_capacity", "in_capacity", "out_bytes", "in_bytes",
                             "uid",          "since",       "overruns",  "interrupts",
                             "credit",       "tier",        "hits",      "kept_bytes",
                             "tags",         "pid",         "requests",  "answered",
                             "errors",       "queue_p50",   "state",     "execution_p99"};
  return rates ? moments : totals;
}

/// Of the widest line: the rule below the names is as long.
std::size_t width_of(const kdb::Value& table) {
  constexpr std::size_t kWhole = 2000;
  const std::string shown = kdb::show(table, {.height = kWhole, .width = kWhole});
  const std::size_t names = shown.find('\n');
  return names == std::string::npos ? 0 : shown.find('\n', names + 1) - names - 1;
}

kdb::Value without(const kdb::Value& table, const std::set<std::string_view>& gone) {
  std::vector<std::string> names;
  std::vector<kdb::Value> columns;
  for (std::size_t i = 0; i < table.names().size(); ++i) {
    if (!gone.contains(table.names()[i])) {
      names.push_back(table.names()[i]);
      columns.push_back(table.columns()[i]);
    }
  }
  return kdb::Value::table(std::move(names), std::move(columns));
}

/// Which of `names` have to go, from the first on, so that the rest is narrower than `width`.
std::set<std::string_view> too_many(const kdb::Value& table, std::size_t width,
                                    const Names& names) {
  std::set<std::string_view> gone;
  for (const std::string_view name : names) {
    if (width_of(without(table, gone)) < width) {
      break;
    }
    if (table.column(name) != nullptr) {
      gone.insert(name);
    }
  }
  return gone;
}

std::span<const std::int64_t> numbers_in(const kdb::Value& table, std::string_view name) {
  const kdb::Value* const column = table.column(name);
  return column != nullptr ? column->items<std::int64_t>() : std::span<const std::int64_t>{};
}

/// "07:39:30.123", of a time since 2000.
std::string moment_text(std::int64_t time) {
  constexpr std::int64_t kNsPerSecond = 1'000'000'000;
  constexpr std::int64_t kNsPerMs = 1'000'000;
  constexpr std::size_t kDay = 11;  // the date, and what parts it from the time
  const std::int64_t ms = (time % kNsPerSecond + kNsPerSecond) % kNsPerSecond / kNsPerMs;
  const std::string thousandths = std::to_string(1000 + ms).substr(1);
  return date_text(time + kdb::kEpochUnixSeconds * kNsPerSecond).substr(kDay) + "." + thousandths;
}

std::string span_text(std::int64_t ns) {
  return ns == kdb::kNullLong ? "" : time_text(static_cast<double>(ns));
}

kdb::Value texts_of(std::span<const std::int64_t> numbers, std::string (*text)(std::int64_t)) {
  std::vector<std::string> all;
  all.reserve(numbers.size());
  for (const std::int64_t number : numbers) {
    all.push_back(text(number));
  }
  return kdb::Value::symbols(std::move(all));
}

/// With times and shares as people write them.
kdb::Value readable(const kdb::Value& table) {
  std::vector<kdb::Value> columns(table.columns().begin(), table.columns().end());
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::string& name = table.names()[i];
    if (name == "queue_p50" || name.starts_with("execution_")) {
      if (const auto numbers = numbers_in(table, name); numbers.size() == table.count()) {
        columns[i] = texts_of(numbers, span_text);
      }
    }
  }
  return kdb::Value::table({table.names().begin(), table.names().end()}, std::move(columns));
}

}  // namespace

FittedTable fit_table(const kdb::Value& table, std::size_t width) {
  const bool twice = table.column("route") != nullptr && table.column("hash") != nullptr;
  const kdb::Value shown = readable(twice ? without(table, {"hash"}) : table);
  const auto gone = too_many(shown, width, least(table.column("requests_per_s") != nullptr));
  return {without(shown, gone), gone.size() + (twice ? 1 : 0)};
}

FittedTable fit_queries(const kdb::Value& table, std::size_t width) {
  constexpr std::size_t kQueryWidth = 24;  // the rest of a longer one may be cut
  const std::vector<std::string> whole{"time",    "qid",       "user",  "qsvr", "status",
                                       "elapsed", "execution", "route", "query"};
  for (const char* const name : {"time_returned", "elapsed", "execution"}) {
    if (numbers_in(table, name).size() != table.count()) {
      return {table};
    }
  }
  std::vector<kdb::Value> columns;
  for (const std::string& name : whole) {
    const kdb::Value* const found = table.column(name);
    if (name == "time") {
      columns.push_back(texts_of(numbers_in(table, "time_returned"), moment_text));
    } else if (name == "elapsed" || name == "execution") {
      columns.push_back(texts_of(numbers_in(table, name), span_text));
    } else if (found != nullptr) {
      columns.push_back(*found);
    } else {
      return {table};
    }
  }
  const kdb::Value all = kdb::Value::table(whole, std::move(columns));
  const auto gone = too_many(without(all, {"query"}), width - std::min(width, kQueryWidth),
                             {"execution", "qid", "user", "route"});
  return {without(all, gone), table.names().size() + gone.size() - whole.size()};
}

}  // namespace mserve::stat
