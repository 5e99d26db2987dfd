// SPDX-License-Identifier: Apache-2.0
// Servant where there is no broker; with one it is tested in tests/system.
#include "mserve/servant/servant.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace mserve::servant {
namespace {

/// A rendezvous directory of our own, in which nobody listens.
class ServantTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/mserve-servant-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  Options options() const {
    Options o;
    o.directory = directory_;
    o.broker = "nobody";
    return o;
  }
  std::string directory_;
};

TEST_F(ServantTest, WithoutReconnectRunReturnsWhyThereIsNoSession) {
  Options o = options();
  o.reconnect = false;
  Servant servant(o);
  EXPECT_EQ(servant.run().code, Errc::no_broker);
  EXPECT_FALSE(servant.attached());
  EXPECT_EQ(servant.number(), 0U);
}

TEST_F(ServantTest, StopBeforeRunMakesRunReturnAtOnce) {
  Servant servant(options());
  servant.stop();
  EXPECT_EQ(servant.run().code, Errc::ok);
}

TEST_F(ServantTest, StopEndsTheWaitForABrokerAndTheFailureIsReportedOnce) {
  Options o = options();
  o.retry_ns_min = 1'000'000;
  o.retry_ns_max = 1'000'000;
  Servant servant(o);
  std::vector<Event> events;
  servant.set_events([&](Event event, std::string_view text) {
    events.push_back(event);
    EXPECT_FALSE(text.empty());
    EXPECT_EQ(text.find('\n'), std::string_view::npos);
  });
  int attempts = 0;
  for (; attempts < 1000 && events.empty(); ++attempts) {
    EXPECT_EQ(servant.poll_once(), Errc::not_attached);
  }
  std::thread stopper([&] { servant.stop(); });
  EXPECT_EQ(servant.run().code, Errc::ok);
  stopper.join();
  EXPECT_EQ(events, std::vector<Event>{Event::unreachable});
}

TEST_F(ServantTest, InvalidOptionsEndRunEvenWithReconnect) {
  Options o = options();
  o.credit = 0;
  Servant servant(o);
  EXPECT_EQ(servant.poll_once(), Errc::invalid);
  EXPECT_EQ(servant.run().code, Errc::invalid);
}

TEST(ServantOptions, DefaultsAreValid) {
  EXPECT_EQ(Options{}.validate(), "");
}

TEST(ServantOptions, AWeightThatIsNoneIsAFault) {
  Options o;
  o.tags = "gpu weight=3";
  EXPECT_EQ(o.validate(), "");
  o.tags = "weight=3 weight=heavy";
  EXPECT_EQ(o.validate(), "tags: weight= takes a whole number from 1 to 1000.\n");
}

TEST(ServantOptions, ReportsEveryFaultAtOnce) {
  Options o;
  o.broker = "../x";
  o.name = std::string(32, 'n');
  o.tags = "a\nb";
  o.credit = 4097;
  o.tier = 4;
  o.ring_bytes = 5000;
  o.attach_ns_max = 0;
  o.retry_ns_min = 2;
  o.retry_ns_max = 1;
  const std::string faults = o.validate();
  for (const char* word : {"broker:", "name:", "tags:", "tier:", "credit:", "ring_bytes:",
                           "attach_ns_max:", "retry_ns_min:"}) {
    EXPECT_NE(faults.find(word), std::string::npos) << word;
  }
}

}  // namespace
}  // namespace mserve::servant
