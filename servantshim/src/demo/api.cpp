// SPDX-License-Identifier: Apache-2.0
#include "demo/api.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "demo/summary.hpp"

namespace mserve::demo {
namespace {

using kdb::Value;

/// The symbols asked for, known ones only, each once, ascending by name; nothing when these are no
/// symbols.
std::optional<std::vector<std::size_t>> wanted_symbols(const Value& symbols) {
  std::span<const std::string> names = symbols.items<std::string>();
  if (const std::string* one = symbols.as<std::string>(); one != nullptr) {
    names = {one, 1};
  } else if (symbols.type_code() != static_cast<std::int8_t>(kdb::Type::symbol)) {
    return std::nullopt;
  }
  std::vector<std::size_t> wanted;
  for (std::size_t i = 0; i < kSymbols.size(); ++i) {
    if (std::find(names.begin(), names.end(), kSymbols[i]) != names.end()) {
      wanted.push_back(i);
    }
  }
  std::sort(wanted.begin(), wanted.end(),
            [](std::size_t a, std::size_t b) { return kSymbols[a] < kSymbols[b]; });
  return wanted;
}

Value table_of(const std::vector<Summary>& rows) {
  static constexpr std::pair<const char*, double Summary::*> kFloatColumns[] = {
      {"MAX", &Summary::max},     {"MIN", &Summary::min}, {"OPEN", &Summary::open},
      {"CLOSE", &Summary::close}, {"AVG", &Summary::avg}, {"VWAP", &Summary::vwap},
      {"DEV", &Summary::dev},     {"VAR", &Summary::var}};
  std::vector<std::string> syms;
  syms.reserve(rows.size());
  for (const Summary& row : rows) {
    syms.emplace_back(kSymbols[row.symbol]);
  }
  std::vector<std::string> names = {"SYM"};
  // q marks the key of a grouped result as sorted, and 0! keeps the mark.
  std::vector<Value> columns = {
      Value::symbols(std::move(syms)).with_attribute(kdb::Attribute::sorted)};
  for (const auto& [name, member] : kFloatColumns) {
    std::vector<double> column;
    column.reserve(rows.size());
    for (const Summary& row : rows) {
      column.push_back(row.*member);
    }
    names.emplace_back(name);
    columns.push_back(Value::floats(std::move(column)));
  }
  return Value::table(std::move(names), std::move(columns));
}

servant::Function unary(std::function<Value(const Value&)> function) {
  return [function = std::move(function)](std::span<const Value> arguments) {
    return arguments.size() == 1 ? function(arguments[0]) : Value::error("rank");
  };
}

}  // namespace

Value proc(const Trades& trades, const Value& symbols, int passes) {
  const std::optional<std::vector<std::size_t>> wanted = wanted_symbols(symbols);
  return wanted ? table_of(summarise(trades, *wanted, passes)) : Value::error("type");
}

std::vector<std::pair<std::string, servant::Function>> api(const Trades& trades) {
  return {
      {"echo", unary([](const Value& argument) { return argument; })},
      {"proc1",
       unary([&trades](const Value& symbols) { return proc(trades, symbols, kProc1Passes); })},
      {"proc2",
       unary([&trades](const Value& symbols) { return proc(trades, symbols, kProc2Passes); })},
  };
}

}  // namespace mserve::demo
