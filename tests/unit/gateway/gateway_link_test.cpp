// SPDX-License-Identifier: Apache-2.0
#include "gateway/gateway_link.hpp"

#include <gtest/gtest.h>

#include "fake_data_plane.hpp"

namespace mserve::test {
namespace {

using broker::GatewayLink;
using broker::LinkEvent;
using broker::OriginId;
using broker::RequestHead;

RequestHead head(std::uint64_t id, OriginId origin = {1, 10}) {
  return {.id = id, .route = 99, .flags = shm::kFlagRepeatable, .origin = origin};
}

TEST(GatewayLink, SendsRequestsOfManyOriginsWithAllThatBelongsToThem) {
  FakeDataPlane plane;
  GatewayLink link(plane.session());
  ASSERT_TRUE(link.try_send(head(1, {7, 70}), pattern(100)));
  ASSERT_TRUE(link.try_fragment(head(2, {8, 80}), {500, 1000}, pattern(50)));
  EXPECT_EQ(plane.bells, 0);
  plane.read();
  ASSERT_EQ(plane.requests.size(), 2U);
  EXPECT_EQ(plane.requests[0].origin.index, 7U);
  EXPECT_EQ(plane.requests[0].origin.generation, 70U);
  EXPECT_EQ(plane.requests[0].head.aux, 99U);
  EXPECT_EQ(plane.requests[0].head.flags, shm::kFlagRepeatable);
  EXPECT_EQ(plane.requests[0].payload, pattern(100));
  EXPECT_TRUE(plane.requests[1].fragment);
  EXPECT_EQ(plane.requests[1].flow.offset, 500U);
  EXPECT_EQ(plane.requests[1].flow.total_bytes, 1000U);
}

TEST(GatewayLink, WakesTheDataThreadOnceForAllThatWasSent) {
  FakeDataPlane plane;
  GatewayLink link(plane.session());
  ASSERT_TRUE(link.try_send(head(1), {}));
  ASSERT_TRUE(link.try_send(head(2), {}));
  EXPECT_TRUE(link.flush());
  EXPECT_EQ(plane.bells, 1);
  EXPECT_TRUE(link.flush());
  EXPECT_EQ(plane.bells, 1);
}

TEST(GatewayLink, TakesWhatFitsAFrameOfTheSmallerBound) {
  FakePlaneSetup setup;
  setup.frame_bytes_max = 1000;
  FakeDataPlane plane(setup);
  GatewayLink link(plane.session());
  EXPECT_EQ(link.whole_bytes_max(), 1000U - 24 - 16 - 64);
  EXPECT_EQ(link.fragment_bytes_max(), 1000U - 24 - 16 - 64 - 24);
  EXPECT_TRUE(link.try_send(head(1), pattern(link.whole_bytes_max())));
  EXPECT_TRUE(link.try_fragment(head(2), {0, 5000}, pattern(link.fragment_bytes_max())));
}

TEST(GatewayLink, GoneWaitsUntilWhatTheOriginSentIsRead) {
  FakeDataPlane plane;
  GatewayLink link(plane.session());
  ASSERT_TRUE(link.try_send(head(1), pattern(10)));
  link.gone({1, 10});
  EXPECT_FALSE(link.flush());
  ASSERT_TRUE(link.try_send(head(2, {2, 20}), pattern(10)));
  plane.read(1);
  EXPECT_TRUE(plane.gones.empty());
  plane.read();
  EXPECT_TRUE(link.flush());
  plane.read();
  ASSERT_EQ(plane.gones.size(), 1U);
  EXPECT_EQ(plane.gones[0].index, 1U);
  EXPECT_EQ(plane.gones[0].generation, 10U);
}

TEST(GatewayLink, ACancelDoesNotOvertakeItsRequest) {
  FakeDataPlane plane;
  GatewayLink link(plane.session());
  ASSERT_TRUE(link.try_send(head(1), pattern(10)));
  link.cancel(1, {1, 10});
  link.gone({1, 10});
  EXPECT_TRUE(link.gone_waits({1, 10}));
  EXPECT_FALSE(link.flush());
  plane.read();
  EXPECT_TRUE(plane.cancels.empty());
  EXPECT_TRUE(link.flush());
  plane.read();
  EXPECT_EQ(plane.cancels, std::vector<std::uint64_t>{1});
  EXPECT_EQ(plane.gones.size(), 1U);
}

TEST(GatewayLink, WhatFindsNoRoomWaitsAndNothingOfItIsLost) {
  FakePlaneSetup setup;
  setup.ring_bytes = 4096;
  setup.control_bytes = 4096;
  FakeDataPlane plane(setup);
  GatewayLink link(plane.session());
  std::uint64_t id = 1;
  while (link.try_send(head(id), {})) {
    ++id;
  }
  link.abort(1, {1, 10});
  EXPECT_TRUE(link.waiting());
  for (std::uint32_t i = 0; i < 300; ++i) {
    link.grant({i, 1}, i + 1);
    link.gone({i, 2});
  }
  for (int i = 0; i < 1000 && !link.flush(); ++i) {
    plane.read();
  }
  EXPECT_TRUE(link.try_send(head(999), pattern(10)));
  plane.read();
  EXPECT_EQ(plane.aborts, std::vector<std::uint64_t>{1});
  ASSERT_EQ(plane.grants.size(), 300U);
  ASSERT_EQ(plane.gones.size(), 300U);
  for (std::uint32_t i = 0; i < 300; ++i) {
    EXPECT_EQ(plane.grants[i].bytes, i + 1);
    EXPECT_EQ(plane.gones[i].index, i);
  }
}

TEST(GatewayLink, NothingIsSentWhileAnAbortWaits) {
  FakePlaneSetup setup;
  setup.ring_bytes = 4096;
  FakeDataPlane plane(setup);
  GatewayLink link(plane.session());
  std::uint64_t id = 1;
  while (link.try_send(head(id), pattern(600))) {
    ++id;
  }
  while (link.try_send(head(id), {})) {
    ++id;
  }
  link.abort(1, {1, 10});
  ASSERT_TRUE(link.waiting());
  plane.read();
  EXPECT_FALSE(link.try_send(head(id), {})) << "there is room, but the abort comes first";
  EXPECT_TRUE(link.flush());
  EXPECT_TRUE(link.try_send(head(id), {}));
}

TEST(GatewayLink, GivesOutEachKindOfEvent) {
  FakeDataPlane plane;
  GatewayLink link(plane.session());
  shm::InfoExt info;
  info.backlog = 5;
  ASSERT_TRUE(plane.answer(1, pattern(5), {.flags = shm::kFlagPair, .info = &info, .servant = 9}));
  ASSERT_TRUE(plane.fragment(2, 10, 20, pattern(10)));
  ASSERT_TRUE(plane.abort(3, Errc::failed));
  ASSERT_TRUE(plane.window(4, 77));
  ASSERT_TRUE(plane.gone({5, 6}, Errc::slow_reader));
  LinkEvent event;
  const auto next = [&] {
    EXPECT_EQ(link.next(event), Errc::ok);
    link.release();
    return event;
  };
  const LinkEvent reply = next();
  EXPECT_EQ(reply.kind, LinkEvent::Kind::reply);
  EXPECT_EQ(reply.flags, shm::kFlagPair);
  EXPECT_EQ(reply.servant, 9U);
  EXPECT_TRUE(reply.has_info);
  EXPECT_EQ(reply.info.backlog, 5U);
  const LinkEvent fragment = next();
  EXPECT_EQ(fragment.kind, LinkEvent::Kind::fragment);
  EXPECT_EQ(fragment.flow.offset, 10U);
  EXPECT_FALSE(fragment.has_info);
  const LinkEvent aborted = next();
  EXPECT_EQ(aborted.kind, LinkEvent::Kind::aborted);
  EXPECT_EQ(aborted.status, Errc::servant_died) << "never a status that would pass for an answer";
  const LinkEvent window = next();
  EXPECT_EQ(window.kind, LinkEvent::Kind::window);
  EXPECT_EQ(window.granted, 77U);
  const LinkEvent gone = next();
  EXPECT_EQ(gone.kind, LinkEvent::Kind::gone);
  EXPECT_EQ(gone.origin.generation, 6U);
  EXPECT_EQ(gone.status, Errc::slow_reader);
  EXPECT_EQ(link.next(event), Errc::empty);
}

}  // namespace
}  // namespace mserve::test
