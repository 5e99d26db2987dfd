// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "demo/api.hpp"
#include "demo/summary.hpp"
#include "demo/trades.hpp"

namespace mserve::demo {
namespace {

using kdb::Value;

/// One symbol's statistics in long double and two passes: slow and obvious.
Summary reference(const SymbolRows& rows) {
  Summary s;
  const std::size_t n = rows.price.size();
  long double sum = 0;
  long double traded = 0;
  long double size = 0;
  s.max = *std::max_element(rows.price.begin(), rows.price.end());
  s.min = *std::min_element(rows.price.begin(), rows.price.end());
  for (std::size_t i = 0; i < n; ++i) {
    sum += rows.price[i];
    traded += static_cast<long double>(rows.price[i]) * rows.size[i];
    size += rows.size[i];
  }
  const long double mean = sum / static_cast<long double>(n);
  long double squares = 0;
  for (const double price : rows.price) {
    squares += (price - mean) * (price - mean);
  }
  const long double var = squares / static_cast<long double>(n);
  s.open = rows.price.front();
  s.close = rows.price.back();
  s.avg = static_cast<double>(mean);
  s.vwap = static_cast<double>(traded / size);
  s.var = static_cast<double>(var);
  s.dev = static_cast<double>(std::sqrt(var));
  return s;
}

void expect_near(const Summary& got, const Summary& wanted) {
  const double tolerance = 1e-9;
  EXPECT_EQ(got.max, wanted.max);
  EXPECT_EQ(got.min, wanted.min);
  EXPECT_EQ(got.open, wanted.open);
  EXPECT_EQ(got.close, wanted.close);
  EXPECT_NEAR(got.avg, wanted.avg, tolerance);
  EXPECT_NEAR(got.vwap, wanted.vwap, tolerance);
  EXPECT_NEAR(got.dev, wanted.dev, tolerance);
  EXPECT_NEAR(got.var, wanted.var, tolerance);
}

std::vector<std::string> syms_of(const Value& table) {
  const Value* column = table.column("SYM");
  if (column == nullptr) {
    return {"no column SYM"};
  }
  const std::span<const std::string> names = column->items<std::string>();
  return {names.begin(), names.end()};
}

std::string error_of(const Value& value) {
  return value.is_error() ? std::string(*value.text_view()) : "";
}

TEST(Trades, SameSeedGivesTheSameTableAndAnotherSeedAnother) {
  const Trades a = Trades::generate(10'000, 7);
  const Trades b = Trades::generate(10'000, 7);
  const Trades c = Trades::generate(10'000, 8);
  for (std::size_t symbol = 0; symbol < kSymbols.size(); ++symbol) {
    const SymbolRows x = a.rows(symbol);
    const SymbolRows y = b.rows(symbol);
    const SymbolRows z = c.rows(symbol);
    EXPECT_TRUE(std::equal(x.price.begin(), x.price.end(), y.price.begin(), y.price.end()));
    EXPECT_TRUE(std::equal(x.size.begin(), x.size.end(), y.size.begin(), y.size.end()));
    EXPECT_TRUE(std::equal(x.time_ms.begin(), x.time_ms.end(), y.time_ms.begin(), y.time_ms.end()));
    EXPECT_FALSE(std::equal(x.price.begin(), x.price.end(), z.price.begin(), z.price.end()));
  }
}

// Goal: numbers that somebody wrote down for a seed stay true from version to version and on every
// machine.
TEST(Trades, SeedOneKeepsItsValues) {
  const Trades trades = Trades::generate(1000, 1);
  const SymbolRows rows = trades.rows(*symbol_index("IBM"));
  ASSERT_EQ(trades.count(), 1000U);
  ASSERT_EQ(rows.price.size(), 135U);
  EXPECT_EQ(rows.time_ms[0], 32'700'106);
  EXPECT_EQ(rows.size[0], 7777);
  EXPECT_DOUBLE_EQ(rows.price[0], 66.074586530384778);
}

TEST(Trades, ValuesLieInTheirRangesAndTimesAscend) {
  const Trades trades = Trades::generate(200'000, 3);
  std::uint64_t total = 0;
  for (std::size_t symbol = 0; symbol < kSymbols.size(); ++symbol) {
    const SymbolRows rows = trades.rows(symbol);
    ASSERT_EQ(rows.price.size(), rows.time_ms.size());
    ASSERT_EQ(rows.price.size(), rows.size.size());
    total += rows.price.size();
    EXPECT_NEAR(static_cast<double>(rows.price.size()), 25'000.0,
                1000.0);  // more than 6 standard deviations
    EXPECT_TRUE(std::is_sorted(rows.time_ms.begin(), rows.time_ms.end()));
    EXPECT_GE(rows.time_ms.front(), 9 * 3'600'000);
    EXPECT_LT(rows.time_ms.back(), 16 * 3'600'000);
    EXPECT_GE(*std::min_element(rows.price.begin(), rows.price.end()), 0.0);
    EXPECT_LT(*std::max_element(rows.price.begin(), rows.price.end()), 100.0);
    EXPECT_EQ(*std::min_element(rows.size.begin(), rows.size.end()), 0);
    EXPECT_EQ(*std::max_element(rows.size.begin(), rows.size.end()), 9999);
  }
  EXPECT_EQ(total, 200'000U);
}

TEST(Trades, ColumnsAreNotCorrelated) {
  const Trades trades = Trades::generate(400'000, 5);
  const Summary s = reference(trades.rows(3));
  EXPECT_NEAR(s.avg, 50.0, 1.0);
  EXPECT_NEAR(s.vwap, s.avg, 1.0);
  EXPECT_NEAR(s.dev, 100.0 / std::sqrt(12.0), 0.5);
}

TEST(Summary, AgreesWithTheObviousComputation) {
  for (const std::uint64_t rows : {1U, 2U, 7U, 31U, 64U, 1000U, 50'000U}) {
    const Trades trades = Trades::generate(rows, rows);
    for (std::size_t symbol = 0; symbol < kSymbols.size(); ++symbol) {
      const std::size_t wanted[] = {symbol};
      for (const int passes : {1, 2, kProc1Passes}) {
        SCOPED_TRACE(::testing::Message()
                     << rows << " rows, symbol " << symbol << ", passes " << passes);
        const std::vector<Summary> got = summarise(trades, wanted, passes);
        if (trades.rows(symbol).price.empty()) {
          EXPECT_TRUE(got.empty());
          continue;
        }
        ASSERT_EQ(got.size(), 1U);
        const Summary expected = reference(trades.rows(symbol));
        if (std::isnan(expected.vwap)) {
          EXPECT_TRUE(std::isnan(got[0].vwap));
        } else {
          expect_near(got[0], expected);
        }
      }
    }
  }
}

class ApiTest : public ::testing::Test {
 protected:
  Value call(const std::string& name, std::vector<Value> arguments) {
    for (auto& [known, function] : api(trades_)) {
      if (known == name) {
        return function(arguments);
      }
    }
    return Value::error("not there");
  }
  Trades trades_ = Trades::generate(5'000, 11);
};

TEST_F(ApiTest, Proc1GivesTheColumnsOfTheQuickstart) {
  const Value result = call("proc1", {Value::symbol("IBM")});
  ASSERT_TRUE(result.is_table());
  const std::vector<std::string> names(result.names().begin(), result.names().end());
  EXPECT_EQ(names, (std::vector<std::string>{"SYM", "MAX", "MIN", "OPEN", "CLOSE", "AVG", "VWAP",
                                             "DEV", "VAR"}));
  EXPECT_EQ(syms_of(result), std::vector<std::string>{"IBM"});
  EXPECT_EQ(result.column("SYM")->attribute(), kdb::Attribute::sorted);
  const Summary expected = reference(trades_.rows(*symbol_index("IBM")));
  EXPECT_EQ(result.column("OPEN")->items<double>()[0], expected.open);
  EXPECT_EQ(result.column("CLOSE")->items<double>()[0], expected.close);
  EXPECT_NEAR(result.column("VWAP")->items<double>()[0], expected.vwap, 1e-9);
  EXPECT_NEAR(result.column("DEV")->items<double>()[0], expected.dev, 1e-9);
}

TEST_F(ApiTest, SymbolsAscendAndRepetitionsAndUnknownOnesAddNothing) {
  const Value result = call("proc1", {Value::symbols({"VOD", "nobody", "AAPL", "VOD", "UBS", "",
                                                      "BA", "GS", "MSFT", "GOOG", "IBM"})});
  EXPECT_EQ(syms_of(result),
            (std::vector<std::string>{"AAPL", "BA", "GOOG", "GS", "IBM", "MSFT", "UBS", "VOD"}));
}

TEST_F(ApiTest, NoKnownSymbolGivesAnEmptyTableWithItsTypes) {
  for (const Value& nobody : {Value::symbol("nobody"), Value::symbols({})}) {
    const Value result = call("proc1", {nobody});
    ASSERT_TRUE(result.is_table());
    EXPECT_EQ(result.count(), 0U);
    EXPECT_EQ(result.column("SYM")->type_code(), 11);
    EXPECT_EQ(result.column("VAR")->type_code(), 9);
  }
}

TEST_F(ApiTest, Proc2GivesWhatProc1Gives) {
  const Value one = call("proc1", {Value::symbols({"GS", "IBM"})});
  const Value two = call("proc2", {Value::symbols({"GS", "IBM"})});
  ASSERT_EQ(one.count(), 2U);
  ASSERT_EQ(two.names().size(), one.names().size());
  for (std::size_t column = 1; column < one.names().size(); ++column) {
    for (std::size_t row = 0; row < 2; ++row) {
      EXPECT_NEAR(one.columns()[column].items<double>()[row],
                  two.columns()[column].items<double>()[row], 1e-9);
    }
  }
}

TEST_F(ApiTest, WrongTypeIsTheErrorType) {
  for (const Value& wrong :
       {Value::long_atom(1), Value::chars("IBM"), Value::null(), Value::floats({1.0}),
        Value::list({Value::symbol("IBM"), Value::long_atom(1)}), Value::empty(kdb::Type::list),
        Value::dict(Value::symbols({"a"}), Value::longs({1}))}) {
    EXPECT_EQ(error_of(call("proc1", {wrong})), "type") << static_cast<int>(wrong.type_code());
    EXPECT_EQ(error_of(call("proc2", {wrong})), "type") << static_cast<int>(wrong.type_code());
  }
}

TEST_F(ApiTest, WrongNumberOfArgumentsIsTheErrorRank) {
  for (const char* name : {"echo", "proc1", "proc2"}) {
    EXPECT_EQ(error_of(call(name, {})), "rank") << name;
    EXPECT_EQ(error_of(call(name, {Value::symbol("GS"), Value::symbol("GS")})), "rank") << name;
  }
}

TEST_F(ApiTest, EchoReturnsItsArgument) {
  const Value table = Value::table({"a"}, {Value::longs({1, 2})});
  EXPECT_EQ(call("echo", {table}), table);
  EXPECT_EQ(call("echo", {Value::null()}), Value::null());
}

}  // namespace
}  // namespace mserve::demo
