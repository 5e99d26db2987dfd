// SPDX-License-Identifier: Apache-2.0
#include "stat/fit_table.hpp"

#include <array>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mserve/kdb/print.hpp"

namespace mserve::stat {

namespace {

/// What is left out, in this order; all else says what whoever looks came for.
constexpr std::array<std::string_view, 21> kLeast{
    "out_capacity", "in_capacity", "out_bytes",     "in_bytes",  "uid",    "since", "overruns",
    "interrupts",   "credit",      "tier",          "queue_p50", "hash",   "error", "execution_p50",
    "hits",         "kept_bytes",  "execution_p99", "tags",      "errors", "pid",   "answered"};

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

}  // namespace

FittedTable fit_table(const kdb::Value& table, std::size_t width) {
  FittedTable fitted{table};
  std::set<std::string_view> gone;
  for (const std::string_view name : kLeast) {
    if (width_of(fitted.table) < width) {
      break;
    }
    if (table.column(name) != nullptr) {
      gone.insert(name);
      fitted.table = without(table, gone);
    }
  }
  fitted.left_out = gone.size();
  return fitted;
}

}  // namespace mserve::stat
