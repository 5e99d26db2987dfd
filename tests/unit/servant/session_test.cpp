// SPDX-License-Identifier: Apache-2.0
// A Servant with real sockets and segments, opposite a broker small enough to misbehave on purpose.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "fake_broker.hpp"
#include "mserve/servant/servant.hpp"
#include "tiny_broker.hpp"

namespace mserve::servant {
namespace {

using kdb::Value;

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/mserve-servant-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    broker_.emplace(directory_, "tiny");
  }
  void TearDown() override {
    broker_.reset();
    std::filesystem::remove_all(directory_);
  }

  Options options() const {
    Options o;
    o.directory = directory_;
    o.broker = "tiny";
    o.name = "tested";
    o.credit = 2;
    o.idle = shm::IdleStrategy::yield;
    o.retry_ns_min = 1'000'000;
    o.retry_ns_max = 1'000'000;
    return o;
  }

  static void list_functions(Servant& servant) {
    ASSERT_TRUE(servant.add("twice", [](std::span<const Value> args) {
      return Value::long_atom(2 * args[0].integer().value_or(0));
    }));
  }

  /// Attaches `servant` by polling it while the broker shakes hands in a thread of its own.
  void attach(Servant& servant) {
    std::future<Errc> shaken = std::async(std::launch::async, [this] { return broker_->accept(); });
    while (!servant.attached()) {
      const Errc polled = servant.poll_once();
      ASSERT_TRUE(polled == Errc::ok || polled == Errc::not_attached) << to_string(polled);
    }
    ASSERT_EQ(shaken.get(), Errc::ok);
  }

  /// Polls until the session has ended.
  static Errc poll_until_gone(Servant& servant) {
    Errc last = Errc::ok;
    while (servant.attached()) {
      last = servant.poll_once();
    }
    return last;
  }

  bool send_query(std::uint64_t id, const std::string& query) {
    return broker_->send(id, kdb::encode(Value::chars(query)), 0);
  }

  /// Waits for one reply; the test's time-out ends a wait in vain.
  Value reply() {
    shm::FrameView frame;
    while (broker_->from.front(frame) == Errc::empty) {
      std::this_thread::yield();
    }
    const std::vector<std::byte> payload(frame.payload.begin(), frame.payload.end());
    broker_->from.release();
    broker_->from.publish();
    const auto decoded = kdb::decode(payload);
    return decoded ? *decoded : Value::error("no object");
  }

  std::string directory_;
  std::optional<TinyBroker> broker_;
};

TEST_F(SessionTest, SaysWhoItIsAndServesWhenPolled) {
  Servant servant(options());
  list_functions(servant);
  attach(servant);
  EXPECT_EQ(shm::text_of(broker_->hello.name), "tested");
  EXPECT_EQ(broker_->hello.role, shm::Role::servant);
  EXPECT_EQ(broker_->hello.credit, 2U);
  EXPECT_EQ(servant.number(), 3U);
  EXPECT_EQ(servant.poll_once(), Errc::empty);
  ASSERT_TRUE(send_query(1, "twice 21"));
  EXPECT_EQ(servant.poll_once(), Errc::ok);
  EXPECT_EQ(reply(), Value::long_atom(42));
  EXPECT_EQ(servant.poll_once(), Errc::empty);
}

TEST_F(SessionTest, ReportsAttachedAndDetachedWithReasons) {
  Servant servant(options());
  std::vector<Event> events;
  servant.set_events([&](Event event, std::string_view text) {
    events.push_back(event);
    EXPECT_FALSE(text.empty());
  });
  attach(servant);
  broker_->hang_up();
  EXPECT_EQ(poll_until_gone(servant), Errc::not_attached);
  EXPECT_EQ(events, (std::vector<Event>{Event::attached, Event::detached}));
}

TEST_F(SessionTest, AttachesAgainWhenTheBrokerIsBack) {
  Servant servant(options());
  list_functions(servant);
  attach(servant);
  ASSERT_TRUE(send_query(1, "twice 1"));
  EXPECT_EQ(servant.poll_once(), Errc::ok);
  broker_.reset();
  EXPECT_EQ(poll_until_gone(servant), Errc::not_attached);
  broker_.emplace(directory_, "tiny");
  attach(servant);
  ASSERT_TRUE(send_query(2, "twice 4"));
  EXPECT_EQ(servant.poll_once(), Errc::ok);
  EXPECT_EQ(reply(), Value::long_atom(8));
}

