// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/print.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "samples.hpp"

namespace {

using namespace mserve::kdb;
using mserve::test::bytes_of;

TEST(Text, AtomsCarryTheirTypes) {
  EXPECT_EQ(text(Value::boolean(true)), "1b");
  EXPECT_EQ(text(Value::byte(10)), "0x0a");
  EXPECT_EQ(text(Value::short_atom(42)), "42h");
  EXPECT_EQ(text(Value::int_atom(kNullInt)), "0Ni");
  EXPECT_EQ(text(Value::long_atom(-kInfLong)), "-0W");
  EXPECT_EQ(text(Value::real(1.5F)), "1.5e");
  EXPECT_EQ(text(Value::float_atom(1)), "1f");
  EXPECT_EQ(text(Value::float_atom(0.1)), "0.1");
  EXPECT_EQ(text(Value::float_atom(kNullFloat)), "0n");
  EXPECT_EQ(text(Value::float_atom(3.141592653589793)), "3.141592653589793");
  EXPECT_EQ(text(Value::char_atom('a')), "\"a\"");
  EXPECT_EQ(text(Value::symbol("IBM")), "`IBM");
  EXPECT_EQ(text(Value::symbol("a b")), "`$\"a b\"");
  EXPECT_EQ(text(Value::date(8825)), "2024.02.29");
  EXPECT_EQ(text(Value::date(kNullInt)), "0Nd");
  EXPECT_EQ(text(Value::month(289)), "2024.02m");
  EXPECT_EQ(text(Value::timestamp(762525296123456789)), "2024.02.29D12:34:56.123456789");
  EXPECT_EQ(text(Value::timespan(-1)), "-0D00:00:00.000000001");
  EXPECT_EQ(text(Value::datetime(8825.5)), "2024.02.29T12:00:00.000");
  EXPECT_EQ(text(Value::minute(754)), "12:34");
  EXPECT_EQ(text(Value::second(45296)), "12:34:56");
  EXPECT_EQ(text(Value::time(45296789)), "12:34:56.789");
  EXPECT_EQ(text(Value::null()), "::");
  EXPECT_EQ(text(Value::error("type")), "'type");
}

TEST(Text, VectorsCarryOneTypeForAll) {
  EXPECT_EQ(text(Value::floats({1, 2, 3})), "1 2 3f");
  EXPECT_EQ(text(Value::floats({1, 2.5})), "1 2.5");
  EXPECT_EQ(text(Value::ints({1, 2})), "1 2i");
  EXPECT_EQ(text(Value::booleans({0, 1, 0})), "010b");
  EXPECT_EQ(text(Value::bytes({1, 2})), "0x0102");
  EXPECT_EQ(text(Value::symbols({"a", "b", "c"})), "`a`b`c");
  EXPECT_EQ(text(Value::chars("abc")), "\"abc\"");
  EXPECT_EQ(text(Value::longs({1})), ",1");
  EXPECT_EQ(text(Value::chars("x")), ",\"x\"");
  EXPECT_EQ(text(Value::longs({})), "`long$()");
  EXPECT_EQ(text(Value::chars("")), "\"\"");
  EXPECT_EQ(text(Value::dates({8825, kNullInt})), "2024.02.29 0Nd");
  EXPECT_EQ(text(Value::dates({kNullInt, 8825})), "0N 2024.02.29");
  EXPECT_EQ(text(Value::months({288, 289})), "2024.01 2024.02m");
  EXPECT_EQ(text(Value::longs({1, 2}).with_attribute(Attribute::sorted)), "`s#1 2");
}

TEST(Text, CompoundsAreWrittenAsKWouldReadThem) {
  EXPECT_EQ(text(Value::list({})), "()");
  EXPECT_EQ(text(Value::list({Value::long_atom(1), Value::symbol("a")})), "(1;`a)");
  EXPECT_EQ(text(Value::list({Value::longs({1, 2})})), ",1 2");
  EXPECT_EQ(text(Value::dict(Value::symbols({"a", "b"}), Value::longs({1, 2}))), "`a`b!1 2");
  EXPECT_EQ(text(Value::dict(Value::symbols({"a"}), Value::longs({1}))), "(,`a)!,1");
  EXPECT_EQ(text(Value::table({"a", "b"}, {Value::longs({1, 2}), Value::symbols({"x", "y"})})),
            "+`a`b!(1 2;`x`y)");
  EXPECT_EQ(text(Value::table({"a"}, {Value::longs({1})})), "+(,`a)!,,1");
  EXPECT_EQ(text(Value::keyed_table(Value::table({"a"}, {Value::longs({1, 2})}),
                                    Value::table({"b"}, {Value::longs({3, 4})}))),
            "(+(,`a)!,1 2)!+(,`b)!,3 4");
}

TEST(Text, FunctionsAreShownAsKWritesThem) {
  EXPECT_EQ(text(*Value::function(bytes_of({100, 0, 10, 0, 5, 0, 0, 0, '{', 'x', '+', 'y', '}'}))),
            "{x+y}");
  EXPECT_EQ(text(*Value::function(bytes_of({102, 5}))), "&");
  EXPECT_EQ(text(*Value::function(bytes_of({101, 15}))), "~:");
  EXPECT_EQ(text(*Value::function(bytes_of({0x6b, 0x66, 0x0c}))), ",/");
  EXPECT_EQ(text(*Value::function(bytes_of({104, 3, 0, 0, 0, 102, 1, 101, 255, 0xfa, 3, 0, 0, 0}))),
            "+[;3i]");
}

TEST(Text, IsCutWithoutWalkingTheRest) {
  const Value large = Value::longs(std::vector<std::int64_t>(1'000'000, 7));
  EXPECT_EQ(text(large, 10), "7 7 7 7 7 ..");
  EXPECT_EQ(text(Value::longs({1, 2}), 3), "1 2");
}

TEST(Show, AtomsAndVectorsAreOneLine) {
  EXPECT_EQ(show(Value::null()), "");
  EXPECT_EQ(show(Value::long_atom(42)), "42\n");
  EXPECT_EQ(show(Value::chars("abc")), "\"abc\"\n");
  EXPECT_EQ(show(Value::symbol("a b")), "`a b\n");
  EXPECT_EQ(show(Value::error("type")), "'type\n");
  EXPECT_EQ(show(Value::list({})), "()\n");
  EXPECT_EQ(show(Value::list({Value::null()})), ",::\n");
}

TEST(Show, FloatsHaveSevenDigitsUnlessAskedOtherwise) {
  EXPECT_EQ(show(Value::float_atom(3.141592653589793)), "3.141593\n");
  EXPECT_EQ(show(Value::float_atom(12345678.9)), "1.234568e+07\n");
  EXPECT_EQ(show(Value::float_atom(1e-5)), "1e-05\n");
  EXPECT_EQ(show(Value::float_atom(0.1), {25, 80, 0}), "0.10000000000000001\n");
  EXPECT_EQ(show(Value::float_atom(3.141592653589793), {25, 80, 3}), "3.14\n");
}

TEST(Show, LinesAreCutThreeShortOfTheWidth) {
  EXPECT_EQ(show(Value::chars("abcdefghijkmlnopqrstuvwxyz"), {10, 20, 7}),
            "\"abcdefghijkmlnop..\n");
  std::vector<std::int64_t> numbers(100);
  std::iota(numbers.begin(), numbers.end(), 0);
  EXPECT_EQ(show(Value::longs(numbers)),
            "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 ..\n");
}

TEST(Show, ListsAreOneItemPerLine) {
  EXPECT_EQ(show(Value::list({Value::long_atom(1), Value::symbol("a"), Value::chars("xy"),
                              Value::longs({1, 2})})),
            "1\n`a\n\"xy\"\n1 2\n");
  EXPECT_EQ(show(Value::list({Value::longs({3, 4}), Value::longs({17, 8})})), "3  4\n17 8\n");
  EXPECT_EQ(show(Value::list({Value::symbols({"a", "bb"}), Value::symbols({"c", "d"})})),
            "a bb\nc d \n");
}

TEST(Show, DictionariesAlignTheirKeys) {
  EXPECT_EQ(show(Value::dict(Value::symbols({"a", "bb"}), Value::longs({1, 200}))),
            "a | 1\nbb| 200\n");
  EXPECT_EQ(show(Value::dict(Value::symbols({"name", "iq"}),
                             Value::list({Value::symbol("Dent"), Value::long_atom(98)}))),
            "name| `Dent\niq  | 98\n");
  EXPECT_EQ(
      show(Value::dict(Value::chars("mi"), Value::list({Value::longs({0}), Value::longs({1, 4})}))),
      "m| ,0\ni| 1 4\n");
  EXPECT_EQ(show(Value::dict(Value::list({}), Value::list({}))), "");
}

TEST(Show, TablesHaveAHeaderAndARule) {
  const Value table = Value::table(
      {"name", "iq"},
      {Value::symbols({"Dent", "Beeblebrox", "Prefect"}), Value::longs({98, 42, 126})});
  EXPECT_EQ(show(table),
            "name       iq \n"
            "--------------\n"
            "Dent       98 \n"
            "Beeblebrox 42 \n"
            "Prefect    126\n");
}

TEST(Show, TableCellsAreBareAndNullsBlank) {
  const Value table = Value::table(
      {"f", "d", "s", "b"},
      {Value::floats({1, kNullFloat}), Value::dates({kNullInt, 8825}),
       Value::list({Value::chars("ab"), Value::longs({1, 2})}), Value::booleans({1, 0})});
  EXPECT_EQ(show(table),
            "f d          s    b\n"
            "-------------------\n"
            "1            \"ab\" 1\n"
            "  2024.02.29 1 2  0\n");
}

TEST(Show, KeyedTablesHaveABar) {
  const Value keyed = Value::keyed_table(
      Value::table({"eid"}, {Value::longs({1001, 1002})}),
      Value::table({"name", "iq"}, {Value::symbols({"Dent", "Prefect"}), Value::longs({98, 126})}));
  EXPECT_EQ(show(keyed),
            "eid | name    iq \n"
            "----| -----------\n"
            "1001| Dent    98 \n"
            "1002| Prefect 126\n");
}

TEST(Show, EmptyTablesShowTheirColumns) {
  EXPECT_EQ(show(Value::table({"a", "bc"}, {Value::longs({}), Value::symbols({})})),
            "a bc\n----\n");
}

TEST(Show, LongTablesAndListsAreCutAtTheHeight) {
  std::vector<std::int64_t> numbers(100);
  std::iota(numbers.begin(), numbers.end(), 0);
  const std::string shown = show(Value::table({"x"}, {Value::longs(numbers)}));
  EXPECT_EQ(std::count(shown.begin(), shown.end(), '\n'), 23);
  EXPECT_TRUE(shown.ends_with("19\n..\n")) << shown;
  const std::string list = show(Value::list(std::vector<Value>(100, Value::symbols({"a"}))));
  EXPECT_EQ(std::count(list.begin(), list.end(), '\n'), 23);
  EXPECT_TRUE(list.ends_with("\n..\n"));
}

TEST(Show, WideTablesAreCutAtTheWidth) {
  std::vector<std::string> names;
  std::vector<Value> columns;
  for (int i = 0; i < 50; ++i) {
    names.push_back("column" + std::to_string(i));
    columns.push_back(Value::longs({i, i}));
  }
  const std::string shown = show(Value::table(names, columns));
  EXPECT_TRUE(shown.starts_with("column0 column1 "));
  for (std::size_t start = 0; start < shown.size();) {
    const std::size_t end = shown.find('\n', start);
    EXPECT_EQ(end - start, 79U);
    EXPECT_EQ(shown.substr(end - 2, 2), "..");
    start = end + 1;
  }
}

TEST(Show, ControlCharactersNeverReachTheTerminal) {
  const Value nasty = Value::table(
      {"a\x1b[2J"}, {Value::list({Value::symbol("\x1b]0;x\x07"), Value::chars("\x1b[31m")})});
  for (const char c : show(nasty) + show(Value::symbol("\x1b[2J")) + show(Value::error("\r\x08")) +
                          text(Value::char_atom('\x1b'))) {
    EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20);
  }
}

