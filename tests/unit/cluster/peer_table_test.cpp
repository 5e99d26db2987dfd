// SPDX-License-Identifier: Apache-2.0
#include "cluster/peer_table.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace mserve::cluster {
namespace {

using Words = std::vector<std::string>;
constexpr std::uint64_t kSecond = 1'000'000'000;

class Peers : public ::testing::Test {
 protected:
  static BrokerRecord record(const std::string& id) {
    return {.id = id,
            .address = "host-" + id + ":5000",
            .zone = "a",
            .region = "eu",
            .epoch = 1,
            .servants = {{.free = 1}}};
  }
  KeyValue key(const BrokerRecord& record) {
    return {.key = broker_key("desk", record.id),
            .value = to_json(record),
            .mod_revision = ++revision_};
  }
  void put(const BrokerRecord& record) { table_.told({.kv = key(record)}, now()); }
  void remove(const std::string& id) {
    table_.told(
        {.removed = true, .kv = {.key = broker_key("desk", id), .mod_revision = ++revision_}},
        now());
  }
  void list(const std::vector<BrokerRecord>& all) {
    Listing listing;
    for (const BrokerRecord& one : all) {
      listing.all.push_back(key(one));
    }
    listing.revision = revision_;
    table_.listed(listing, now());
  }
  Moment now() const { return {.steady_ns = now_, .wall_ns = static_cast<std::int64_t>(now_)}; }
  /// "start b host-b:5000 1 peer=b" and the like.
  Words actions() {
    Words words;
    for (const LinkAction& action : table_.take_actions(now_, facts_)) {
      constexpr const char* kKinds[] = {"start ", "replace ", "stop "};
      std::string text = kKinds[static_cast<int>(action.kind)] + action.id;
      if (action.kind != LinkAction::Kind::stop) {
        text += " " + action.spec.address + " " +
                std::to_string(static_cast<int>(action.spec.tier)) + " " + action.spec.tags;
      }
      words.push_back(text);
    }
    return words;
  }
  std::size_t notes(PeerNote::Kind kind) {
    std::size_t count = 0;
    for (const PeerNote& note : table_.take_notes()) {
      count += note.kind == kind ? 1 : 0;
    }
    return count;
  }

