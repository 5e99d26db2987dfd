// SPDX-License-Identifier: Apache-2.0
#include "sdk/engine.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <stdexcept>

#include "fake_broker.hpp"
#include "mserve/kdb/codec.hpp"

namespace mserve::servant {
namespace {

using kdb::Value;

/// An engine that serves echo, fail and fill, and opaque echo.
class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    EXPECT_TRUE(functions_.add("echo", [](std::span<const Value> args) {
      return args.size() == 1 ? args[0] : Value::error("rank");
    }));
    EXPECT_TRUE(functions_.add(
        "fail", [](std::span<const Value>) -> Value { throw std::runtime_error("broke"); }));
    EXPECT_TRUE(functions_.add("fill", [](std::span<const Value> args) {
      return Value::longs(
          std::vector<std::int64_t>(static_cast<std::size_t>(*args[0].integer()), 42));
    }));
  }
  FakeBroker& broker(FakeBroker::Shape shape = {}) {
    return broker_.emplace(functions_, opaque_, shape);
  }

  static std::vector<std::byte> random_bytes(std::size_t count, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::byte> bytes(count);
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(random()); });
    return bytes;
  }

  /// Sends all of a message in fragments, stepping in between.
  static void send_flow(FakeBroker& b, std::uint64_t id, std::span<const std::byte> payload,
                        std::uint8_t flags) {
    shm::FlowWriter writer(FakeBroker::header(id, flags, shm::Kind::request), payload);
    for (int n = 0; n < 1'000'000 && !writer.done(); ++n) {
      if (!writer.step(b.to)) {
        ASSERT_NE(b.step(), Progress::broken);
        b.read();
      }
    }
    ASSERT_TRUE(writer.done());
  }

  Functions functions_;
  OpaqueFunction opaque_ = [](std::vector<std::byte>&) {};
  std::optional<FakeBroker> broker_;
};

TEST_F(EngineTest, OptionsBehindAQueryAreNothingThatAFunctionSees) {
  FakeBroker& b = broker();
  std::vector<std::byte> pair = kdb::encode(Value::chars("echo `IBM"));
  const std::vector<std::byte> options =
      kdb::encode(Value::dict(Value::symbols({"user"}), Value::symbols({"ken"})));
  pair.insert(pair.end(), options.begin(), options.end());
  ASSERT_TRUE(b.send(1, pair, shm::kFlagPair));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].value(), Value::symbol("IBM"));
}

TEST_F(EngineTest, IsIdleWithoutRequests) {
  FakeBroker& b = broker();
  EXPECT_EQ(b.run(), Progress::idle);
  EXPECT_EQ(b.frames, 0);
}

TEST_F(EngineTest, AnswersAQueryInOneStepWithItsIdAndOurNumber) {
  FakeBroker& b = broker();
  ASSERT_TRUE(b.send(99, "echo `IBM"));
  EXPECT_EQ(b.step(), Progress::worked);
  b.read();
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].id, 99U);
  EXPECT_EQ(b.replies[0].aux.servant, 7U);
  EXPECT_EQ(b.replies[0].aux.status, 0U);
  EXPECT_EQ(b.replies[0].flags, 0U);
  EXPECT_EQ(b.replies[0].value(), Value::symbol("IBM"));
  EXPECT_EQ(b.step(), Progress::idle);
}

TEST_F(EngineTest, AnswersManyRequestsAroundTheRing) {
  FakeBroker& b = broker({.ring_bytes = 4096});
  for (int n = 0; n < 2000; ++n) {
    const Value argument = Value::chars(std::string(static_cast<std::size_t>(n % 700), 'x'));
    const Value call = Value::list({Value::symbol("echo"), argument});
    ASSERT_TRUE(b.send(static_cast<std::uint64_t>(n), call)) << n;
    ASSERT_EQ(b.run(), Progress::idle) << n;
    ASSERT_EQ(b.replies.size(), 1U) << n;
    ASSERT_EQ(b.replies[0].value(), argument) << n;
    b.replies.clear();
  }
  EXPECT_EQ(b.faults, 0);
}

