// SPDX-License-Identifier: Apache-2.0
#include "shim/peer_options.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/value.hpp"
#include "support/request_options.hpp"

namespace mserve::shim {
namespace {

using kdb::Value;
using test::options;

/// What the peer is told; `::` when that is nothing.
Value told(const std::optional<Value>& given, const PeerTerms& terms, bool repeatable = true) {
  const std::vector<std::byte> encoded = given ? kdb::encode(*given) : std::vector<std::byte>();
  const auto made = peer_options(encoded, terms, repeatable);
  const auto value = made ? kdb::decode(*made) : kdb::decode(kdb::encode(Value::null()));
  return value ? *value : Value::error("not an object");
}

TEST(PeerOptions, WithoutAnythingTheyAreTheHop) {
  EXPECT_EQ(told(std::nullopt, {}), options({"hop"}, {Value::long_atom(1)}));
  EXPECT_EQ(told(Value::dict(Value::list({}), Value::list({})), {}),
            options({"hop"}, {Value::long_atom(1)}));
}

TEST(PeerOptions, WhatTheClientSaysOfItselfIsDropped) {
  const Value given = options({"hop", "a", "user", "role", "b"},
                              {Value::long_atom(0), Value::chars("x"), Value::symbol("root"),
                               Value::symbol("all"), Value::float_atom(2)});
  EXPECT_EQ(told(given, {}), options({"a", "b", "hop"}, {Value::chars("x"), Value::float_atom(2),
                                                         Value::long_atom(1)}));
  EXPECT_EQ(told(given, {.deadline = {}, .vouched = true}),
            options({"a", "b", "user", "role", "hop"},
                    {Value::chars("x"), Value::float_atom(2), Value::symbol("root"),
                     Value::symbol("all"), Value::long_atom(1)}));
  // The broker's own words are symbols; anything else is none of them.
  EXPECT_EQ(told(options({"user"}, {Value::symbols({"root"})}), {.deadline = {}, .vouched = true}),
            options({"hop"}, {Value::long_atom(1)}));
}

TEST(PeerOptions, TimesArePassedOnAndNobodyWaitsLongerThanItMayRun) {
  const Value given = options({"timeout", "queue_timeout", "priority"},
                              {Value::long_atom(5), Value::long_atom(6), Value::long_atom(3)});
  EXPECT_EQ(told(given, {.deadline = {.queue_ns = 900, .run_ns = 700}, .priority = 3}),
            options({"hop", "timeout", "queue_timeout", "priority"},
                    {Value::long_atom(1), Value::timespan(700), Value::timespan(700),
                     Value::long_atom(3)}));
  EXPECT_EQ(told(given, {.deadline = {.queue_ns = 900, .run_ns = 0}}),
            options({"hop", "queue_timeout"}, {Value::long_atom(1), Value::timespan(900)}));
  EXPECT_EQ(told(given, {.deadline = {.queue_ns = UINT64_MAX, .run_ns = UINT64_MAX}}),
            options({"hop"}, {Value::long_atom(1)}));
}

TEST(PeerOptions, WhatMayNotRunTwiceSaysSo) {
  const Value given = options({"repeatable"}, {Value::boolean(true)});
  EXPECT_EQ(told(given, {}, false),
            options({"hop", "repeatable"}, {Value::long_atom(1), Value::boolean(false)}));
  EXPECT_EQ(told(given, {}, true), options({"hop"}, {Value::long_atom(1)}));
}

TEST(PeerOptions, OddOnesAreForgottenAndLongOnesRefused) {
  const Value table = Value::table({"x"}, {Value::longs({1, 2})});
  const Value hop = options({"hop"}, {Value::long_atom(1)});
  EXPECT_EQ(told(Value::dict(Value::symbols({"a", "b"}), table), {}), hop);
  EXPECT_EQ(told(Value::dict(table, table), {}), hop);
  EXPECT_EQ(told(Value::dict(Value::list({Value::chars("user")}), Value::longs({1})), {}), hop);
  EXPECT_EQ(told(Value::dict(Value::symbols({"user", "x"}), Value::symbols({"root", "y"})), {}),
            options({"x", "hop"}, {Value::symbol("y"), Value::long_atom(1)}));
  EXPECT_TRUE(told(Value::long_atom(1), {}).is_null());
  EXPECT_TRUE(told(options({"x"}, {Value::chars(std::string(65'510, 'x'))}), {}).is_null());
  EXPECT_TRUE(told(options({"x"}, {Value::chars(std::string(70'000, 'x'))}), {}).is_null());
  EXPECT_FALSE(told(options({"x"}, {Value::chars(std::string(65'000, 'x'))}), {}).is_null());
}

}  // namespace
}  // namespace mserve::shim