  PeerTable table_{brokers_prefix("desk"), "me", "a", "eu"};
  LinkFacts facts_{};
  std::uint64_t now_ = 10 * kSecond;
  std::int64_t revision_ = 0;
};

TEST_F(Peers, EachOtherBrokerThatServesHasALink) {
  BrokerRecord far = record("far");
  far.region = "us";
  BrokerRecord near = record("near");
  near.zone = "b";
  BrokerRecord drains = record("drains");
  drains.draining = true;
  list({record("b"), far, near, drains, record("me")});
  EXPECT_EQ(actions(), (Words{"start b host-b:5000 1 peer=b", "start far host-far:5000 3 peer=far",
                              "start near host-near:5000 2 peer=near"}));
  EXPECT_EQ(table_.peers().size(), 4U) << "the own key is none";
  EXPECT_EQ(notes(PeerNote::Kind::joined), 4U);
  EXPECT_EQ(actions(), Words{}) << "once";
}

TEST_F(Peers, OneThatDrainsOrGoesLosesItsLink) {
  put(record("b"));
  put(record("c"));
  (void)actions();
  BrokerRecord b = record("b");
  b.draining = true;
  put(b);
  EXPECT_EQ(actions(), Words{"stop b"});
  EXPECT_EQ(table_.peers().size(), 2U) << "it is shown as draining";
  b.draining = false;
  put(b);
  EXPECT_EQ(actions(), Words{"start b host-b:5000 1 peer=b"});
  remove("c");
  EXPECT_EQ(actions(), Words{"stop c"});
  EXPECT_EQ(table_.peers().count("c"), 0U);
  b.draining = true;
  put(b);
  (void)actions();
  remove("b");
  EXPECT_EQ(actions(), Words{}) << "it had none any more";
}

TEST_F(Peers, AnotherAddressOrZoneReplacesTheLinkOnceItStays) {
  put(record("b"));
  (void)actions();
  BrokerRecord b = record("b");
  b.address = "elsewhere:6000";
  put(b);
  EXPECT_EQ(actions(), Words{}) << "its broker and its link are as they were";
  now_ += kTagsSettleNs;
  EXPECT_EQ(actions(), Words{"replace b elsewhere:6000 1 peer=b"});
  b.zone = "c";
  b.epoch = 2;
  put(b);
  EXPECT_EQ(actions(), Words{"replace b elsewhere:6000 2 peer=b"}) << "its broker is another";
  b.address = "third:7000";
  put(b);
  facts_.down = [](const std::string& id) { return id == "b"; };
  EXPECT_EQ(actions(), Words{"replace b third:7000 2 peer=b"}) << "nothing is lost by it";
  b.load = 0.5;
  b.queued = 3;
  put(b);
  now_ += kTagsSettleNs;
  EXPECT_EQ(actions(), Words{}) << "numbers change no link";
}

// Two brokers of one --cluster-id used to make every other one replace its link each second.
TEST_F(Peers, TwoBrokersThatWriteInTurnReplaceTheLinkOnce) {
  BrokerRecord first = record("b");
  BrokerRecord second = record("b");
  second.address = "second:6000";
  second.epoch = 2;
  put(first);
  EXPECT_EQ(actions(), Words{"start b host-b:5000 1 peer=b"});
  put(second);
  EXPECT_EQ(actions(), Words{"replace b second:6000 1 peer=b"}) << "as if it had been started anew";
  (void)table_.take_notes();
  for (int i = 0; i < 100; ++i) {
    now_ += 3 * kTagsSettleNs;
    first.queued = second.queued = static_cast<std::uint64_t>(i);
    put(i % 2 == 0 ? first : second);
    EXPECT_EQ(actions(), Words{});
  }
  EXPECT_EQ(notes(PeerNote::Kind::refused), 100U) << "the log says so, as often as it may";
  put(first);
  now_ += kContestSettleNs;
  EXPECT_EQ(actions(), Words{"replace b host-b:5000 1 peer=b"}) << "the second one is gone";
  first.draining = true;
  put(first);
  EXPECT_EQ(actions(), Words{"stop b"});
}

TEST_F(Peers, FewLinksEndAtTheSameTime) {
  constexpr std::uint32_t kPeers = 40;
  for (std::uint32_t i = 0; i < kPeers; ++i) {
    put(record("p" + std::to_string(i)));
  }
  EXPECT_EQ(actions().size(), kPeers);
  for (std::uint32_t i = 0; i < kPeers; ++i) {
    BrokerRecord moved = record("p" + std::to_string(i));
    moved.zone = "other";
    put(moved);
  }
  now_ += kTagsSettleNs;
  facts_.ending_in_all = 2;
  EXPECT_EQ(actions().size(), kEndingLinksMax - 2);
  facts_.ending_in_all = kEndingLinksMax;
  EXPECT_EQ(actions(), Words{}) << "the others wait";
  facts_.ending_in_all = 0;
  std::uint32_t of_each = kFormerLinksMax;
  facts_.ending = [&of_each](const std::string&) { return of_each; };
  EXPECT_EQ(actions(), Words{}) << "each has enough of its own";
  put(record("late"));
  EXPECT_EQ(actions(), Words{});
  of_each = kFormerLinksMax - 1;
  EXPECT_EQ(actions().size(), kPeers - (kEndingLinksMax - 2) + 1);
  EXPECT_EQ(actions(), Words{});
}

// A record that was put and deleted in turn started as many processes as it was put.
TEST_F(Peers, OneThatComesAndGoesIsLinkedSoOftenAndNoMore) {
  const auto starts = [this](std::uint32_t turns) {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < turns; ++i) {
      put(record("b"));
      for (const std::string& action : actions()) {
        count += action.starts_with("start") ? 1 : 0;
      }
      remove("b");
      (void)actions();
    }
    return count;
  };
  EXPECT_EQ(starts(2 * kLinkStartsMax), kLinkStartsMax);
  now_ += kSecond;
  EXPECT_EQ(starts(2 * kLinkStartsMax), kLinkStartsPerSecond);
  // One that stays is linked once its turn has come.
  put(record("b"));
  EXPECT_EQ(actions(), Words{});
  now_ += kSecond / kLinkStartsPerSecond;
  EXPECT_EQ(actions(), Words{"start b host-b:5000 1 peer=b"});
}

