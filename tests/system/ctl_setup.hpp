// SPDX-License-Identifier: Apache-2.0
// mserve-stat, as tests call it.
#pragma once

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "support/broker_process.hpp"
#include "support/process.hpp"
#include "support/wait.hpp"

namespace mserve::test {

/// Runs mserve-stat to its end.
inline Output stat(const Broker& broker, std::vector<std::string> args) {
  args.insert(args.begin(), program("mserve-stat"));
  return run_to_end(std::move(args), broker.env());
}

/// `mserve-stat ctl VERB TARGET`, which must work.
inline void ctl(const Broker& broker, const std::string& verb, const std::string& target) {
  const Output output = stat(broker, {"ctl", verb, target});
  EXPECT_EQ(output.exit_code, 0) << verb << ' ' << target << ": " << output.err;
}

/// The rows of a table that it prints as JSON.
inline boost::json::array rows_of(const Broker& broker, std::vector<std::string> args) {
  args.emplace_back("--json");
  const Output output = stat(broker, std::move(args));
  EXPECT_EQ(output.exit_code, 0) << output.err;
  return output.exit_code == 0 ? boost::json::parse(output.out).as_array() : boost::json::array();
}

inline std::string text_in(const boost::json::value& row, const char* column) {
  return std::string(row.at(column).as_string());
}

/// The row of the servant called `name`; null when there is none.
inline boost::json::value servant_row(const Broker& broker, const std::string& name) {
  for (boost::json::value& row : rows_of(broker, {"servants"})) {
    if (text_in(row, "name") == name) {
      return row;
    }
  }
  return {};
}

/// Its number, as a target.
inline std::string number_of(const Broker& broker, const std::string& name) {
  const boost::json::value row = servant_row(broker, name);
  EXPECT_FALSE(row.is_null()) << name << " is not attached";
  return row.is_null() ? "0" : std::to_string(row.at("number").as_int64());
}

inline std::string state_in(const Broker& broker, const std::string& name) {
  const boost::json::value row = servant_row(broker, name);
  return row.is_null() ? "gone" : text_in(row, "state");
}

inline void wait_for_state(const Broker& broker, const std::string& name,
                           const std::string& state) {
  EXPECT_TRUE(wait_until([&] { return state_in(broker, name) == state; }, name + " to be " + state))
      << state_in(broker, name);
}

}  // namespace mserve::test
