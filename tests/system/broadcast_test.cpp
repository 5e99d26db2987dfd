// SPDX-License-Identifier: Apache-2.0
// Broadcasts with a real broker: every servant of a group is asked, and none of them runs anything
// else meanwhile.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

Value broadcast(const std::string& query) {
  return list({Value::symbol(".mserve.broadcast"), Value::symbol("hdb"), text(query)});
}

/// A client that may broadcast: of the broker's own user, over the Unix socket.
RawClient admin_of(const Broker& broker) {
  RawClient client = RawClient::unix_socket(broker.socket_path(), true);
  EXPECT_TRUE(client.handshake());
  return client;
}

/// Three servants of a group and one of none, whose answers this test decides.
class GroupOfThree : public ::testing::Test {
 protected:
  GroupOfThree() : broker_(with_gateway({"--policy", "orig"}, 0)), admin_(admin_of(broker_)) {
    for (const char* const name : {"a", "b", "c", "other"}) {
      const std::string tags = servants_.size() < 3 ? "group=hdb" : "";
      servants_.emplace_back(broker_,
                             RawSetup{.role = shm::Role::servant, .name = name, .tags = tags});
      broker_.wait_for_counter("servants", servants_.size());
    }
  }

  /// Sends a broadcast and waits until each servant of the group has its request.
  void begin() {
    ASSERT_TRUE(admin_.send(broadcast("reload[]"), MessageKind::sync));
    for (std::size_t i = 0; i < 3; ++i) {
      const auto frame = servants_[i].take();
      ASSERT_TRUE(frame.has_value());
      EXPECT_EQ(frame->payload, kdb::encode(text("reload[]")));
      ids_[i] = frame->header.id;
    }
  }
  void answer_own_name(std::size_t at) {
    constexpr const char* kNames[] = {"a", "b", "c"};
    EXPECT_TRUE(answer(servants_[at], ids_[at], kdb::encode(Value::symbol(kNames[at]))));
  }
  void expect_table(std::vector<std::uint8_t> oks, std::vector<Value> results) {
    const auto message = admin_.receive();
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->value,
              Value::table({"servant", "ok", "result"},
                           {Value::symbols({"a", "b", "c"}), Value::booleans(std::move(oks)),
                            Value::list(std::move(results))}));
  }
  /// No servant of the group was sent anything.
  void expect_group_idle() {
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_FALSE(servants_[i].poll().has_value()) << i;
    }
  }

  const Broker broker_;
  RawClient admin_;
  std::vector<RawPeer> servants_;
  std::uint64_t ids_[3] = {};
};

TEST_F(GroupOfThree, EachIsAskedOnceAndTheCallerGetsEachAnswer) {
  begin();
  for (const std::size_t at : {std::size_t{2}, std::size_t{0}, std::size_t{1}}) {
    answer_own_name(at);
  }
  expect_table({1, 1, 1}, {Value::symbol("a"), Value::symbol("b"), Value::symbol("c")});
  expect_group_idle();
  EXPECT_FALSE(servants_[3].poll().has_value()) << "it is not of the group";
}

TEST_F(GroupOfThree, NoneRunsAnythingElseUntilAllHaveAnswered) {
  begin();
  answer_own_name(0);
  answer_own_name(1);
  // Three requests for anybody: one servant is free for them, and takes two of them in turn.
  RawClient clients[] = {connect(broker_), connect(broker_), connect(broker_)};
  for (RawClient& client : clients) {
    ASSERT_TRUE(client.send(text("echo 1"), MessageKind::sync));
  }
  for (int i = 0; i < 2; ++i) {
    const auto frame = servants_[3].take();
    ASSERT_TRUE(frame.has_value());
    if (i == 0) {
      EXPECT_TRUE(answer(servants_[3], frame->header.id, kdb::encode(Value::long_atom(1))));
    }
  }
  expect_group_idle();
  answer_own_name(2);
  expect_table({1, 1, 1}, {Value::symbol("a"), Value::symbol("b"), Value::symbol("c")});
  // The third goes to one of them now.
  EXPECT_TRUE(wait_until(
      [&] {
        return servants_[0].poll().has_value() || servants_[1].poll().has_value() ||
               servants_[2].poll().has_value();
      },
      "the request that waited"));
}

TEST_F(GroupOfThree, OneThatDiesInTheMiddleHasFailedAndTheOthersHaveAnswered) {
  begin();
  answer_own_name(0);
  servants_[1].vanish();
  broker_.wait_for_counter("servants", 3);
  answer_own_name(2);
  expect_table({1, 0, 1}, {Value::symbol("a"), text("servant died"), Value::symbol("c")});
}

