// SPDX-License-Identifier: Apache-2.0
// What the peer behind a link did not run goes to somebody else, once, or is told as it was.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "support/requests.hpp"
#include "system/link_setup.hpp"

namespace mserve::test {
namespace {

/// As a link tells what its peer did not run: the peer's words, and why.
bool refuse(RawPeer& link, const Frame& request, Errc why) {
  return link.reply(request.header.id,
                    kdb::encode(Value::error(std::string("peer: ") + to_string(why))),
                    static_cast<std::uint16_t>(why));
}

/// The text of the error that a request ended with.
std::string error_in(const mserve::Reply& reply) {
  EXPECT_EQ(reply.status, Errc::failed);
  const auto value = kdb::decode(reply.payload);
  return value && value->is_error() ? std::string(*value->text_view()) : "no error";
}

constexpr Errc kNeverRan[] = {Errc::busy, Errc::no_servant, Errc::queue_timeout, Errc::shutdown};

// Goal: a request that a peer did not run is run by a servant here, though it may not be repeated.
// Method: the link is the only one there at first, so that it is asked.
TEST(LinkElsewhere, ALocalServantRunsWhatThePeerDidNot) {
  const Broker broker{BrokerSetup{}};
  Client client = broker.client();
  std::uint32_t count = 0;
  for (const Errc why : kNeverRan) {
    RawPeer link = raw_link(broker, "B", 1);
    const std::uint64_t id = send_opaque(client, pattern(500, 7));
    const Frame asked = next_request(link);
    RawPeer local = raw_servant(broker, "local");
    broker.wait_for_counter("servants", 2);
    ASSERT_TRUE(refuse(link, asked, why));
    const Frame again = next_request(local);
    EXPECT_EQ(again.payload, pattern(500, 7)) << to_string(why);
    ASSERT_TRUE(local.reply(again.header.id, pattern(10)));
    EXPECT_EQ(await(client, id).status, Errc::ok) << to_string(why);
    EXPECT_FALSE(link.poll());
    broker.wait_for_counter("sent_elsewhere", ++count);
    link.vanish();
    local.vanish();
    broker.wait_for_counter("servants", 0);
  }
  broker.wait_for_counter("requests", count);
  broker.wait_for_counter("replies", count);
  EXPECT_EQ(broker.counter("errors"), 0U);
  EXPECT_EQ(broker.counter("retried"), 0U);
  EXPECT_EQ(broker.counter("not_repeatable"), 0U);
  broker.wait_for_counter("queued", 0);
  broker.wait_for_counter("running", 0);
}

// Goal: it goes to each link once and then ends, with what the last of them said.
TEST(LinkElsewhere, EachLinkIsAskedOnceAndTheLastOnesWordsAreTheAnswer) {
  const Broker broker{BrokerSetup{}};
  std::vector<RawPeer> links;
  for (std::uint32_t n = 0; n < 3; ++n) {
    links.push_back(raw_link(broker, "B" + std::to_string(n), n + 1));
  }
  Client client = broker.client();
  const std::uint64_t id = send_opaque(client, pattern(500));
  std::set<std::size_t> asked;
  for (const Errc why : {Errc::busy, Errc::shutdown, Errc::no_servant}) {
    std::size_t at = links.size();
    ASSERT_TRUE(wait_until(
        [&] {
          for (std::size_t n = 0; n < links.size(); ++n) {
            if (const auto frame = links[n].poll()) {
              at = n;
              EXPECT_EQ(frame->payload, pattern(500));
              EXPECT_TRUE(refuse(links[n], *frame, why));
            }
          }
          return at != links.size();
        },
        "nobody was asked"));
    EXPECT_TRUE(asked.insert(at).second) << "asked twice";
  }
  EXPECT_EQ(error_in(await(client, id)), "peer: no servant");
  for (RawPeer& link : links) {
    EXPECT_FALSE(link.poll());
  }
  broker.wait_for_counter("sent_elsewhere", 2);
  broker.wait_for_counter("replies", 1);
}

// Goal: a link that refuses everything at once, and so always has room, is no black hole while the
// other one has none. Method: of ten requests one is with the other link, which has one place.
TEST(LinkElsewhere, WhatNobodyElseHasRoomForWaits) {
  const Broker broker{BrokerSetup{}};
  RawPeer good = raw_link(broker, "good", 1, 1);
  Client client = broker.client();
  std::vector<std::uint64_t> ids = {send_opaque(client, pattern(100, 0))};
  Frame held = next_request(good);
  RawPeer hole = raw_link(broker, "hole", 2);
  constexpr std::uint32_t kMore = 9;
  for (std::uint32_t n = 1; n <= kMore; ++n) {
    ids.push_back(send_opaque(client, pattern(100, n)));
    ASSERT_TRUE(refuse(hole, next_request(hole), Errc::no_servant));
  }
  broker.wait_for_counter("sent_elsewhere", kMore);
  broker.wait_for_counter("queued", kMore);
  for (std::uint32_t n = 0; n <= kMore; ++n) {
    EXPECT_EQ(held.payload, pattern(100, n)) << "in the order in which they came";
    ASSERT_TRUE(good.reply(held.header.id, pattern(10)));
    if (n != kMore) {
      held = next_request(good);
    }
  }
  for (const std::uint64_t id : ids) {
    EXPECT_EQ(await(client, id).status, Errc::ok);
  }
  EXPECT_FALSE(hole.poll());
}

// Goal: nobody but a link is believed, whatever it says. Method: another servant is free.
TEST(LinkElsewhere, AServantThatIsNoLinkGainsNothing) {
  const Broker broker{BrokerSetup{}};
  RawPeer liar = raw_servant(broker, "liar");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  for (const Errc why : kNeverRan) {
    const std::uint64_t id = send_opaque(client, pattern(500), {.repeatable = true});
    const Frame asked = next_request(liar);
    RawPeer other = raw_servant(broker, "other");
    broker.wait_for_counter("servants", 2);
    ASSERT_TRUE(refuse(liar, asked, why));
    EXPECT_EQ(error_in(await(client, id)), std::string("peer: ") + to_string(why));
    EXPECT_FALSE(other.poll());
    other.vanish();
    broker.wait_for_counter("servants", 1);
  }
  EXPECT_EQ(broker.counter("sent_elsewhere"), 0U);
}

// Goal: one of which there is no copy ends with what the peer says. Method: it is above
// --retain-max; a servant would be free.
TEST(LinkElsewhere, WhatIsNotKeptIsToldAsItWas) {
  BrokerSetup setup;
  setup.args = {"--retain-max", "1k"};
  const Broker broker(setup);
  RawPeer link = raw_link(broker, "B", 1);
  Client client = broker.client();
  const std::uint64_t large = send_opaque(client, pattern(1'025));
  const Frame asked_large = next_request(link);
  const std::uint64_t small = send_opaque(client, pattern(1'024));
  const Frame asked_small = next_request(link);
  RawPeer local = raw_servant(broker, "local");
  broker.wait_for_counter("servants", 2);
  ASSERT_TRUE(refuse(link, asked_large, Errc::busy));
  EXPECT_EQ(error_in(await(client, large)), "peer: busy");
  ASSERT_TRUE(refuse(link, asked_small, Errc::busy));
  const Frame again = next_request(local);
  EXPECT_EQ(again.payload, pattern(1'024));
  EXPECT_TRUE(local.reply(again.header.id, pattern(10)));
  EXPECT_EQ(await(client, small).status, Errc::ok);
}

// Goal: what nobody waits for goes nowhere. Method: its client hangs up while the link has it.
TEST(LinkElsewhere, NobodyRunsWhatIsNotWantedAnyMore) {
  const Broker broker{BrokerSetup{}};
  RawPeer link = raw_link(broker, "B", 1);
  Frame left;
  {
    Client client = broker.client();
    (void)send_opaque(client, pattern(20));
    left = next_request(link);
  }
  EXPECT_EQ(next_request(link).header.kind, shm::Kind::cancel);
  RawPeer local = raw_servant(broker, "local");
  broker.wait_for_counter("servants", 2);
  ASSERT_TRUE(refuse(link, left, Errc::busy));
  broker.wait_for_counter("discarded", 1);
  EXPECT_EQ(broker.counter("sent_elsewhere"), 0U);
  EXPECT_FALSE(local.poll());
}

// The same with real links: B has nobody, and C runs it, for each way to ask.
TEST(LinkElsewhere, OnePeerHasNobodyAndTheNextOneRunsIt) {
  const Broker b(with_gateway({}, 0));
  Site c({}, StandinOptions{});
  const Broker a(with_gateway({}, 0));
  const ShimProcess to_b(a, to_peer(b, "B"));
  a.wait_for_counter("servants", 1);
  RawClient client = connect(a);
  EXPECT_EQ(client.query("echo 1"), Value::error("no servant")) << "nobody else is there";
  const ShimProcess to_c(a, to_peer(c.broker, "C"));
  a.wait_for_counter("servants", 2);
  constexpr std::int64_t kRounds = 5;
  const std::uint64_t before = c.q.q.queries();
  for (std::int64_t n = 0; n < kRounds; ++n) {
    for (const Ask each : kEveryAsk) {
      ASSERT_TRUE(client.send_bytes(message_of(each, call("echo", Value::long_atom(n)))));
      EXPECT_EQ(result_in(each, *client.receive()), Value::long_atom(n)) << name_of(each);
    }
  }
  EXPECT_EQ(client.query(""), Value::null()) << "a second answer came in its place";
  EXPECT_EQ(c.q.q.queries() - before, kRounds * kEveryAsk.size());
  to_b.wait_for_log("the peer did not run a request: no servant");
}

// Goal: what a broker that goes down cuts short is not said to have never run. Method: its status
// as its own clients get it names the servant that had it; of what waited it names none.
TEST(LinkElsewhere, ABrokerThatGoesDownSaysWhatItHadBegun) {
  BrokerSetup setup;
  setup.args = {"--drain-timeout", "100ms"};
  Broker broker(setup);
  RawPeer servant = raw_servant(broker, "one");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t runs = send_opaque(client, pattern(10));
  ASSERT_EQ(next_request(servant).payload, pattern(10));
  const std::uint64_t waits = send_opaque(client, pattern(20));
  broker.wait_for_counter("queued", 1);
  broker.stop();
  const mserve::Reply first = await(client, runs);
  EXPECT_EQ(first.status, Errc::shutdown);
  EXPECT_NE(first.servant, 0U);
  const mserve::Reply second = await(client, waits);
  EXPECT_EQ(second.status, Errc::shutdown);
  EXPECT_EQ(second.servant, 0U);
}

}  // namespace
}  // namespace mserve::test