TEST_F(EngineTest, ExceptionOfAFunctionBecomesAnErrorReply) {
  FakeBroker& b = broker();
  ASSERT_TRUE(b.send(1, "fail 1"));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].aux.status, static_cast<std::uint16_t>(Errc::failed));
  EXPECT_EQ(b.replies[0].error_text(), "broke");
}

TEST_F(EngineTest, MalformedObjectIsAnsweredWithBadmsg) {
  FakeBroker& b = broker();
  for (const auto& payload :
       {bytes_of(""), bytes_of("\x7e"), bytes_of(std::string("\x0a\x00\xff\xff\xff\x7f", 6))}) {
    ASSERT_TRUE(b.send(1, payload));
    EXPECT_EQ(b.run(), Progress::idle);
    ASSERT_EQ(b.replies.size(), 1U);
    EXPECT_EQ(b.replies[0].error_text(), "badmsg");
    b.replies.clear();
  }
}

TEST_F(EngineTest, OpaqueRequestComesBackOpaque) {
  FakeBroker& b = broker();
  ASSERT_TRUE(b.send(3, bytes_of("no object"), shm::kFlagOpaque));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].flags, shm::kFlagOpaque);
  EXPECT_EQ(b.replies[0].payload, bytes_of("no object"));
}

TEST_F(EngineTest, OpaqueRequestWithoutAHandlerIsAnErrorThatIsNotOpaque) {
  opaque_ = nullptr;
  FakeBroker& b = broker();
  ASSERT_TRUE(b.send(3, bytes_of("x"), shm::kFlagOpaque));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].flags, 0U);
  EXPECT_EQ(b.replies[0].error_text(), "opaque requests are not served");
}

TEST_F(EngineTest, OpaqueHandlerThatThrowsIsAnErrorReply) {
  opaque_ = [](std::vector<std::byte>&) { throw std::bad_alloc(); };
  FakeBroker& b = broker();
  ASSERT_TRUE(b.send(3, bytes_of("x"), shm::kFlagOpaque));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].error_text(), "wsfull");
}

// Goal: a message many times the ring goes in and comes out whole, both rings full in between.
TEST_F(EngineTest, LargeOpaqueMessagePassesThroughSmallRings) {
  FakeBroker& b = broker({.ring_bytes = 8192, .message_bytes_max = 4 << 20});
  const std::vector<std::byte> payload = random_bytes((3 << 20) + 17, 5);
  send_flow(b, 12, payload, shm::kFlagOpaque);
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_TRUE(b.replies[0].payload == payload);
  EXPECT_GT(b.frames, 1000);
  EXPECT_EQ(b.faults, 0);
}

TEST_F(EngineTest, LargeResultLeavesAsAFlow) {
  FakeBroker& b = broker({.ring_bytes = 8192});
  ASSERT_TRUE(b.send(5, "fill 100000"));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].value().count(), 100000U);
  EXPECT_GT(b.frames, 100);
}

TEST_F(EngineTest, ResultBeyondTheBoundIsTheErrorLimit) {
  FakeBroker& b = broker({.message_bytes_max = 100'000});
  ASSERT_TRUE(b.send(5, "fill 100000"));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].error_text(), "limit");
}

TEST_F(EngineTest, ReplyWithoutRoomIsBlockedAndSentOnceThereIsRoom) {
  FakeBroker& b = broker({.ring_bytes = 4096, .credit = 8});
  const Value call = Value::list({Value::symbol("echo"), Value::chars(std::string(900, 'x'))});
  Progress last = Progress::worked;
  std::uint64_t sent = 0;
  for (; sent < 8 && last != Progress::blocked; ++sent) {
    ASSERT_TRUE(b.send(sent, call));
    last = b.step();
  }
  ASSERT_EQ(last, Progress::blocked);
  EXPECT_EQ(b.step(), Progress::blocked);
  b.read();
  const std::size_t before = b.replies.size();
  EXPECT_EQ(b.step(), Progress::worked);
  b.read();
  EXPECT_EQ(b.replies.size(), before + 1);
  EXPECT_EQ(b.replies.size(), sent);
}

