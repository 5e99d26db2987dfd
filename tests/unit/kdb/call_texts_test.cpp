// SPDX-License-Identifier: Apache-2.0
// What a plugin is shown of a call: the same texts that the rules show.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::kdb {
namespace {

constexpr std::size_t kArgumentsMax = 8;

std::vector<std::byte> text(std::string_view query) {
  return encode(Value::chars(std::string(query)));
}

/// Function and arguments in one line; "-" where there is no call.
std::string shown(std::span<const std::byte> object, std::size_t arguments_max = kArgumentsMax) {
  const auto texts = call_texts(object, arguments_max);
  if (!texts) {
    return "-";
  }
  std::string line = texts->function;
  for (const std::string& argument : texts->arguments) {
    line += "|" + argument;
  }
  return line;
}

TEST(CallTexts, TextAndListFormAgree) {
  const std::string expected = "quotes|IBM|2024.01.01 2024.01.31|1.5|`a`b";
  EXPECT_EQ(shown(text("quotes[`IBM;2024.01.01 2024.01.31;1.5;`a`b]")), expected);
  EXPECT_EQ(shown(text("(`quotes;\"IBM\";2024.01.01 2024.01.31;1.5;`a`b)")), expected);
  const Value dates = Value::dates({8766, 8796});
  EXPECT_EQ(shown(encode(Value::list({Value::symbol("quotes"), Value::symbol("IBM"), dates,
                                      Value::float_atom(1.5), Value::symbols({"a", "b"})}))),
            expected);
  EXPECT_EQ(shown(encode(Value::symbols({"quotes", "IBM", "GS"}))), "quotes|IBM|GS");
}

TEST(CallTexts, AreThoseOfTheRules) {
  const std::string long_name(100, 'f');
  const std::string long_text(100, 'x');
  for (const std::vector<std::byte>& query :
       {text("f"), text("f[]"), text("f[`;\"\";::;(1;`a);([]a:1 2)]"), text("f .z.d"),
        text("f `a`b!1 2"), text("select from t"), text("1+1"), text("{x}[1]"), text(""),
        text(long_name + " `IBM"), text("f \"" + long_text + "\""), encode(Value::symbol("f")),
        encode(Value::symbols({"f", "", "b"})), encode(Value::long_atom(1)),
        encode(Value::list({Value::chars("f"), Value::longs(std::vector<std::int64_t>(9999, 1)),
                            Value::symbol("b")})),
        encode(Value::list({Value::chars("{x}"), Value::symbol("a")})),
        encode(Value::list({Value::long_atom(1), Value::symbol("a")})), std::vector<std::byte>{}}) {
    const auto texts = call_texts(query, kArgumentsMax);
    const Route function = route_of(query, *parse_rule("fn"));
    ASSERT_EQ(texts.has_value(), function.hash != 0);
    if (!texts) {
      continue;
    }
    EXPECT_EQ(texts->function, function.text);
    for (std::size_t i = 0; i < kArgumentsMax; ++i) {
      const Route route = route_of(query, *parse_rule("arg:" + std::to_string(i + 1)));
      EXPECT_EQ(i < texts->arguments.size() ? texts->arguments[i] : "", route.text)
          << texts->function << ' ' << i;
    }
  }
}

TEST(CallTexts, NoMoreArgumentsThanAskedFor) {
  EXPECT_EQ(shown(text("f[`a;`b;`c]"), 2), "f|a|b");
  EXPECT_EQ(shown(encode(Value::symbols({"f", "a", "b", "c"})), 2), "f|a|b");
  EXPECT_EQ(shown(text("f[`a;`b;`c]"), 0), "f");
}

TEST(CallTexts, OfABeginningWhatIsThere) {
  std::vector<std::byte> query =
      encode(Value::list({Value::symbol("f"), Value::symbol("IBM"), Value::chars("0123456789")}));
  query.resize(query.size() - 3);
  EXPECT_EQ(shown(query), "f|IBM");
  query.resize(7);
  EXPECT_EQ(shown(query), "-");
}

}  // namespace
}  // namespace mserve::kdb
