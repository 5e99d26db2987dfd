// SPDX-License-Identifier: Apache-2.0
#include "cluster/shared_document.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cluster/broker_record.hpp"

namespace mserve::cluster {
namespace {

Document some_document(std::int64_t version = 7) {
  return {.version = version,
          .at = 1'800'000'000'000'000'000,
          .by = "ann@host-a",
          .note = "canary \"10%\"",
          .text = "rule = [\"-> any\"]\nusers-table = '''\nx\n'''\n"};
}
KeyValue kept(const Document& document, std::int64_t revision) {
  return {.key = document_key("c"), .value = to_value(document), .mod_revision = revision};
}

TEST(Document, ReadsBackWhatItWrote) {
  std::string fault;
  Document document = some_document();
  EXPECT_EQ(read_document(to_value(document), fault), document) << fault;
  EXPECT_EQ(from_file(to_file(document)), document);
  document.text.clear();
  EXPECT_EQ(read_document(to_value(document), fault), document) << fault;
  EXPECT_EQ(from_file(to_file(document)), document);
  document.text = std::string(kDocumentBytesMax, '#');
  EXPECT_EQ(read_document(to_value(document), fault), document) << fault;
  EXPECT_LE(to_value(document).size(), kStoredBytesMax);
  EXPECT_EQ(from_file(to_file(document)).version, 7) << "a last line without an end gets one";
  EXPECT_EQ(document.name(), "version 7 by ann@host-a");
}

TEST(Document, AFileOfAnybodyElseHasNoVersion) {
  const std::string file = to_file(some_document());
  EXPECT_EQ(from_file("").version, 0);
  EXPECT_EQ(from_file(file + "\n").version, 0) << "it was added to";
  EXPECT_EQ(from_file(file.substr(0, file.size() - 1)).version, 0) << "it was cut";
  EXPECT_EQ(from_file("x = 1\n" + file).version, 0) << "it is that of another text";
  EXPECT_EQ(from_file("x = 1 " + file.substr(file.find('#'))).version, 0) << "it is no comment";
  EXPECT_EQ(from_file("timeout = 1\n").text, "timeout = 1\n");
}

TEST(Document, WhatIsNoneIsRefusedWithAWord) {
  const std::string head = R"({"format":1,"version":1,"by":"a","at":1,"note":""})";
  std::string fault;
  ASSERT_TRUE(read_document(head + "\n", fault)) << fault;
  const std::vector<std::string> bad{
      "",
      head,
      "\n",
      "{}\nx",
      R"({"format":2,"version":1,"by":"a","at":1,"note":""})"
      "\n",
      R"({"format":1,"version":0,"by":"a","at":1,"note":""})"
      "\n",
      R"({"format":1,"version":10000000000,"by":"a","at":1,"note":""})"
      "\n",
      R"({"format":1,"version":1,"by":7,"at":1,"note":""})"
      "\n",
      R"({"format":1,"version":1,"by":"a\u001b","at":1,"note":""})"
      "\n",
      R"({"format":1,"version":1,"by":"a","note":""})"
      "\n",
      R"({"format":1,"version":1,"by":"a","at":1,"note":")" + std::string(201, 'x') + "\"}\n",
      head + "\nx\n# caf\xe9\n",
      head + "\n" + std::string(kDocumentBytesMax + 1, 'x')};
  for (const std::string& value : bad) {
    fault.clear();
    EXPECT_FALSE(read_document(value, fault)) << value.substr(0, 100);
    EXPECT_NE(fault, "") << value.substr(0, 100);
  }
}

TEST(Document, IsOutsideOfWhatBrokersWriteAndWatchedWithIt) {
  const KeyRange watched = watched_keys("c");
  const auto inside = [&watched](const std::string& key) {
    return key >= watched.from && key < watched.end;
  };
  EXPECT_TRUE(inside(broker_key("c", "a")));
  EXPECT_TRUE(inside(document_key("c")));
  EXPECT_FALSE(inside(history_key("c", 1))) << "megabytes of it would be listed";
  EXPECT_FALSE(inside(document_key("c2")));
  EXPECT_EQ(history_key("c", 12), "/mserve/c/documents/0000000012");
  EXPECT_EQ(version_of("c", history_key("c", 12)), 12);
  EXPECT_EQ(version_of("c", history_key("c", kVersionMax)), kVersionMax);
  for (const char* const key :
       {"/mserve/c/documents/", "/mserve/c/documents/12", "/mserve/c/documents/000000001x",
        "/mserve/d/documents/0000000001", "/mserve/c/documents/-000000001"}) {
    EXPECT_EQ(version_of("c", key), 0) << key;
  }
}

TEST(Document, IsWrittenWithItsHistoryOfWhichTheOldestGo) {
  const Txn first = write_txn("c", some_document(1), 0);
  EXPECT_EQ(first.mod_revision, 0);
  EXPECT_LT(first.removed.from, first.removed.end) << "etcd takes no empty range";
  EXPECT_LE(first.removed.end, history_key("c", 1));
  const Txn later = write_txn("c", some_document(40), 99);
  EXPECT_EQ(later.mod_revision, 99);
  ASSERT_EQ(later.puts.size(), 2U);
  EXPECT_EQ(later.puts[0].first, document_key("c"));
  EXPECT_EQ(later.puts[1].first, history_key("c", 40));
  EXPECT_EQ(later.removed.end, history_key("c", 9)) << "9 to 40 are 32";
}

Listing keys(const std::vector<std::string>& all) {
  Listing listing{.revision = 1};
  for (const std::string& key : all) {
    listing.all.push_back({.key = key, .mod_revision = 1});
  }
  return listing;
}

// A key of the last version there can be ended all writing, and one far ahead took the history.
TEST(Document, KeysThatOthersPutAmongFormerVersionsCountForNothing) {
  const std::string last = history_key("c", kVersionMax);
  const std::string none = "/mserve/c/documents/x";
  EXPECT_EQ(next_version("c", 7, keys({last})).version, 8);
  EXPECT_EQ(next_version("c", 7, keys({last})).stray, last);
  EXPECT_EQ(next_version("c", 7, keys({none})).stray, none);
  EXPECT_EQ(next_version("c", 7, keys({history_key("c", 8)})).version, 8);
  EXPECT_EQ(next_version("c", 7, keys({history_key("c", 7)})).stray, "");
  // Without a document those that were kept say, which are in a row.
  EXPECT_EQ(next_version("c", 0, {}).version, 1);
  EXPECT_EQ(next_version("c", 0, keys({history_key("c", 12), history_key("c", 11)})).version, 13);
  const std::vector<std::string> all{none,
                                     last,
                                     history_key("c", 40),
                                     history_key("c", 12),
                                     history_key("c", 11),
                                     history_key("c", 2)};
  EXPECT_EQ(next_version("c", 0, keys(all)).version, 13);
  EXPECT_EQ(next_version("c", 0, keys(all)).stray, last);
  EXPECT_EQ(next_version("c", 0, keys({last, history_key("c", 1)})).version, 2);
  EXPECT_EQ(next_version("c", 0, keys({none})).version, 1);
  EXPECT_EQ(next_version("c", 0, keys({last})).version, 1);
  EXPECT_EQ(next_version("c", 0, keys({last})).stray, last);
}

TEST(DocumentWatch, FollowsWhatEtcdSays) {
  DocumentWatch watch("c");
  EXPECT_FALSE(watch.known());
  EXPECT_TRUE(watch.listed({.revision = 3})) << "now it is known that there is none";
  EXPECT_TRUE(watch.known());
  EXPECT_FALSE(watch.listed({.revision = 4}));
  EXPECT_FALSE(watch.told({.kv = {.key = broker_key("c", "a"), .value = "x", .mod_revision = 5}}));
  EXPECT_TRUE(watch.told({.kv = kept(some_document(1), 6)}));
  EXPECT_EQ(watch.document(), some_document(1));
  EXPECT_FALSE(watch.told({.kv = kept(some_document(1), 6)})) << "it is no news";
  EXPECT_FALSE(watch.listed({.revision = 7, .all = {kept(some_document(1), 6)}}));
  EXPECT_TRUE(watch.listed({.revision = 9, .all = {kept(some_document(2), 8)}}));
  EXPECT_EQ(watch.revision(), 8);
  // Somebody wrote something with etcdctl: it can be written over, and changes nothing.
  EXPECT_TRUE(watch.told({.kv = {.key = document_key("c"), .value = "x", .mod_revision = 10}}));
  EXPECT_EQ(watch.document(), some_document(2));
  EXPECT_EQ(watch.revision(), 10);
  EXPECT_NE(watch.fault(), "");
  EXPECT_TRUE(watch.told({.removed = true, .kv = {.key = document_key("c"), .mod_revision = 11}}));
  EXPECT_EQ(watch.document().version, 0);
  EXPECT_EQ(watch.revision(), 0);
  EXPECT_EQ(watch.fault(), "");
  // A store that was set back.
  EXPECT_TRUE(watch.listed({.revision = 2, .all = {kept(some_document(1), 1)}}));
  // An etcd that was set up anew comes to the same numbers.
  Document other = some_document(1);
  other.text = "timeout = \"99s\"\n";
  EXPECT_TRUE(watch.listed({.revision = 2, .all = {kept(other, 1)}}));
  EXPECT_EQ(watch.document(), other);
  EXPECT_FALSE(watch.listed({.revision = 2, .all = {kept(other, 1)}}));
  EXPECT_TRUE(watch.listed({.revision = 2}));
}

}  // namespace
}  // namespace mserve::cluster