// Goal: no deadlock when both rings are full. Method: a reply is blocked, and requests go on
// arriving; they must be taken out of the ring, up to the credit.
TEST_F(EngineTest, TakesRequestsInWhileAReplyWaits) {
  FakeBroker& b = broker({.ring_bytes = 4096, .credit = 40});
  const Value call = Value::list({Value::symbol("echo"), Value::chars(std::string(900, 'x'))});
  std::uint64_t sent = 0;
  for (; sent < 40; ++sent) {
    ASSERT_TRUE(b.send(sent, call)) << sent;
    ASSERT_NE(b.step(), Progress::broken);
  }
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 40U);
  for (std::size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(b.replies[i].id, i);  // in order of arrival
  }
}

TEST_F(EngineTest, RequestBeyondTheCreditBreaksTheSession) {
  FakeBroker& b = broker({.credit = 2});
  ASSERT_TRUE(b.send(1, "echo 1"));
  ASSERT_TRUE(b.send(2, "echo 2"));
  ASSERT_TRUE(b.send(3, "echo 3"));
  EXPECT_EQ(b.step(), Progress::broken);
  EXPECT_EQ(b.engine.fault(), Errc::protocol);
  EXPECT_EQ(b.step(), Progress::broken);  // for good
}

TEST_F(EngineTest, FragmentBeyondTheCreditBreaksTheSession) {
  FakeBroker& b = broker({.credit = 1});
  ASSERT_TRUE(b.send_fragment(1, 0, 100, bytes_of("abc")));
  ASSERT_TRUE(b.send_fragment(2, 0, 100, bytes_of("abc")));
  EXPECT_EQ(b.run(), Progress::broken);
  EXPECT_EQ(b.engine.fault(), Errc::protocol);
}

TEST_F(EngineTest, AbortOfAPartialRequestGivesItsCreditBack) {
  FakeBroker& b = broker({.credit = 1});
  ASSERT_TRUE(b.send_fragment(1, 0, 100, bytes_of("abc")));
  ASSERT_TRUE(b.send(1, {}, 0, shm::Kind::abort));
  ASSERT_TRUE(b.send(2, "echo 5"));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].id, 2U);
}

TEST_F(EngineTest, AbortOfACompleteRequestIsIgnored) {
  FakeBroker& b = broker({.credit = 2});
  ASSERT_TRUE(b.send(1, "echo 1"));
  ASSERT_TRUE(b.send(1, {}, 0, shm::Kind::abort));
  ASSERT_TRUE(b.send(77, {}, 0, shm::Kind::abort));
  EXPECT_EQ(b.run(), Progress::idle);
  EXPECT_EQ(b.replies.size(), 1U);
}

TEST_F(EngineTest, OtherKindsOfFramesAreIgnored) {
  FakeBroker& b = broker();
  ASSERT_TRUE(b.send(1, {}, 0, shm::Kind::cancel));
  ASSERT_TRUE(b.send(1, bytes_of("x"), 0, shm::Kind::reply));
  ASSERT_TRUE(b.send(1, {}, 0, shm::Kind::window));
  EXPECT_EQ(b.run(), Progress::idle);
  EXPECT_EQ(b.frames, 0);
}

TEST_F(EngineTest, FragmentsOfSeveralRequestsMayBeInterleaved) {
  FakeBroker& b = broker({.credit = 3});
  ASSERT_TRUE(b.send_fragment(1, 0, 6, bytes_of("abc"), shm::kFlagOpaque));
  ASSERT_TRUE(b.send_fragment(2, 0, 6, bytes_of("ABC"), shm::kFlagOpaque));
  ASSERT_TRUE(b.send(3, bytes_of("whole"), shm::kFlagOpaque));
  ASSERT_TRUE(b.send_fragment(2, 3, 6, bytes_of("DEF"), shm::kFlagOpaque));
  ASSERT_TRUE(b.send_fragment(1, 3, 6, bytes_of("def"), shm::kFlagOpaque));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 3U);
  EXPECT_EQ(b.replies[0].payload, bytes_of("whole"));  // complete first
  EXPECT_EQ(b.replies[1].payload, bytes_of("ABCDEF"));
  EXPECT_EQ(b.replies[2].payload, bytes_of("abcdef"));
}

