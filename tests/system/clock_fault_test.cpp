// SPDX-License-Identifier: Apache-2.0
// A wall clock that leaps, and a machine whose time-stamp counter is no clock: deadlines hold.
#include <gtest/gtest.h>

#include "support/requests.hpp"
#include "support/sanitized.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

/// What must hold whatever the clocks do: a request with all the time in the world is answered, one
/// without is told so, and a connection that is idle or late is closed when it should be.
void expect_that_deadlines_hold(BrokerSetup setup) {
  for (const char* const arg : {"--queue-timeout", "20ms"}) {
    setup.args.emplace_back(arg);
  }
  const Broker broker(setup);
  RawPeer servant = raw_servant(broker, "byhand");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  constexpr std::uint64_t kHour = 3'600'000'000'000;
  for (int i = 0; i < 20; ++i) {
    const std::uint64_t runs = send_opaque(client, pattern(10), {.run_ns_max = kHour});
    const auto request = servant.take();
    ASSERT_TRUE(request);
    const std::uint64_t waits = send_opaque(client, pattern(10));
    EXPECT_EQ(await(client, waits).status, Errc::queue_timeout);
    EXPECT_TRUE(servant.reply(request->header.id, pattern(10)));
    EXPECT_EQ(await(client, runs).status, Errc::ok);
  }
  EXPECT_EQ(broker.counter("overruns"), 0U);
  EXPECT_EQ(broker.counter("queue_timeouts"), 20U);
  RawClient kdb = connect(broker);
  ASSERT_TRUE(kdb.send(text("x"), MessageKind::sync));
  const auto request = servant.take();
  ASSERT_TRUE(request);
  EXPECT_TRUE(answer(servant, request->header.id, kdb::encode(Value::long_atom(1))));
  EXPECT_EQ(kdb.receive()->value, Value::long_atom(1));
  EXPECT_EQ(broker.counter("sessions"), 3U) << "nobody was suspected or forgotten";
}

TEST(ClockFault, AWallClockThatLeapsByYearsChangesNoDeadline) {
  if (kSanitized) {
    GTEST_SKIP() << "a sanitizer wants to be loaded first; the other builds run this";
  }
  BrokerSetup setup = with_gateway({"--idle-timeout", "60m"}, 0);
  setup.env = {{"LD_PRELOAD", MSERVE_TEST_PLUGIN_DIR "/wall_clock.so"}};
  expect_that_deadlines_hold(setup);
}

TEST(ClockFault, WithoutTheTimeStampCounterTheKernelsClockServes) {
  expect_that_deadlines_hold(with_gateway({"--clock", "system"}, 0));
}

TEST(ClockFault, TheLogSaysWhichClockIsUsed) {
  const Broker automatic;
  const std::string source =
      read_file("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  EXPECT_FALSE(
      automatic.wait_for_log(source == "tsc\n" ? "clock source=" : "clock source=system").empty());
  const Broker system(BrokerSetup{.args = {"--clock", "system"}});
  EXPECT_FALSE(system.wait_for_log("clock source=system").empty());
}

}  // namespace
}  // namespace mserve::test
