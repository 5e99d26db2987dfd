// SPDX-License-Identifier: Apache-2.0
// A Servant that runs its requests itself, opposite a broker small enough to misbehave on purpose.
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

constexpr std::uint64_t kPassed = 1;  ///< A deadline that lies behind us: look once.

class ReceiveTest : public ::testing::Test {
 protected:
  ReceiveTest() {
    char name[] = "/tmp/mserve-servant-test-XXXXXX";
    EXPECT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    broker_.emplace(directory_, "tiny");
  }
  ~ReceiveTest() override {
    broker_.reset();
    std::filesystem::remove_all(directory_);
  }

  Options options(std::uint32_t credit = 1) const {
    Options o;
    o.directory = directory_;
    o.broker = "tiny";
    o.credit = credit;
    o.idle = shm::IdleStrategy::yield;
    o.retry_ns_min = 1'000'000;
    o.retry_ns_max = 1'000'000;
    return o;
  }

  void attach(Servant& servant) {
    std::future<Errc> shaken = std::async(std::launch::async, [this] { return broker_->accept(); });
    Request none;
    while (!servant.attached()) {
      const Errc code = servant.receive(none, kPassed);
      ASSERT_TRUE(code == Errc::timed_out || code == Errc::not_attached) << to_string(code);
    }
    ASSERT_EQ(shaken.get(), Errc::ok);
  }

  /// The next frame towards the broker; the test's time-out ends a wait in vain.
  Reply reply() {
    shm::FrameView frame;
    while (broker_->from.front(frame) == Errc::empty) {
      std::this_thread::yield();
    }
    Reply reply{frame.header.id, frame.header.flags, shm::unpack_reply(frame.header.aux), {}};
    reply.payload.assign(frame.payload.begin(), frame.payload.end());
    broker_->from.release();
    broker_->from.publish();
    return reply;
  }

  /// A request that has arrived already or will.
  static Request take(Servant& servant) {
    Request request;
    EXPECT_EQ(servant.receive(request), Errc::ok);
    EXPECT_NE(request.id, 0U);
    return request;
  }

  static std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  std::string directory_;
  std::optional<TinyBroker> broker_;
};

TEST_F(ReceiveTest, OpaqueBytesAndObjectsAreAnsweredWithEither) {
  Servant servant(options());
  attach(servant);
  ASSERT_TRUE(broker_->send(11, bytes_of("abc"), shm::kFlagOpaque));
  Request request = take(servant);
  EXPECT_TRUE(request.opaque);
  EXPECT_EQ(text_of(request.payload), "abc");
  // Out of the request's own bytes, without a copy.
  EXPECT_EQ(servant.reply(request.id, request.payload.subspan(1), true), Errc::ok);
  Reply got = reply();
  EXPECT_EQ(got.id, 11U);
  EXPECT_EQ(got.flags, shm::kFlagOpaque);
  EXPECT_EQ(static_cast<Errc>(got.aux.status), Errc::ok);
  EXPECT_EQ(got.aux.servant, 3U);
  EXPECT_EQ(text_of(got.payload), "bc");

  ASSERT_TRUE(broker_->send(12, kdb::encode(Value::chars("f 1")), 0));
  request = take(servant);
  EXPECT_FALSE(request.opaque);
  EXPECT_EQ(servant.reply(request.id, kdb::encode(Value::long_atom(42))), Errc::ok);
  got = reply();
  EXPECT_EQ(got.value(), Value::long_atom(42));
  EXPECT_EQ(got.flags, 0U);
}

TEST_F(ReceiveTest, ErrorsTravelAsErrorObjectsWithTheirStatus) {
  Servant servant(options());
  attach(servant);
  ASSERT_TRUE(broker_->send(1, bytes_of("x"), shm::kFlagOpaque));
  EXPECT_EQ(servant.reply_error(take(servant).id, "broke"), Errc::ok);
  Reply got = reply();
  EXPECT_EQ(static_cast<Errc>(got.aux.status), Errc::failed);
  EXPECT_EQ(got.error_text(), "broke");
  ASSERT_TRUE(broker_->send(2, bytes_of("x"), shm::kFlagOpaque));
  EXPECT_EQ(servant.reply(take(servant).id, kdb::encode(Value::error("type"))), Errc::ok);
  got = reply();
  EXPECT_EQ(static_cast<Errc>(got.aux.status), Errc::failed);
  EXPECT_EQ(got.error_text(), "type");
}

