// SPDX-License-Identifier: Apache-2.0
// Answers as etcd 3.4 gives them, and as nobody should.
#include "cluster/etcd_messages.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "cluster/base64.hpp"

namespace mserve::cluster {
namespace {

const std::string kHeader =
    R"("header":{"cluster_id":"14841639068965178418","member_id":"10276657743932975437","revision":"7","raft_term":"2"})";

std::string pair_of(const std::string& key, const std::string& value, int revision = 5) {
  return R"({"key":")" + to_base64(key) + R"(","create_revision":"3","mod_revision":")" +
         std::to_string(revision) + R"(","version":"1","value":")" + to_base64(value) +
         R"(","lease":"7587883361364513812"})";
}

TEST(EtcdRequest, IsWhatTheGatewayTakes) {
  EXPECT_EQ(grant_request(2), R"({"TTL":"2"})");
  EXPECT_EQ(lease_request(7), R"({"ID":"7"})");
  EXPECT_EQ(put_request("k", "v", 9), R"({"key":"aw==","value":"dg==","lease":"9"})");
  EXPECT_EQ(range_request(keys_below("a/")),
            R"({"key":"YS8=","range_end":"YTA=","limit":"1024"})");  // '0' is behind '/'
  EXPECT_EQ(range_request(only_key("a")), R"({"key":"YQ==","range_end":"YQA=","limit":"1024"})");
  EXPECT_EQ(
      latest_request(keys_below("a/"), 3, false),
      R"({"key":"YS8=","range_end":"YTA=","limit":"3","sort_order":"DESCEND","sort_target":"KEY","keys_only":true})");
  EXPECT_EQ(count_request("a/"), R"({"key":"YS8=","range_end":"YTA=","count_only":true})");
  EXPECT_EQ(
      newest_request(keys_below("a/")),
      R"({"key":"YS8=","range_end":"YTA=","limit":"1","sort_order":"DESCEND","sort_target":"MOD","keys_only":true})");
  EXPECT_EQ(watch_request(keys_below("a/"), 8),
            R"({"create_request":{"key":"YS8=","range_end":"YTA=","start_revision":"8"}})");
  EXPECT_EQ(
      txn_request({.key = "k", .mod_revision = 7, .puts = {{"k", "v"}}, .removed = {"a", "b"}}),
      R"({"compare":[{"key":"aw==","target":"MOD","result":"EQUAL","mod_revision":"7"}],)"
      R"("success":[{"request_put":{"key":"aw==","value":"dg=="}},)"
      R"({"request_delete_range":{"key":"YQ==","range_end":"Yg=="}}],)"
      R"("failure":[{"request_range":{"key":"aw=="}}]})");
  EXPECT_EQ(authenticate_request("a\"", "b\n"), R"({"name":"a\"","password":"b\n"})");
}

TEST(EtcdAnswer, OfEachCallIsRead) {
  std::string fault;
  const auto lease = read_grant("{" + kHeader + R"(,"ID":"7587883361364513812","TTL":"2"})", fault);
  ASSERT_TRUE(lease) << fault;
  EXPECT_EQ(lease->id, 7587883361364513812);
  EXPECT_EQ(lease->ttl_s, 2);
  EXPECT_EQ(read_keep_alive(R"({"result":{)" + kHeader + R"(,"ID":"1","TTL":"2"}})" + "\n", fault),
            2);
  EXPECT_EQ(read_keep_alive(R"({"result":{)" + kHeader + R"(,"ID":"1"}})", fault), 0) << "gone";
  EXPECT_EQ(read_revision("{" + kHeader + "}", fault), 7);
  EXPECT_EQ(read_token(R"({"header":{},"token":"abc.12"})", fault), "abc.12");
}

TEST(EtcdAnswer, OfATransactionTellsWhatStandsInItsWay) {
  std::string fault;
  const auto done =
      read_txn("{" + kHeader + R"(,"succeeded":true,"responses":[{"response_put":{}}]})", fault);
  ASSERT_TRUE(done) << fault;
  EXPECT_TRUE(done->succeeded);
  EXPECT_EQ(done->revision, 7);
  const std::string begin = "{" + kHeader + R"(,"responses":[)";
  const auto other =
      read_txn(begin + R"({"response_range":{"kvs":[)" + pair_of("a", "x") + "]}}]}", fault);
  ASSERT_TRUE(other) << fault;
  EXPECT_FALSE(other->succeeded);
  ASSERT_TRUE(other->found);
  EXPECT_EQ(other->found->value, "x");
  const auto none = read_txn(begin + R"({"response_range":{}}]})", fault);
  ASSERT_TRUE(none) << fault;
  EXPECT_FALSE(none->found);
  for (const char* const responses :
       {"", "7", R"({"response_put":{}})", R"({"response_range":{"kvs":[7]}})",
        R"({"response_range":{"kvs":[{"key":""}]}})", R"({"response_range":{}},{})"}) {
    EXPECT_FALSE(read_txn(begin + std::string(responses) + "]}", fault)) << responses;
  }
  EXPECT_FALSE(read_txn(R"({"succeeded":true})", fault)) << "it has no revision";
}

