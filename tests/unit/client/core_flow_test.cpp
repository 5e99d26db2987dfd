// SPDX-License-Identifier: Apache-2.0
// Messages larger than a frame, both ways, through tiny rings.
#include <gtest/gtest.h>

#include "fake_broker.hpp"

namespace mserve {
namespace {

using test::attached_core;
using test::Bytes;
using test::bytes_of;
using test::FakeBroker;
using test::pattern;
using test::soon;
using test::text_of;

constexpr test::FakeOptions kTiny{.ring_bytes = 4096, .window_bytes = 2048};

TEST(ClientFlow, LargeRequestArrivesWhole) {
  FakeBroker broker(kTiny);
  auto core = attached_core(broker);
  broker.meanwhile = [&] { broker.read_requests(); };
  const Bytes payload = pattern(1U << 20);
  const auto sent = core->send(payload, {.route = 5, .opaque = true}, 0);
  ASSERT_TRUE(sent);
  broker.read_requests();
  ASSERT_EQ(broker.received.size(), 1U);
  EXPECT_EQ(broker.received[0].head.id, sent.value());
  EXPECT_EQ(broker.received[0].head.aux, 5U);
  EXPECT_EQ(broker.received[0].payload, payload);
}

TEST(ClientFlow, SizesAroundTheLargestWholeFrameArriveWhole) {
  for (std::size_t size = 995; size <= 1005; ++size) {
    FakeBroker broker(kTiny);
    auto core = attached_core(broker);
    broker.meanwhile = [&] { broker.read_requests(); };
    ASSERT_TRUE(core->send(pattern(size), {}, 0));
    broker.read_requests();
    ASSERT_EQ(broker.received.size(), 1U);
    EXPECT_EQ(broker.received[0].payload, pattern(size));
  }
}

/// Sends `total` bytes back in fragments as window and ring allow.
struct ReplyFlow {
  FakeBroker& broker;
  std::uint64_t id;
  Bytes bytes;
  std::uint64_t window_left;
  std::size_t offset = 0;

  void step() {
    broker.read_controls();
    window_left += std::exchange(broker.granted_bytes, 0);
    while (offset < bytes.size()) {
      const std::size_t part = std::min<std::uint64_t>({300, bytes.size() - offset, window_left});
      if (part == 0 ||
          !broker.fragment(id, offset, bytes.size(), std::span(bytes).subspan(offset, part))) {
        return;
      }
      window_left -= part;
      offset += part;
    }
  }
};

TEST(ClientFlow, LargeReplyArrivesWholeAndWindowsAreGranted) {
  FakeBroker broker(kTiny);
  auto core = attached_core(broker);
  const auto id = core->try_send({}, {});
  ASSERT_TRUE(id);
  ReplyFlow flow{broker, id.value(), pattern(1U << 20), kTiny.window_bytes};
  broker.meanwhile = [&] { flow.step(); };
  Reply reply;
  ASSERT_EQ(core->await(id.value(), reply, 0), Errc::ok);
  EXPECT_TRUE(std::ranges::equal(reply.payload, flow.bytes));
  for (const std::uint64_t grant : broker.grants) {
    EXPECT_GE(grant, kTiny.window_bytes / 2);
    EXPECT_LE(grant, kTiny.window_bytes);
  }
}

// Both rings full of flows at once: whoever waits to send must go on reading.
TEST(ClientFlow, LargeRequestAndLargeReplyPassEachOther) {
  FakeBroker broker(kTiny);
  auto core = attached_core(broker);
  const auto early = core->try_send({}, {});
  ASSERT_TRUE(early);
  ReplyFlow flow{broker, early.value(), pattern(1U << 20, 2), kTiny.window_bytes};
  broker.meanwhile = [&] {
    flow.step();
    if (flow.offset == flow.bytes.size()) {
      broker.read_requests();  // reads only once its own answer has gone out
    }
  };
  const Bytes payload = pattern(1U << 20, 3);
  const auto sent = core->send(payload, {}, 0);
  ASSERT_TRUE(sent);
  broker.read_requests();
  ASSERT_EQ(broker.received.size(), 2U);
  EXPECT_EQ(broker.received[1].payload, payload);
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, early.value());
  EXPECT_TRUE(std::ranges::equal(reply.payload, flow.bytes));
}

TEST(ClientFlow, FragmentsOfSeveralRepliesAndWholeFramesMayInterleave) {
  FakeBroker broker;
  auto core = attached_core(broker);
  const std::uint64_t a = core->try_send({}, {}).value();
  const std::uint64_t b = core->try_send({}, {}).value();
  const std::uint64_t c = core->try_send({}, {}).value();
  broker.fragment(a, 0, 4, bytes_of("aa"));
  broker.fragment(b, 0, 4, bytes_of("bb"));
  broker.answer(c, "whole");
  broker.fragment(b, 2, 4, bytes_of("BB"));
  broker.fragment(a, 2, 4, bytes_of("AA"));
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "whole");
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "bbBB");
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "aaAA");
  EXPECT_EQ(reply.id, a);
}

