// SPDX-License-Identifier: Apache-2.0
#include "gateway/told.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "support/request_options.hpp"

namespace mserve::broker {
namespace {

using kdb::Value;
using mserve::test::options;

TEST(Told, AHopIsAWholeNumberAboveZero) {
  for (const Value& hop : {Value::byte(1), Value::short_atom(1), Value::int_atom(7),
                           Value::long_atom(1), Value::long_atom(INT64_MAX)}) {
    EXPECT_TRUE(tells_hop(options({"a", "hop"}, {Value::null(), hop})));
  }
  for (const Value& hop :
       {Value::long_atom(0), Value::long_atom(-1), Value::long_atom(kdb::kNullLong),
        Value::boolean(true), Value::float_atom(1), Value::timespan(1), Value::symbol("1"),
        Value::chars("1"), Value::longs({1}), Value::list({}), Value::null()}) {
    EXPECT_FALSE(tells_hop(options({"hop"}, {hop}))) << int{hop.type_code()};
  }
  EXPECT_FALSE(tells_hop(options({"Hop"}, {Value::long_atom(1)})));
  EXPECT_FALSE(tells_hop(Value::dict(Value::list({Value::chars("hop")}), Value::longs({1}))));
  EXPECT_FALSE(tells_hop(Value::long_atom(1)));
}

TEST(Told, WhoAskedIsTwoSymbols) {
  const ToldCaller nobody = told_caller(options({"hop"}, {Value::long_atom(1)}));
  EXPECT_FALSE(nobody.told);
  EXPECT_EQ(nobody.fault, "");
  const ToldCaller ken =
      told_caller(options({"user", "role"}, {Value::symbol("ken"), Value::symbol("")}));
  EXPECT_TRUE(ken.told);
  EXPECT_EQ(ken.user, "ken");
  EXPECT_EQ(ken.role, "");
}

TEST(Told, WhatIsNoNameIsAFault) {
  const Value ken = Value::symbol("ken");
  for (const Value& other : {Value::chars("ken"), Value::symbols({"ken"}), Value::long_atom(1),
                             Value::null(), Value::list({ken})}) {
    EXPECT_NE(told_caller(options({"user", "role"}, {other, ken})).fault, "");
    EXPECT_NE(told_caller(options({"role", "user"}, {other, ken})).fault, "");
  }
  EXPECT_NE(told_caller(options({"user"}, {ken})).fault, "");
  EXPECT_NE(told_caller(options({"role"}, {ken})).fault, "");
  const Value longest = Value::symbol(std::string(256, 'x'));
  const Value longer = Value::symbol(std::string(257, 'x'));
  EXPECT_EQ(told_caller(options({"user", "role"}, {longest, longest})).fault, "");
  EXPECT_EQ(told_caller(options({"user", "role"}, {longer, ken})).fault, "limit");
  EXPECT_EQ(told_caller(options({"user", "role"}, {ken, longer})).fault, "limit");
}

}  // namespace
}  // namespace mserve::broker