TEST_F(ReceiveTest, TheOptionsOfAPairStandBesideTheQuery) {
  Servant servant(options());
  attach(servant);
  std::vector<std::byte> pair = kdb::encode(Value::chars("f 1"));
  const auto dict = kdb::encode(Value::dict(Value::symbols({"user"}), Value::symbols({"ken"})));
  pair.insert(pair.end(), dict.begin(), dict.end());
  ASSERT_TRUE(broker_->send(1, pair, shm::kFlagPair));
  const Request request = take(servant);
  EXPECT_EQ(kdb::decode(request.payload).value(), Value::chars("f 1"));
  EXPECT_TRUE(std::equal(request.options.begin(), request.options.end(), dict.begin(), dict.end()));
}

TEST_F(ReceiveTest, SeveralAreHeldAtATimeAndAnsweredInAnyOrder) {
  Servant servant(options(3));
  attach(servant);
  std::vector<Request> held;
  for (std::uint64_t id = 1; id <= 3; ++id) {
    ASSERT_TRUE(broker_->send(id, bytes_of(std::string(1, static_cast<char>('a' + id))), 2));
    held.push_back(take(servant));
  }
  Request none;
  EXPECT_EQ(servant.receive(none, kPassed), Errc::timed_out);
  EXPECT_EQ(none.id, 0U);
  for (const std::size_t i : {2U, 0U, 1U}) {
    EXPECT_EQ(servant.reply(held[i].id, held[i].payload, true), Errc::ok);
    const Reply got = reply();
    EXPECT_EQ(got.id, i + 1);
    EXPECT_EQ(text_of(got.payload), std::string(1, static_cast<char>('b' + i)));
    EXPECT_EQ(servant.reply(held[i].id, {}, true), Errc::invalid) << "answered twice";
  }
}

TEST_F(ReceiveTest, ARefusedAnswerIsStillToBeGiven) {
  Servant servant(options());
  attach(servant);
  ASSERT_TRUE(broker_->send(1, bytes_of("x"), shm::kFlagOpaque));
  const Request request = take(servant);
  EXPECT_EQ(servant.reply(request.id, bytes_of("no object")), Errc::invalid);
  EXPECT_EQ(servant.reply(request.id, {}), Errc::invalid);
  EXPECT_EQ(servant.reply(request.id, std::vector<std::byte>((1 << 20) + 1), true),
            Errc::too_large);
  EXPECT_EQ(servant.reply(0, {}, true), Errc::invalid);
  EXPECT_EQ(servant.reply(request.id + 1, {}, true), Errc::invalid);
  EXPECT_EQ(servant.reply(request.id, {}, true), Errc::ok);
  EXPECT_TRUE(reply().payload.empty());
}