TEST(EtcdAnswer, AListingHasKeysAndRevision) {
  std::string fault;
  const auto none = read_listing("{" + kHeader + "}", fault);
  ASSERT_TRUE(none) << fault;
  EXPECT_TRUE(none->all.empty());
  const auto two = read_listing("{" + kHeader + R"(,"kvs":[)" + pair_of("a", "x") + "," +
                                    pair_of("b", std::string("\0\n\xff", 3)) + R"(],"count":"2"})",
                                fault);
  ASSERT_TRUE(two) << fault;
  EXPECT_EQ(two->revision, 7);
  EXPECT_EQ(two->count, 2);
  EXPECT_EQ(read_newest("{" + kHeader + "}", fault), (Newest{.store = 7}));
  EXPECT_EQ(
      read_newest("{" + kHeader + R"(,"more":true,"kvs":[)" +
                      pair_of(std::string(kKeyBytesMax + 1, 'k'), "", 6) + R"(],"count":"9"})",
                  fault),
      (Newest{.count = 9, .revision = 6, .store = 7}));
  EXPECT_FALSE(read_newest("{" + kHeader + R"(,"kvs":[7]})", fault));
  ASSERT_EQ(two->all.size(), 2U);
  EXPECT_EQ(two->all[1].key, "b");
  EXPECT_EQ(two->all[1].value, std::string("\0\n\xff", 3));
  EXPECT_EQ(two->all[1].mod_revision, 5);
  EXPECT_EQ(two->all[1].lease, 7587883361364513812);
}

TEST(EtcdAnswer, AValueThatIsTooLongSpoilsNoOther) {
  std::string fault;
  const auto all = read_listing("{" + kHeader + R"(,"kvs":[)" +
                                    pair_of("a", std::string(kStoredBytesMax + 1, 'x')) + "," +
                                    pair_of("b", std::string(kStoredBytesMax, 'y')) + "]}",
                                fault);
  ASSERT_TRUE(all) << fault;
  EXPECT_EQ(all->all[0].value, "");
  EXPECT_EQ(all->all[1].value.size(), kStoredBytesMax);
}

// One such key used to make every listing and the watch fail, for all brokers.
TEST(EtcdAnswer, AKeyThatIsTooLongIsPassedOverAndCounted) {
  std::string fault;
  const std::string longest(kKeyBytesMax, 'k');
  std::string kvs = pair_of(longest, "x");
  std::string events = R"({"kv":)" + pair_of(longest, "x", 8) + "}";
  std::size_t odd = 0;
  for (const std::size_t more : {std::size_t{1}, std::size_t{2}, std::size_t{3}, kValueBytesMax}) {
    const std::string kv = pair_of(longest + std::string(more, 'k'), "y", 9);
    kvs += "," + kv;
    events += R"(,{"kv":)" + kv + R"(},{"type":"DELETE","kv":)" + kv + "}";
    ++odd;
  }
  const auto all = read_listing("{" + kHeader + R"(,"kvs":[)" + kvs + "]}", fault);
  ASSERT_TRUE(all) << fault;
  ASSERT_EQ(all->all.size(), 1U);
  EXPECT_EQ(all->all[0].key, longest);
  EXPECT_EQ(all->skipped, odd);
  const auto told = read_watch_line(R"({"result":{"events":[)" + events + "]}}", fault);
  ASSERT_TRUE(told) << fault;
  ASSERT_EQ(told->events.size(), 1U);
  EXPECT_EQ(told->skipped, 2 * odd);
  EXPECT_EQ(told->newest, 9) << "a watch goes on behind them";
}