TEST_F(Peers, TagsAreFollowedOnceTheyStay) {
  put(record("b"));
  (void)actions();
  BrokerRecord b = record("b");
  b.servants = {{.tags = "group=hdb", .free = 1}};
  put(b);
  EXPECT_EQ(actions(), Words{});
  now_ += kTagsSettleNs;
  EXPECT_EQ(actions(), Words{"replace b host-b:5000 1 peer=b group=hdb"});
  b.servants.clear();  // its servant is started again
  put(b);
  now_ += kTagsSettleNs / 2;
  b.servants = {{.tags = "group=hdb", .busy = 1}};
  put(b);
  now_ += 2 * kTagsSettleNs;
  EXPECT_EQ(actions(), Words{});
}

TEST_F(Peers, ALinkHasAboutAsMuchCreditAsItsPeerHasServants) {
  const auto credit_with = [this](std::uint32_t free, std::uint32_t busy) {
    BrokerRecord b = record("b");
    b.servants = {{.tags = "group=hdb", .free = free}, {.tags = "group=hdb", .busy = busy}};
    put(b);
    now_ += kTagsSettleNs;
    const std::vector<LinkAction> due = table_.take_actions(now_, facts_);
    return due.empty() ? 0U : due.front().spec.credit;
  };
  EXPECT_EQ(credit_with(1, 0), 8U) << "what waits for the way there and back";
  EXPECT_EQ(credit_with(3, 5), 0U) << "no other link for that";
  EXPECT_EQ(credit_with(9, 0), 16U);
  EXPECT_EQ(credit_with(1, 4), 0U) << "some are started again: it stays";
  EXPECT_EQ(credit_with(60, 0), 64U);
  EXPECT_EQ(credit_with(4'000'000'000, 4'000'000'000), 0U) << "no more than a broker grants";
  EXPECT_EQ(credit_with(10, 6), 16U) << "a quarter";
}

TEST_F(Peers, AListThatWasCutTakesNobodyAway) {
  put(record("b"));
  put(record("c"));
  (void)actions();
  table_.listed({.revision = revision_, .more = true, .all = {key(record("b"))}}, now());
  EXPECT_EQ(actions(), Words{});
  EXPECT_EQ(table_.peers().size(), 2U);
  list({record("b")});
  EXPECT_EQ(actions(), Words{"stop c"});
}

TEST_F(Peers, OneWithoutServantsHasNoLinkSinceItWouldRefuseAll) {
  BrokerRecord b = record("b");
  const std::vector<ServantGroup> some = std::exchange(b.servants, {});
  put(b);
  EXPECT_EQ(actions(), Words{});
  b.servants = some;
  put(b);
  EXPECT_EQ(actions(), Words{"start b host-b:5000 1 peer=b"});
  b.servants.clear();
  put(b);
  now_ += kTagsSettleNs - 1;
  EXPECT_EQ(actions(), Words{}) << "they may only be starting again";
  now_ += 1;
  EXPECT_EQ(actions(), Words{"stop b"});
  b.servants = some;
  put(b);
  EXPECT_EQ(actions(), Words{"start b host-b:5000 1 peer=b"});
}

TEST_F(Peers, ABrokerThatWasStartedAnewIsToldOf) {
  put(record("b"));
  (void)actions();
  BrokerRecord b = record("b");
  b.epoch = 2;
  put(b);
  EXPECT_EQ(actions(), Words{"start b host-b:5000 1 peer=b"});
  EXPECT_EQ(actions(), Words{});
}

