// SPDX-License-Identifier: Apache-2.0
// A route plugin: what it is shown of a request, and what becomes of its answers.
#include "plugin/route_plugin.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "line.hpp"

namespace mserve::test {
namespace {

/// A plugin that writes down what it is shown and answers what the test says.
struct Shown {
  static inline std::string call;    // NOLINT: the table's function is a free one
  static inline std::string answer;  // NOLINT: as above
  static inline std::uint32_t size = 0;

  static std::string text_of(const mserve_text& text) {
    EXPECT_NE(text.data, nullptr);
    return std::string(text.data, text.size);
  }
  static std::uint32_t route(const mserve_call* call_shown, char* out, std::uint32_t capacity) {
    EXPECT_EQ(call_shown->size, sizeof(mserve_call));
    EXPECT_EQ(capacity, MSERVE_ROUTE_BYTES_MAX);
    call = text_of(call_shown->user) + ": " + text_of(call_shown->function);
    for (std::uint32_t i = 0; i < call_shown->argument_count; ++i) {
      call += "|" + text_of(call_shown->arguments[i]);
    }
    std::memcpy(out, answer.data(), answer.size());
    return size;
  }
  static broker::PluginRoute ask(const std::string& query, const std::string& said,
                                 std::uint32_t claimed) {
    call.clear();
    answer = said;
    size = claimed;
    static constexpr mserve_route_table kTable{sizeof(mserve_route_table), MSERVE_PLUGIN_ABI,
                                               "shown", route};
    return broker::route_of(kTable, kdb::encode(text(query)), "bob");
  }
  static broker::PluginRoute ask(const std::string& query, const std::string& said) {
    return ask(query, said, static_cast<std::uint32_t>(said.size()));
  }
};

TEST(RoutePlugin, SeesFunctionArgumentsAndUser) {
  const auto found = Shown::ask("quotes[`IBM;2024.01.03;::]", "2024.01");
  EXPECT_EQ(Shown::call, "bob: quotes|IBM|2024.01.03|");
  EXPECT_FALSE(found.fault);
  EXPECT_EQ(found.route, kdb::route_of_text("2024.01")) << "as a client's own route of that text";
  (void)Shown::ask("f[1;2;3;4;5;6;7;8;9]", "");
  EXPECT_EQ(Shown::call, "bob: f|1|2|3|4|5|6|7|8");
  (void)Shown::ask("f .z.d", "x");
  EXPECT_EQ(Shown::call, "bob: f");
}

TEST(RoutePlugin, DoesNotHearOfWhatIsNoCall) {
  const auto found = Shown::ask("1+1", "x");
  EXPECT_EQ(Shown::call, "");
  EXPECT_EQ(found.route, kdb::Route{});
  EXPECT_FALSE(found.fault);
}

TEST(RoutePlugin, AWrongAnswerIsNoRoute) {
  EXPECT_EQ(Shown::ask("f 1", "").route, kdb::Route{});
  EXPECT_FALSE(Shown::ask("f 1", "").fault);
  const std::string longest(MSERVE_ROUTE_BYTES_MAX, 'x');
  EXPECT_EQ(Shown::ask("f 1", longest).route.text, longest);
  for (const std::uint32_t claimed : {MSERVE_ROUTE_BYTES_MAX + 1, UINT32_MAX}) {
    const auto found = Shown::ask("f 1", longest, claimed);
    EXPECT_TRUE(found.fault) << claimed;
    EXPECT_EQ(found.route, kdb::Route{}) << claimed;
  }
  const auto zero = Shown::ask("f 1", std::string("a\0b", 3));
  EXPECT_TRUE(zero.fault);
  EXPECT_EQ(zero.route, kdb::Route{});
}

TEST(RoutePlugin, TakesTheRulesPlaceAndFaultsAreCounted) {
  static constexpr mserve_route_table kTable{sizeof(mserve_route_table), MSERVE_PLUGIN_ABI, "shown",
                                             Shown::route};
  LineSetup setup;
  setup.settings.route_plugin = &kTable;
  Line line(setup);
  Shown::answer = "left";
  Shown::size = 4;
  line.async(list({Value::int_atom(1), text("proc1 `IBM")}));
  const auto request = line.plane.take();
  EXPECT_EQ(Shown::call, "bob: proc1|IBM");
  EXPECT_EQ(request.head.aux, kdb::route_of_text("left").hash);
  ASSERT_TRUE(line.plane.answer(request.head.id, kdb::encode(Value::long_atom(1))));
  EXPECT_EQ(line.read_one().value.at(2).find("route"), Value::symbol("left"));
  Shown::size = MSERVE_ROUTE_BYTES_MAX + 1;
  line.sync("proc1 `IBM");
  EXPECT_EQ(line.plane.take().head.aux, 0U);
  EXPECT_EQ(line.context->counters.misrouted->get(), 1U);
}

}  // namespace
}  // namespace mserve::test