TEST(EtcdAnswer, AWatchTellsWhatHappened) {
  std::string fault;
  const auto created = read_watch_line(R"({"result":{)" + kHeader + R"(,"created":true}})", fault);
  ASSERT_TRUE(created) << fault;
  EXPECT_TRUE(created->created);
  EXPECT_FALSE(created->canceled);
  EXPECT_EQ(created->revision, 7);
  const auto told =
      read_watch_line(R"({"result":{)" + kHeader + R"(,"events":[{"kv":)" + pair_of("a", "x") +
                          R"(},{"type":"DELETE","kv":{"key":"YQ==","mod_revision":"6"}}]}})",
                      fault);
  ASSERT_TRUE(told) << fault;
  ASSERT_EQ(told->events.size(), 2U);
  EXPECT_FALSE(told->events[0].removed);
  EXPECT_EQ(told->events[0].kv.value, "x");
  EXPECT_TRUE(told->events[1].removed);
  EXPECT_EQ(told->events[1].kv.mod_revision, 6);
  const auto compacted = read_watch_line(
      R"({"result":{)" + kHeader + R"(,"canceled":true,"compact_revision":"9"}})", fault);
  ASSERT_TRUE(compacted) << fault;
  EXPECT_TRUE(compacted->canceled);
  EXPECT_EQ(compacted->compact_revision, 9);
  const auto ended =
      read_watch_line(R"({"result":{"canceled":true,"cancel_reason":"per\u001bmission"}})", fault);
  ASSERT_TRUE(ended) << fault;
  EXPECT_EQ(ended->reason, "per?mission");
  EXPECT_FALSE(read_watch_line(R"({"error":{"grpc_code":14,"message":"no\nleader"}})", fault));
  EXPECT_EQ(fault, "etcd says: no?leader");
}

TEST(EtcdAnswer, WhatIsNoneIsRefusedWithAWord) {
  const std::string deep = std::string(1000, '[') + std::string(1000, ']');
  const std::vector<std::string> bodies{
      "",
      "null",
      "[]",
      "{",
      "{}x",
      "\xff\xfe",
      R"({"a":)" + deep + "}",
      R"({"header":7,"result":7,"kvs":7,"ID":{},"TTL":"2","token":7})",
      R"({"header":{"revision":"-1"},"result":[],"ID":"-4","TTL":"2"})",
      R"({"header":{"revision":"9223372036854775808"},"ID":"9223372036854775808","TTL":"2"})",
      R"({"header":{"revision":"7x"},"ID":"0","TTL":"2","token":""})",
      R"({"header":{"revision":7.5},"ID":"1","TTL":"0","token":"a\nb"})"};
  for (const std::string& body : bodies) {
    const std::vector<std::function<bool(std::string&)>> readers{
        [&](std::string& fault) { return read_grant(body, fault).has_value(); },
        [&](std::string& fault) { return read_keep_alive(body, fault).has_value(); },
        [&](std::string& fault) { return read_revision(body, fault).has_value(); },
        [&](std::string& fault) { return read_listing(body, fault).has_value(); },
        [&](std::string& fault) { return read_newest(body, fault).has_value(); },
        [&](std::string& fault) { return read_txn(body, fault).has_value(); },
        [&](std::string& fault) { return read_watch_line(body, fault).has_value(); },
        [&](std::string& fault) { return read_token(body, fault).has_value(); }};
    for (std::size_t i = 0; i < readers.size(); ++i) {
      std::string fault;
      EXPECT_FALSE(readers[i](fault)) << i << ": " << body.substr(0, 80);
      EXPECT_NE(fault, "") << i;
    }
  }
  std::string fault;
  for (const char* const kv : {"7", "{}", R"({"key":""})", R"({"key":"YQ=","mod_revision":"1"})",
                               R"({"key":"YQ==","mod_revision":"0"})", R"({"key":7})"}) {
    EXPECT_FALSE(read_listing("{" + kHeader + R"(,"kvs":[)" + kv + "]}", fault)) << kv;
    EXPECT_FALSE(
        read_watch_line(R"({"result":{"events":[{"kv":)" + std::string(kv) + "}]}}", fault))
        << kv;
  }
  EXPECT_FALSE(read_watch_line(
      R"({"result":{"events":[{"type":"MOVE","kv":)" + pair_of("a", "") + "}]}}", fault));
  std::string many = "{" + kHeader + R"(,"kvs":[)" + pair_of("a", "");
  for (std::size_t i = 0; i < kKeysMax; ++i) {
    many += "," + pair_of("a", "");
  }
  EXPECT_FALSE(read_listing(many + "]}", fault));
  EXPECT_FALSE(read_listing("{" + kHeader + "}" + std::string(kAnswerBytesMax, ' '), fault));
}

TEST(EtcdAnswer, ARefusalIsToldOnOneLine) {
  EXPECT_EQ(read_refusal(R"({"error":"x","message":"etcdserver: \u009bno","code":5})"),
            "etcdserver: ??no");
  EXPECT_EQ(read_refusal(R"({"error":{"message":"deep"}})"), "deep");
  EXPECT_EQ(read_refusal("<html>\n"), "<html>?");
  EXPECT_EQ(read_refusal(std::string(100000, 'x')).size(), 200U);
  EXPECT_TRUE(is_lease_refusal(
      read_refusal(R"({"error":"etcdserver: requested lease not found","code":5})")));
  EXPECT_FALSE(is_lease_refusal("etcdserver: permission denied"));
}

}  // namespace
}  // namespace mserve::cluster
