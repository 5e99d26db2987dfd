// SPDX-License-Identifier: Apache-2.0
#include "mserve/client/options.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "mserve/client/client.hpp"

namespace mserve {
namespace {

TEST(ClientOptions, DefaultsAreValid) {
  EXPECT_EQ(ClientOptions{}.validate(), "");
}

TEST(ClientOptions, EveryFaultIsReportedAtOnce) {
  ClientOptions options;
  options.broker = "tcp://host";
  options.user = "a:b";
  options.name = "white space";
  options.ring_bytes = 5000;
  options.unread_bytes_max = 0;
  options.in_flight_max = 0;
  options.attach_ns_max = 0;
  options.reattach_ns_max = 0;
  options.retry_ns_min = 2;
  options.retry_ns_max = 1;
  options.connect_ns_max = 0;
  options.return_ns = 0;
  options.resend_ns_max = 0;
  const std::string faults = options.validate();
  EXPECT_EQ(std::count(faults.begin(), faults.end(), '\n'), 11) << faults;
}

TEST(Client, ConnectRefusesWhatTheOptionsForbidWithAReason) {
  ClientOptions options;
  options.broker = "one,two";
  std::string reason;
  const auto client = Client::connect(options, &reason);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, Errc::invalid);
  EXPECT_NE(reason.find("broker:"), std::string::npos);
}

TEST(Client, ConnectSaysThatNobodyListens) {
  ClientOptions options;
  options.directory = "/nonexistent-directory-of-this-test";
  std::string reason;
  const auto client = Client::connect(options, &reason);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, Errc::no_broker);
  EXPECT_FALSE(reason.empty());
}

TEST(Client, DeadlinesAreAbsoluteAndNeverZero) {
  EXPECT_GT(deadline_after(std::chrono::nanoseconds(0)), 0U);
  EXPECT_GT(deadline_after(std::chrono::seconds(1)), deadline_after(std::chrono::seconds(-1)));
  EXPECT_GT(deadline_after(std::chrono::nanoseconds::max()), deadline_after(std::chrono::hours(1)));
}

}  // namespace
}  // namespace mserve