TEST_F(EngineTest, GapInAFlowBreaksTheSession) {
  for (const std::uint64_t offset : {std::uint64_t{4}, std::uint64_t{2}, ~std::uint64_t{0}}) {
    FakeBroker& b = broker();
    ASSERT_TRUE(b.send_fragment(1, 0, 100, bytes_of("abc")));
    ASSERT_TRUE(b.send_fragment(1, offset, 100, bytes_of("def")));
    EXPECT_EQ(b.run(), Progress::broken) << offset;
    EXPECT_EQ(b.engine.fault(), Errc::bad_frame);
  }
}

TEST_F(EngineTest, FlowThatDoesNotStartAtZeroBreaksTheSession) {
  FakeBroker& b = broker();
  ASSERT_TRUE(b.send_fragment(1, 3, 100, bytes_of("abc")));
  EXPECT_EQ(b.run(), Progress::broken);
  EXPECT_EQ(b.engine.fault(), Errc::protocol);
}

// Goal: one request too large for what is left of the bound costs itself only, and is answered
// once, at its end.
TEST_F(EngineTest, RequestBeyondTheMemoryBoundIsAnsweredWithLimit) {
  FakeBroker& b = broker({.credit = 3, .message_bytes_max = 100});
  ASSERT_TRUE(b.send_fragment(1, 0, 90, random_bytes(80, 1), shm::kFlagOpaque));
  ASSERT_TRUE(b.send_fragment(2, 0, 90, random_bytes(80, 2), shm::kFlagOpaque));
  EXPECT_EQ(b.run(), Progress::idle);
  EXPECT_TRUE(b.replies.empty());
  ASSERT_TRUE(b.send_fragment(2, 80, 90, random_bytes(10, 2), shm::kFlagOpaque));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].id, 2U);
  EXPECT_EQ(b.replies[0].error_text(), "limit");
  ASSERT_TRUE(b.send_fragment(1, 80, 90, random_bytes(10, 1), shm::kFlagOpaque));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 2U);
  EXPECT_EQ(b.replies[1].payload.size(), 90U);
}

TEST_F(EngineTest, RefusedRequestCanBeAborted) {
  FakeBroker& b = broker({.credit = 1, .message_bytes_max = 100});
  ASSERT_TRUE(b.send_fragment(1, 0, 200, random_bytes(80, 1)));
  ASSERT_TRUE(b.send(1, {}, 0, shm::Kind::abort));
  ASSERT_TRUE(b.send(2, "echo 2"));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].value(), Value::long_atom(2));
}

TEST_F(EngineTest, FrameThatLiesAboutItsSizeBreaksTheSession) {
  FakeBroker& b = broker({.start = 0});
  shm::FrameHeader h = FakeBroker::header(1, 0, shm::Kind::request);
  h.frame_bytes = 60000;
  const std::uint64_t word = shm::commit_word(h);
  std::memcpy(b.to_memory().data(), &word, sizeof(word));
  EXPECT_EQ(b.run(), Progress::broken);
  EXPECT_EQ(b.engine.fault(), Errc::bad_frame);
}

TEST_F(EngineTest, ExtensionThatLiesAboutItsLengthBreaksTheSession) {
  FakeBroker& b = broker();
  const shm::ExtHeader extension{shm::ExtType::flow, 4096, 0};
  ASSERT_TRUE(shm::try_send_whole(b.to, FakeBroker::header(1, 0, shm::Kind::request),
                                  std::as_bytes(std::span(&extension, 1)), {}));
  EXPECT_EQ(b.run(), Progress::broken);
  EXPECT_EQ(b.engine.fault(), Errc::bad_frame);
}

TEST_F(EngineTest, CursorThatRunsAheadBreaksTheSession) {
  FakeBroker& b = broker({.ring_bytes = 4096, .credit = 16, .start = 0});
  b.from_memory().consumer_pos() = 1 << 20;
  const Value call = Value::list({Value::symbol("echo"), Value::chars(std::string(900, 'x'))});
  Progress last = Progress::worked;
  for (std::uint64_t n = 0; n < 16 && last == Progress::worked; ++n) {
    ASSERT_TRUE(b.send(n, call));
    last = b.step();
  }
  EXPECT_EQ(last, Progress::broken);
  EXPECT_EQ(b.engine.fault(), Errc::cursor_out_of_range);
}