TEST(ClientFlow, AFullControlRingDoesNotHoldTheGrantThatTheAnswerWaitsFor) {
  // Cancels used to fill the control ring ahead of the grant, and the client then slept without
  // end: nothing could come any more.
  FakeBroker broker(kTiny);
  auto core = attached_core(broker);
  std::vector<std::uint64_t> small;
  for (int i = 0; i < 200; ++i) {
    const auto sent = core->try_send(bytes_of("x"), {});
    ASSERT_TRUE(sent);
    small.push_back(sent.value());
    broker.read_requests();
  }
  const auto sent = core->try_send(bytes_of("large"), {});
  ASSERT_TRUE(sent);
  broker.read_requests();
  for (const std::uint64_t id : small) {
    ASSERT_TRUE(core->cancel(id));  // nobody reads the control ring yet
  }
  ReplyFlow flow{broker, sent.value(), pattern(64 * 1024), 2048};
  bool stuck = false;  // asleep for long while cancels still wait for room
  broker.meanwhile = [&] { flow.step(); };
  broker.on_sleep = [&](std::uint64_t until_ns) {
    const bool for_long = until_ns - shm::steady_now() > 1'000'000'000;
    stuck = stuck || (for_long && broker.cancels.size() < small.size());
  };
  EXPECT_FALSE(core->prepare_sleep());  // an event loop must come back as well
  Reply reply;
  ASSERT_EQ(core->await(sent.value(), reply, 0), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), text_of(pattern(64 * 1024)));
  EXPECT_FALSE(stuck);
}

TEST(ClientFlow, CallMovesALargeReplyOut) {
  FakeBroker broker(kTiny);
  auto core = attached_core(broker);
  ReplyFlow flow{broker, 1, pattern(100'000), kTiny.window_bytes};
  broker.meanwhile = [&] { flow.step(); };
  const auto reply = core->call({}, {}, 0);
  ASSERT_TRUE(reply);
  EXPECT_TRUE(std::ranges::equal(reply.value()->payload, flow.bytes));
  Reply next;
  EXPECT_EQ(core->poll(next), Errc::empty);
  EXPECT_TRUE(std::ranges::equal(reply.value()->payload, flow.bytes)) << "owned by the caller";
}

TEST(ClientFlow, DeadlineDuringALargeRequestEndsTheFlow) {
  FakeBroker broker(kTiny);
  auto core = attached_core(broker);
  const auto sent = core->send(pattern(100'000), {}, soon());
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::timed_out);
  EXPECT_EQ(core->in_flight(), 0U);
  EXPECT_EQ(core->try_send(Bytes(900), {}).error().code, Errc::full) << "the abort goes first";
  broker.read_requests();
  const auto next = core->try_send(bytes_of("next"), {});
  ASSERT_TRUE(next);
  broker.read_requests();
  EXPECT_EQ(broker.aborts, std::vector<std::uint64_t>{1});
  ASSERT_EQ(broker.received.size(), 1U);
  EXPECT_EQ(broker.received[0].head.id, next.value());
}

TEST(ClientFlow, RefusalDuringALargeRequestEndsTheFlowAndCompletesTheId) {
  FakeBroker broker(kTiny);
  auto core = attached_core(broker);
  broker.meanwhile = [&] {
    broker.answer(1, "", Errc::busy);
    broker.meanwhile = nullptr;
  };
  const auto sent = core->send(pattern(100'000), {}, 0);
  ASSERT_TRUE(sent);
  broker.read_requests();
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, sent.value());
  EXPECT_EQ(reply.status, Errc::busy);
  EXPECT_EQ(core->poll(reply), Errc::empty);
  broker.read_requests();
  EXPECT_EQ(broker.aborts, std::vector<std::uint64_t>{sent.value()});
}

TEST(ClientFlow, AbortCompletesTheRequestWithItsCode) {
  FakeBroker broker;
  auto core = attached_core(broker);
  const std::uint64_t id = core->try_send({}, {}).value();
  broker.fragment(id, 0, 100, bytes_of("begun"));
  broker.abort(id, Errc::stalled);
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, id);
  EXPECT_EQ(reply.status, Errc::stalled);
  EXPECT_EQ(core->poll(reply), Errc::empty);
}

TEST(ClientFlow, BytesOfACancelledFlowAreGrantedToo) {
  FakeBroker broker(kTiny);
  auto core = attached_core(broker);
  const std::uint64_t id = core->try_send({}, {}).value();
  const Bytes bytes = pattern(300);
  broker.fragment(id, 0, 3000, bytes);
  Reply reply;
  EXPECT_EQ(core->poll(reply), Errc::empty);
  EXPECT_TRUE(core->cancel(id));
  for (std::size_t offset = 300; offset < 2100; offset += 300) {
    ASSERT_TRUE(broker.fragment(id, offset, 3000, bytes));
    EXPECT_EQ(core->poll(reply), Errc::empty);
  }
  broker.read_controls();
  EXPECT_GE(broker.granted_bytes, kTiny.window_bytes / 2);
  EXPECT_TRUE(core->attached());
}

TEST(ClientFlow, TooLargeAnAnswerCompletesItsRequestAndNothingElse) {
  FakeBroker broker;
  ClientOptions options;
  options.message_bytes_max = 1000;
  auto core = attached_core(broker, options);
  EXPECT_EQ(core->send(Bytes(1001), {}, 0).error().code, Errc::too_large);
  const std::uint64_t id = core->try_send({}, {}).value();
  const std::uint64_t other = core->try_send({}, {}).value();
  broker.fragment(id, 0, 1001, bytes_of("x"));
  broker.fragment(id, 1, 1001, bytes_of("y"));
  broker.answer(other, "fine");
  Reply reply;
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(reply.id, id);
  EXPECT_EQ(reply.status, Errc::too_large);
  ASSERT_EQ(core->poll(reply), Errc::ok);
  EXPECT_EQ(text_of(reply.payload), "fine");
  broker.read_controls();
  EXPECT_EQ(broker.cancels, std::vector<std::uint64_t>{id});
}

}  // namespace
}  // namespace mserve