TEST_F(ReceiveTest, ALargeReplyWaitsForRoomAndTakesRequestsInMeanwhile) {
  Servant servant(options(2));
  attach(servant);
  ASSERT_TRUE(broker_->send(1, bytes_of("x"), shm::kFlagOpaque));
  const Request request = take(servant);
  ASSERT_TRUE(broker_->send(2, bytes_of("next"), shm::kFlagOpaque));
  const std::vector<std::byte> large(500'000, std::byte{7});  // several rings
  std::future<std::size_t> read = std::async(std::launch::async, [&] {
    std::size_t bytes = 0;
    while (bytes < large.size()) {
      bytes += reply().payload.size();
    }
    return bytes;
  });
  EXPECT_EQ(servant.reply(request.id, large, true), Errc::ok);
  EXPECT_EQ(read.get(), large.size());
  EXPECT_EQ(text_of(take(servant).payload), "next");
}

TEST_F(ReceiveTest, WhatBelongsToALostSessionIsAnsweredToNobody) {
  Servant servant(options(2));
  attach(servant);
  ASSERT_TRUE(broker_->send(1, bytes_of("old"), shm::kFlagOpaque));
  ASSERT_TRUE(broker_->send(2, bytes_of("older"), shm::kFlagOpaque));
  const Request first = take(servant);
  const Request second = take(servant);
  broker_->hang_up();
  Request none;
  while (servant.attached()) {
    const Errc code = servant.receive(none, kPassed);
    EXPECT_EQ(code, servant.attached() ? Errc::timed_out : Errc::not_attached);
  }
  EXPECT_EQ(text_of(first.payload), "old") << "its bytes are valid until it is answered";
  EXPECT_EQ(servant.reply(first.id, {}, true), Errc::disconnected);
  EXPECT_EQ(servant.reply(first.id, {}, true), Errc::invalid);
  // The next session uses the same id for another request.
  attach(servant);
  ASSERT_TRUE(broker_->send(2, bytes_of("new"), shm::kFlagOpaque));
  const Request third = take(servant);
  EXPECT_EQ(servant.reply(second.id, bytes_of("wrong"), true), Errc::disconnected);
  EXPECT_EQ(servant.reply(third.id, bytes_of("right"), true), Errc::ok);
  EXPECT_EQ(text_of(reply().payload), "right");
}

TEST_F(ReceiveTest, ABrokerThatGoesWhileAReplyWaitsEndsTheWait) {
  Servant servant(options());
  attach(servant);
  ASSERT_TRUE(broker_->send(1, bytes_of("x"), shm::kFlagOpaque));
  const Request request = take(servant);
  std::future<void> gone = std::async(std::launch::async, [this] {
    (void)reply();
    broker_->hang_up();
  });
  EXPECT_EQ(servant.reply(request.id, std::vector<std::byte>(500'000), true), Errc::disconnected);
  gone.get();
  EXPECT_FALSE(servant.attached());
}

TEST_F(ReceiveTest, StopEndsAWaitFromAnotherThreadAndForGood) {
  Options o = options();
  o.stop_ns_max = 1'000'000;
  Servant servant(o);
  attach(servant);
  ASSERT_TRUE(broker_->send(1, bytes_of("x"), shm::kFlagOpaque));
  const Request request = take(servant);
  std::future<Errc> ended = std::async(std::launch::async, [&] {
    Request none;
    return servant.receive(none);
  });
  servant.stop();
  EXPECT_EQ(ended.get(), Errc::cancelled);
  Request none;
  EXPECT_EQ(servant.receive(none), Errc::cancelled);
  // Nobody reads: what does not fit is given up when its time is over.
  EXPECT_EQ(servant.reply(request.id, std::vector<std::byte>(500'000), true), Errc::disconnected);
}

TEST_F(ReceiveTest, OptionsOutOfRangeAndNoBrokerAreTold) {
  Options wrong = options();
  wrong.credit = 0;
  Request none;
  EXPECT_EQ(Servant(wrong).receive(none), Errc::invalid);
  Options nobody = options();
  nobody.broker = "nobody";
  Servant patient(nobody);
  EXPECT_EQ(patient.receive(none, kPassed), Errc::not_attached);
  nobody.reconnect = false;
  EXPECT_EQ(Servant(nobody).receive(none), Errc::no_broker);
}

TEST_F(ReceiveTest, ARequestBeyondTheBoundIsRefusedByItself) {
  Options o = options();
  o.message_bytes_max = 1000;
  Servant servant(o);
  attach(servant);
  const std::vector<std::byte> large(2000);
  std::byte extension[shm::ext_bytes_of(sizeof(shm::FlowExt))];
  (void)shm::put_extension(extension, shm::ExtType::flow, 0, shm::FlowExt{0, large.size()});
  ASSERT_TRUE(shm::try_send_whole(
      broker_->to, FakeBroker::header(1, shm::kFlagOpaque, shm::Kind::request), extension, large));
  std::future<Reply> refused = std::async(std::launch::async, [this] { return reply(); });
  Request request;
  while (refused.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    EXPECT_EQ(servant.receive(request, kPassed), Errc::timed_out);
  }
  EXPECT_EQ(refused.get().error_text(), "limit");
}

}  // namespace
}  // namespace mserve::servant