TEST_F(EngineTest, AttachForgetsTheSessionBefore) {
  FakeBroker& b = broker({.credit = 1});
  ASSERT_TRUE(b.send_fragment(1, 3, 100, bytes_of("abc")));
  ASSERT_EQ(b.run(), Progress::broken);
  b.engine.attach({.servant = 8, .credit = 1, .message_bytes_max = 1000});
  b.servant_in.release();  // the frame that broke it
  ASSERT_TRUE(b.send(2, "echo 2"));
  EXPECT_EQ(b.run(), Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].aux.servant, 8U);
}

TEST_F(EngineTest, FinishSendsWhatIsPendingAndStartsNothingNew) {
  FakeBroker& b = broker({.ring_bytes = 4096, .credit = 2});
  ASSERT_TRUE(b.send(1, "fill 1000"));
  ASSERT_TRUE(b.send(2, "echo 2"));
  ASSERT_EQ(b.step(), Progress::worked);
  Progress last = Progress::worked;
  for (int n = 0; n < 1000 && last != Progress::idle; ++n) {
    last = b.engine.finish(b.servant_out, b.servant_in);
    b.read();
  }
  EXPECT_EQ(last, Progress::idle);
  ASSERT_EQ(b.replies.size(), 1U);
  EXPECT_EQ(b.replies[0].value().count(), 1000U);
}

// Goal: whatever order the broker chooses, every request is answered once with its own bytes.
// Method: random sizes, whole and in fragments, interleaved, aborted, with a broker that reads
// late.
TEST_F(EngineTest, RandomTrafficIsAnsweredExactlyOnce) {
  const char* given = std::getenv("MSERVE_TEST_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("MSERVE_TEST_SEED=" + std::to_string(seed) +
               " mserve-test-servant --gtest_filter=EngineTest.Random*");
  std::mt19937_64 random(seed);
  FakeBroker& b = broker({.ring_bytes = 16384, .credit = 6, .message_bytes_max = 1 << 20});
  struct Sent {
    std::vector<std::byte> payload;
    std::optional<shm::FlowWriter> writer;
    bool begun = false;
  };
  std::map<std::uint64_t, Sent> open;
  std::uint64_t next_id = 1;
  std::uint64_t answered = 0;
  std::uint64_t aborted = 0;
  for (int n = 0; n < 20'000; ++n) {
    if (open.size() < 6) {
      const std::size_t size = random() % 3 == 0 ? 5000 + random() % 30000 : random() % 1500;
      Sent sent;
      sent.payload = random_bytes(size, next_id);
      auto [it, fresh] = open.emplace(next_id++, std::move(sent));
      if (size >= 1500) {
        it->second.writer.emplace(
            FakeBroker::header(it->first, shm::kFlagOpaque, shm::Kind::request),
            it->second.payload);
      }
    }
    for (auto it = open.begin(); it != open.end();) {
      auto& [id, sent] = *it;
      const bool partial = sent.writer && sent.begun && !sent.writer->done();
      if (partial && random() % 50 == 0 && b.send(id, {}, 0, shm::Kind::abort)) {
        ++aborted;
        it = open.erase(it);
        continue;
      }
      if (sent.writer) {
        sent.begun = sent.writer->step(b.to) || sent.begun;
      } else if (!sent.begun) {
        sent.begun = b.send(id, sent.payload, shm::kFlagOpaque);
      }
      ++it;
    }
    ASSERT_NE(b.step(), Progress::broken);
    if (random() % 4 == 0) {
      b.read();
    }
    for (const Reply& reply : b.replies) {
      const auto it = open.find(reply.id);
      ASSERT_NE(it, open.end()) << reply.id;
      ASSERT_TRUE(reply.payload == it->second.payload) << reply.id;
      open.erase(it);
      ++answered;
    }
    b.replies.clear();
  }
  EXPECT_EQ(b.faults, 0);
  EXPECT_GT(answered, 1000U);
  EXPECT_GT(aborted, 10U);
}

}  // namespace
}  // namespace mserve::servant