TEST_F(GroupOfThree, ACallerThatHangsUpSetsTheGroupFree) {
  begin();
  admin_.close();
  broker_.wait_for_counter("gateway_connections", 0);
  for (std::size_t i = 0; i < 3; ++i) {
    answer_own_name(i);
  }
  // Before that the next one would find them busy. An answer may overtake what says that nobody
  // waits for it.
  EXPECT_TRUE(wait_until(
      [&] {
        return broker_.counter("replies").value_or(0) + broker_.counter("discarded").value_or(0) ==
               3;
      },
      "three answers to be taken"));
  admin_ = admin_of(broker_);
  begin();
  for (std::size_t i = 0; i < 3; ++i) {
    answer_own_name(i);
  }
  expect_table({1, 1, 1}, {Value::symbol("a"), Value::symbol("b"), Value::symbol("c")});
}

/// Clients that ask all the time, one query at a time each.
class QueryLoad {
 public:
  explicit QueryLoad(const Broker& broker) {
    constexpr int kClients = 4;
    for (int i = 0; i < kClients; ++i) {
      threads_.emplace_back([this, &broker] { ask(broker); });
    }
  }
  ~QueryLoad() {
    stop_.store(true, std::memory_order_release);
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }
  QueryLoad(const QueryLoad&) = delete;
  QueryLoad& operator=(const QueryLoad&) = delete;
  /// Waits until `count` more were answered.
  void wait_for(std::uint64_t count) {
    const std::uint64_t from = answered_.load(std::memory_order_acquire);
    EXPECT_TRUE(wait_until(
        [&] { return answered_.load(std::memory_order_acquire) >= from + count; }, "answers"));
  }

 private:
  void ask(const Broker& broker) {
    RawClient client = connect(broker);
    for (std::int64_t i = 0; !stop_.load(std::memory_order_acquire); ++i) {
      const auto answer = client.query(text("echo " + std::to_string(i)));
      EXPECT_EQ(answer, Value::long_atom(i));
      if (!answer) {
        return;
      }
      answered_.fetch_add(1, std::memory_order_release);
    }
  }

  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> answered_{0};
  std::vector<std::thread> threads_;
};

TEST(Broadcast, LoseNothingUnderLoad) {
  const Broker broker(with_gateway({}, 0));
  std::vector<Process> servants;
  for (const char* const name : {"a", "b", "c", "other"}) {
    std::vector<std::string> args{"--rows", "0"};
    if (servants.size() < 3) {
      args.insert(args.end(), {"--group", "hdb"});
    }
    servants.push_back(broker.spawn_servant(name, std::move(args)));
    broker.wait_for_counter("servants", servants.size());
  }
  RawClient admin = admin_of(broker);
  {
    QueryLoad load(broker);
    constexpr int kBroadcasts = 20;
    for (int i = 0; i < kBroadcasts; ++i) {
      load.wait_for(20);
      const auto table = admin.query(broadcast("echo " + std::to_string(i)));
      ASSERT_TRUE(table && table->is_table());
      EXPECT_EQ(*table->column("servant"), Value::symbols({"a", "b", "c"}));
      EXPECT_EQ(*table->column("ok"), Value::booleans({1, 1, 1}));
      for (std::size_t row = 0; row < 3; ++row) {
        EXPECT_EQ(table->column("result")->at(row), Value::long_atom(i));
      }
    }
  }
  EXPECT_EQ(broker.counter("errors"), 0U);
  EXPECT_EQ(broker.counter("retried"), 0U);
}

TEST(Broadcast, ReachesAServantThatHasJustHeardThatItIsReady) {
  const Broker broker(with_gateway({}, 0));
  RawClient admin = admin_of(broker);
  std::vector<RawPeer> servants;
  std::vector<std::string> names;
  constexpr std::size_t kServants = 30;
  while (servants.size() < kServants && !HasFailure()) {
    names.push_back("s" + std::to_string(servants.size()));
    servants.emplace_back(
        broker,
        RawSetup{.role = shm::Role::servant, .name = names.back().c_str(), .tags = "group=hdb"});
    ASSERT_TRUE(admin.send(broadcast("reload[]"), MessageKind::sync));
    for (RawPeer& servant : servants) {
      const auto frame = servant.take();
      ASSERT_TRUE(frame.has_value()) << "of " << servants.size();
      EXPECT_TRUE(answer(servant, frame->header.id, kdb::encode(Value::long_atom(1))));
    }
    const auto message = admin.receive();
    ASSERT_TRUE(message.has_value() && message->value.is_table());
    EXPECT_EQ(*message->value.column("servant"), Value::symbols(names));
    EXPECT_EQ(*message->value.column("ok"),
              Value::booleans(std::vector<std::uint8_t>(names.size(), 1)));
  }
}

TEST(Broadcast, IsRefusedWithoutServantsAndForStrangers) {
  const Broker broker(with_gateway({}, 1));
  RawClient admin = admin_of(broker);
  EXPECT_EQ(admin.query(broadcast("echo 1")), Value::error("no servant"));
  RawClient stranger = connect(broker);
  EXPECT_EQ(stranger.query(broadcast("echo 1")), Value::error("access"));
}

}  // namespace
}  // namespace mserve::test