TEST_F(SessionTest, WithoutReconnectTheEndOfTheSessionIsDisconnected) {
  Options o = options();
  o.reconnect = false;
  Servant servant(o);
  attach(servant);
  broker_->hang_up();
  EXPECT_EQ(poll_until_gone(servant), Errc::disconnected);
}

TEST_F(SessionTest, DetachesFromABrokerThatBreaksTheProtocolAndComesBack) {
  Servant servant(options());
  list_functions(servant);
  attach(servant);
  for (std::uint64_t id = 1; id <= 3; ++id) {  // credit is 2
    ASSERT_TRUE(send_query(id, "twice 1"));
  }
  EXPECT_EQ(servant.poll_once(), Errc::not_attached);
  EXPECT_FALSE(servant.attached());
  EXPECT_TRUE(broker_->servant_gone());
  attach(servant);
  ASSERT_TRUE(send_query(9, "twice 9"));
  EXPECT_EQ(servant.poll_once(), Errc::ok);
  EXPECT_EQ(reply(), Value::long_atom(18));
}

// Goal: stop() while a function runs lets it finish, and its reply leaves before the socket closes.
TEST_F(SessionTest, StopDuringARequestStillAnswersIt) {
  Servant servant(options());
  std::promise<void> entered;
  std::promise<void> may_return;
  ASSERT_TRUE(servant.add("slow", [&](std::span<const Value>) {
    entered.set_value();
    may_return.get_future().wait();
    return Value::symbol("done");
  }));
  std::future<Errc> shaken = std::async(std::launch::async, [this] { return broker_->accept(); });
  std::future<Error> ended = std::async(std::launch::async, [&] { return servant.run(); });
  ASSERT_EQ(shaken.get(), Errc::ok);
  ASSERT_TRUE(send_query(1, "slow 1"));
  entered.get_future().wait();
  servant.stop();
  may_return.set_value();
  EXPECT_EQ(reply(), Value::symbol("done"));
  EXPECT_EQ(ended.get().code, Errc::ok);
  EXPECT_TRUE(broker_->servant_gone());
}

TEST_F(SessionTest, EveryIdleStrategyServesAndStops) {
  for (const auto idle : {shm::IdleStrategy::spin, shm::IdleStrategy::yield,
                          shm::IdleStrategy::park, shm::IdleStrategy::automatic}) {
    SCOPED_TRACE(shm::to_string(idle));
    Options o = options();
    o.idle = idle;
    Servant servant(o);
    list_functions(servant);
    std::future<Errc> shaken = std::async(std::launch::async, [this] { return broker_->accept(); });
    std::future<Error> ended = std::async(std::launch::async, [&] { return servant.run(); });
    ASSERT_EQ(shaken.get(), Errc::ok);
    for (std::uint64_t id = 1; id <= 50; ++id) {
      ASSERT_TRUE(send_query(id, "twice " + std::to_string(id)));
      EXPECT_EQ(reply(), Value::long_atom(2 * static_cast<std::int64_t>(id)));
    }
    servant.stop();
    EXPECT_EQ(ended.get().code, Errc::ok);
  }
}

TEST_F(SessionTest, RunAttachesAgainByItself) {
  Servant servant(options());
  list_functions(servant);
  std::future<Error> ended = std::async(std::launch::async, [&] { return servant.run(); });
  for (std::uint64_t life = 1; life <= 5; ++life) {
    ASSERT_EQ(broker_->accept(), Errc::ok) << life;
    ASSERT_TRUE(send_query(life, "twice " + std::to_string(life)));
    EXPECT_EQ(reply(), Value::long_atom(2 * static_cast<std::int64_t>(life)));
    broker_.reset();
    broker_.emplace(directory_, "tiny");
  }
  servant.stop();
  EXPECT_EQ(ended.get().code, Errc::ok);
}

}  // namespace
}  // namespace mserve::servant