TEST(Show, NeitherDoWhatTerminalsObeyAlsoNorWhatTurnsText) {
  const std::string nasty[] = {"\xc2\x9b[2J", "\x9b[2J", "\xe2\x80\xae", "\xe2\x81\xa6",
                               "\xd8\x9c"};
  for (const std::string& bytes : nasty) {
    const Value symbol = Value::symbol(bytes + "x");
    const Value table = Value::table({bytes + "x"}, {Value::list({symbol, Value::chars(bytes)})});
    for (const std::string& shown : {show(table), show(symbol), text(symbol)}) {
      EXPECT_EQ(shown.find(bytes), std::string::npos) << shown;
      EXPECT_NE(shown.find("\\"), std::string::npos) << shown;
    }
  }
  EXPECT_EQ(show(Value::symbol("\x9b")), "`\\233\n");
  EXPECT_EQ(show(Value::symbol("\xc3\xa9\xe2\x82\xac")), "`\xc3\xa9\xe2\x82\xac\n");
}

TEST(Show, EverySampleFitsTheScreen) {
  for (const Value& value : mserve::test::all_samples()) {
    const std::string shown = show(value, {10, 20, 7});
    EXPECT_LE(std::count(shown.begin(), shown.end(), '\n'), 8);
    for (std::size_t start = 0; start < shown.size();) {
      const std::size_t end = shown.find('\n', start);
      EXPECT_LT(end - start, 20U) << shown;
      start = end + 1;
    }
  }
}

}  // namespace
