// SPDX-License-Identifier: Apache-2.0
#include "cluster/broker_record.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace mserve::cluster {
namespace {

BrokerRecord some_record() {
  return {.id = "hostA-prices",
          .address = "hostA.desk.example:5000",
          .zone = "a",
          .region = "eu-1",
          .version = "0.1.0",
          .epoch = UINT64_MAX,
          .servants = {{.tags = "group=hdb version=1", .free = 2, .busy = 1}, {.tags = ""}},
          .queued = 7,
          .queue_age_ms = 12,
          .load = 0.25};
}

/// The record with one member replaced; `value` "" takes it away.
std::string with(const std::string& key, const std::string& value) {
  std::string text = to_json(some_record());
  const std::size_t at = text.find("\"" + key + "\":");
  EXPECT_NE(at, std::string::npos) << key;
  std::size_t end = at + key.size() + 3;
  for (int depth = 0; end < text.size() && (depth > 0 || (text[end] != ',' && text[end] != '}'));
       ++end) {
    depth += text[end] == '[' ? 1 : text[end] == ']' ? -1 : 0;
  }
  return text.replace(at, end - at,
                      value.empty() ? "\"unknown\":{\"x\":[1]}" : "\"" + key + "\":" + value);
}

TEST(BrokerRecord, ReadsBackWhatItWrote) {
  std::string fault;
  BrokerRecord record = some_record();
  EXPECT_EQ(read_record(to_json(record), record.id, fault), record) << fault;
  record.draining = true;
  EXPECT_EQ(read_record(to_json(record), record.id, fault), record) << fault;
  EXPECT_EQ(to_json(record).find('\n'), std::string::npos);
  record.document = {.version = 6, .refused = 7, .fault = "line 3: \"no\""};
  EXPECT_EQ(read_record(to_json(record), record.id, fault), record) << fault;
  record = {.id = "x", .address = "[::1]:1"};
  EXPECT_EQ(read_record(to_json(record), "x", fault), record) << fault;
}

TEST(BrokerRecord, UnknownFieldsArePassedOver) {
  std::string fault;
  std::string text = to_json(some_record());
  text.insert(1, R"("later":{"a":[1,{"b":null}]},)");
  EXPECT_EQ(read_record(text, some_record().id, fault), some_record()) << fault;
}

TEST(BrokerRecord, TheLongestFitsAndABadStandingIsRefused) {
  BrokerRecord record = some_record();
  record.servants.assign(kServantGroupsMax, {.tags = std::string(kTagsBytesMax, 't')});
  record.document = {.version = 1, .refused = 2, .fault = std::string(kFaultBytesMax, '"')};
  const std::string text = to_json(record);
  EXPECT_LE(text.size(), kValueBytesMax);
  std::string fault;
  EXPECT_TRUE(read_record(text, record.id, fault)) << fault;
  record = some_record();
  record.document = {.version = 1, .fault = std::string(kFaultBytesMax + 1, 'x')};
  EXPECT_FALSE(read_record(to_json(record), record.id, fault));
  record.document->fault = "a\x1b[2J";
  EXPECT_FALSE(read_record(to_json(record), record.id, fault));
  record.document = {.version = -1};
  EXPECT_FALSE(read_record(to_json(record), record.id, fault));
  EXPECT_NE(fault.find("document has no version"), std::string::npos) << fault;
}

TEST(BrokerRecord, WhatIsNoneIsRefusedWithAWord) {
  const std::pair<const char*, std::vector<const char*>> cases[] = {
      {"format", {"", "2", "\"x\"", "null"}},
      {"id", {"", "7", "\"other\""}},
      {"address",
       {"", "7", "\"\"", "\"host\"", "\"host:\"", "\"host:0\"", "\"host:65536\"", "\"a b:1\"",
        "\"-x:1\"", "\"h:1:2\"", "\"::1:5000\"", "\"[::1:5000\"", "\"[x]:1\"", "\"h;rm:1\"",
        "\"host:5000 --user x\"", "\"host:05000x\""}},
      {"zone", {"7", "\"a b\"", "\"abcdefghijklmnopqrstuvwxyz0123456789\""}},
      {"region", {"[]", "\"a/b\""}},
      {"version", {"", "7", "\"\\u001b[2J\"", "\"0123456789012345678901234567890123456789\""}},
      {"state", {"", "\"gone\"", "1"}},
      {"epoch", {"", "7", "\"x\"", "\"-1\"", "\"18446744073709551616\""}},
      {"servants",
       {"", "{}", "[7]", "[{}]", R"([{"tags":"a","free":-1,"busy":0}])",
        R"([{"tags":"a","free":1}])", R"([{"tags":"a\nb","free":1,"busy":0}])",
        R"([{"tags":"a","free":4294967296,"busy":0}])"}},
      {"queued", {"", "-1", "1.5"}},
      {"queue_age_ms", {"", "\"x\""}},
      {"load", {"", "2", "-0.5", "\"1\"", "1e999"}}};
  for (const auto& [key, values] : cases) {
    for (const char* const value : values) {
      std::string fault;
      EXPECT_FALSE(read_record(with(key, value), some_record().id, fault)) << key << ": " << value;
      EXPECT_NE(fault, "") << key << ": " << value;
    }
  }
  std::string fault;
  EXPECT_FALSE(read_record("", "x", fault));
  EXPECT_FALSE(read_record("[]", "x", fault));
  EXPECT_FALSE(
      read_record(to_json(some_record()) + std::string(20000, ' '), some_record().id, fault));
  BrokerRecord record = some_record();
  record.id = "a/b";
  EXPECT_FALSE(read_record(to_json(record), "a/b", fault));
  record = some_record();
  record.servants.assign(kServantGroupsMax + 1, {.tags = "a"});
  EXPECT_FALSE(read_record(to_json(record), record.id, fault));
  record.servants = {{.tags = std::string(kTagsBytesMax + 1, 'a')}};
  EXPECT_FALSE(read_record(to_json(record), record.id, fault));
}

TEST(BrokerRecord, TagsAreJoinedWithoutWeightAndPeer) {
  EXPECT_EQ(servant_tags("b, a  weight=3 peer=x a"), "a b");
  EXPECT_EQ(servant_tags(""), "");
  BrokerRecord record = some_record();
  record.servants = {{.tags = "group=rdb"}, {.tags = "group=hdb gpu"}, {.tags = "gpu"}};
  EXPECT_EQ(all_tags(record, 100), "gpu group=hdb group=rdb");
  EXPECT_EQ(all_tags(record, 14), "gpu group=hdb") << "whole words only";
  EXPECT_EQ(all_tags(record, 3), "");
}

}  // namespace
}  // namespace mserve::cluster