TEST_F(Peers, AListingTakesAwayWhatIsNotInIt) {
  list({record("b"), record("c")});
  (void)actions();
  list({record("c"), record("d")});
  EXPECT_EQ(actions(), (Words{"stop b", "start d host-d:5000 1 peer=d"}));
  revision_ = 0;  // a store that was set back
  BrokerRecord c = record("c");
  c.address = "other:1";
  list({c});
  EXPECT_EQ(actions(), Words{"stop d"});
  now_ += kTagsSettleNs;
  EXPECT_EQ(actions(), Words{"replace c other:1 1 peer=c"});
}

// An etcd that was set up anew and counts from the beginning comes to the same numbers.
TEST_F(Peers, AnotherRecordOfTheSameRevisionIsSeen) {
  put(record("b"));
  (void)actions();
  BrokerRecord moved = record("b");
  moved.address = "elsewhere:5000";
  moved.epoch = 2;
  --revision_;
  list({moved});
  EXPECT_EQ(actions(), Words{"replace b elsewhere:5000 1 peer=b"});
}

TEST_F(Peers, OldEventsChangeNothing) {
  BrokerRecord b = record("b");
  const KeyValue old = key(b);
  b.address = "new:1";
  put(b);
  table_.told({.kv = old}, now());
  table_.told({.removed = true, .kv = {.key = old.key, .mod_revision = old.mod_revision}}, now());
  ASSERT_EQ(table_.peers().size(), 1U);
  EXPECT_EQ(table_.peers().begin()->second.record.address, "new:1");
}

TEST_F(Peers, WhatCannotBeReadChangesNothing) {
  put(record("b"));
  (void)actions();
  (void)table_.take_notes();
  KeyValue bad = key(record("b"));
  bad.value = "{}";
  table_.told({.kv = bad}, now());
  bad.key = broker_key("desk", "../x y\x1b");
  table_.told({.kv = bad}, now());
  table_.told({.kv = {.key = "/mserve/other/brokers/z", .value = "{}", .mod_revision = 99}}, now());
  EXPECT_EQ(table_.peers().size(), 1U);
  EXPECT_EQ(actions(), Words{});
  const std::vector<PeerNote> notes = table_.take_notes();
  ASSERT_EQ(notes.size(), 2U);
  EXPECT_EQ(notes[1].id, "../x y?");
  for (int i = 0; i < 10000; ++i) {
    table_.told({.kv = {.key = bad.key, .value = "", .mod_revision = 100 + i}}, now());
  }
  EXPECT_LE(table_.take_notes().size(), 256U);
}

TEST_F(Peers, NoMoreThanSoMany) {
  for (std::size_t i = 0; i < kPeersMax; ++i) {
    put(record("p" + std::to_string(i)));
  }
  (void)table_.take_notes();
  put(record("one-more"));
  EXPECT_EQ(table_.peers().size(), kPeersMax);
  EXPECT_EQ(actions().size(), kPeersMax);
  EXPECT_EQ(notes(PeerNote::Kind::refused), 1U);
  // Whoever found no room has it once somebody leaves, though its key does not change again.
  remove("p0");
  EXPECT_EQ(actions(), (Words{"stop p0", "start one-more host-one-more:5000 1 peer=one-more"}));
  put(record("late"));
  EXPECT_EQ(notes(PeerNote::Kind::refused), 1U);
  remove("late");
  remove("p1");
  EXPECT_EQ(actions(), Words{"stop p1"});
}

TEST_F(Peers, TagsNeverGrowBeyondWhatAServantMayHave) {
  BrokerRecord b = record("b");
  for (char c = 'a'; c <= 'z'; ++c) {
    b.servants.push_back({.tags = std::string(20, c)});
  }
  put(b);
  const auto actions = table_.take_actions(now_);
  ASSERT_EQ(actions.size(), 1U);
  EXPECT_LE(actions[0].spec.tags.size(), kTagsBytesMax);
  EXPECT_GE(actions[0].spec.tags.size(), kTagsBytesMax - 21);
}

}  // namespace
}  // namespace mserve::cluster
