// SPDX-License-Identifier: Apache-2.0
// The state file: what mserve-cluster writes, and what mserve-stat makes of it.
#include "stat/cluster_view.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "cluster/state_file.hpp"
#include "mserve/kdb/json.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

namespace mserve::cluster {
namespace {

constexpr std::int64_t kNow = 1'800'000'000'000'000'000;
constexpr std::int64_t kWallSecond = 1'000'000'000;

/// A state with one peer.
std::string some_state(const EtcdStatus& etcd) {
  const ClusterOptions options{.endpoints = {"http://e:1"}, .id = "a", .advertise = "ha:1"};
  PeerTable table(brokers_prefix("default"), "a", "", "");
  BrokerRecord peer{.id = "b", .address = "hb:2", .zone = "z", .version = "0.1"};
  peer.servants = {{.tags = "x", .free = 2, .busy = 1}, {.tags = "y", .free = 1}};
  peer.load = 0.25;
  peer.document = {.version = 7};
  table.told({.kv = {.key = broker_key("default", "b"), .value = to_json(peer), .mod_revision = 5}},
             {.steady_ns = 1, .wall_ns = kNow - kWallSecond});
  BrokerRecord own{.id = "a", .address = "ha:1", .region = "eu"};
  own.document = {.version = 6, .refused = 7, .fault = "line 2: no"};
  DocumentWatch watch("default");
  (void)watch.told(
      {.kv = {.key = document_key("default"),
              .value = to_value({.version = 7, .at = kNow, .by = "x@b", .note = "why"}),
              .mod_revision = 4}});
  return state_json(
      {.options = options,
       .broker = "default",
       .own = own,
       .published = true,
       .document = watch,
       .etcd = etcd,
       .table = table,
       .link =
           [](const std::string&) { return LinkView{.pid = 77, .state = "running", .ending = 1}; },
       .written_at = kNow});
}

TEST(ClusterView, ShowsWhatWasWritten) {
  std::string reason;
  const auto view = stat::view_cluster(
      some_state({.endpoint = "http://e:1", .reached = true, .revision = 9, .lease_ttl_s = 2}),
      kNow + kWallSecond, reason);
  ASSERT_TRUE(view) << reason;
  EXPECT_EQ(view.value().warning, "");
  ASSERT_EQ(view.value().lines.size(), 3U);
  EXPECT_EQ(view.value().lines[0], "cluster default: this is a at ha:1, region eu, serving");
  EXPECT_EQ(view.value().lines[1], "etcd http://e:1: reached, revision 9, lease 2 s");
  EXPECT_EQ(
      view.value().lines[2],
      "document: version 7 by x@b at 2027-01-15 08:00:00 (why); this broker refused 7 and has "
      "version 6: line 2: no");
  const std::string row = kdb::to_json(view.value().peers);
  EXPECT_NE(row.find(R"("version":"0.1","document":"7","changed":)"), std::string::npos) << row;
  EXPECT_NE(row.find(R"("id":"b","state":"serving","tier":2,"link":"running","pid":77,"zone":"z")"),
            std::string::npos)
      << row;
  EXPECT_NE(row.find(R"("load":0.25,"queued":0,"queue_age_ms":0,"free":3,"busy":1)"),
            std::string::npos)
      << row;
  EXPECT_NE(view.value().json.find(R"("ending":1)"), std::string::npos);
}

TEST(ClusterView, WarnsOfWhatIsOldOrStale) {
  std::string reason;
  const std::string stale = some_state({.endpoint = "http://e:1",
                                        .revision = 9,
                                        .stale_since = kNow - 12 * kWallSecond,
                                        .fault = "no\x1b[2J answer"});
  const auto view = stat::view_cluster(stale, kNow, reason);
  ASSERT_TRUE(view) << reason;
  EXPECT_NE(view.value().warning.find("etcd is not reached"), std::string::npos);
  EXPECT_EQ(view.value().lines[1], "etcd http://e:1: not reached for 12.0 s: no?[2J answer");
  const auto old = stat::view_cluster(stale, kNow + 60 * kWallSecond, reason);
  ASSERT_TRUE(old);
  EXPECT_NE(old.value().warning.find("has told nothing for 60.0 s"), std::string::npos)
      << old.value().warning;
}

TEST(ClusterView, SaysWhoHasTheIdOfThisBroker) {
  std::string reason;
  const auto view = stat::view_cluster(
      some_state({.endpoint = "http://e:1", .reached = true, .contested_by = "other:2"}), kNow,
      reason);
  ASSERT_TRUE(view) << reason;
  EXPECT_EQ(view.value().lines[0],
            "cluster default: this is a at ha:1, region eu, not shown to others: another broker "
            "has its --cluster-id");
  EXPECT_NE(view.value().warning.find("another broker (other:2) has the --cluster-id of this one"),
            std::string::npos)
      << view.value().warning;
  EXPECT_NE(view.value().json.find(R"("published":false,"contested_by":"other:2")"),
            std::string::npos);
}

TEST(ClusterView, WhatIsNoneIsRefused) {
  for (const std::string& text : {std::string(), std::string("[]"), std::string("{}"),
                                  std::string(R"({"format":2,"own":{},"etcd":{},"peers":[]})"),
                                  std::string(R"({"format":1,"own":[],"etcd":{},"peers":[]})"),
                                  std::string(R"({"format":1,"own":{},"etcd":{},"peers":{}})")}) {
    std::string reason;
    EXPECT_FALSE(stat::view_cluster(text, kNow, reason)) << text;
    EXPECT_NE(reason, "") << text;
  }
  std::string reason;
  EXPECT_TRUE(stat::view_cluster(
      R"({"format":1,"own":{"id":7},"etcd":{"reached":"x"},"peers":[7,{},{"link":7,"load":"x","servants":[7,{"free":"x"}]}]})",
      kNow, reason))
      << "what is missing is shown as nothing: " << reason;
}

TEST(StateFile, IsReplacedAsAWholeAndForItsOwner) {
  const test::TempDir dir;
  EXPECT_EQ(write_state(dir.path(), "b", "one\n"), 0);
  EXPECT_EQ(write_state(dir.path(), "b", "two\n"), 0);
  EXPECT_EQ(test::read_file(state_path(dir.path(), "b")), "two\n");
  EXPECT_EQ(test::count_entries(dir.path()), 1U);
  struct stat status {};
  ASSERT_EQ(::stat(state_path(dir.path(), "b").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  std::ofstream(dir.file("b.sock")) << "";
  ASSERT_EQ(chmod(dir.file("b.sock").c_str(), 0660), 0);
  EXPECT_EQ(write_state(dir.path(), "b", "three\n"), 0);
  ASSERT_EQ(::stat(state_path(dir.path(), "b").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640U) << "as the socket's group";
  EXPECT_NE(write_state(dir.file("none"), "b", "x"), 0);
}

TEST(StateFile, ReasonsSayWhatToDo) {
  const test::TempDir dir;
  std::string reason;
  EXPECT_EQ(stat::read_cluster({.name = "b", .directory = dir.path()}, kNow, reason).error().code,
            Errc::no_broker);
  EXPECT_NE(reason.find("start it with --cluster URL"), std::string::npos) << reason;
  EXPECT_EQ(
      stat::read_cluster({.name = "../b", .directory = dir.path()}, kNow, reason).error().code,
      Errc::invalid);
  ASSERT_EQ(symlink("/etc/passwd", state_path(dir.path(), "b").c_str()), 0);
  EXPECT_FALSE(stat::read_cluster({.name = "b", .directory = dir.path()}, kNow, reason));
  EXPECT_NE(reason.find("b.cluster.json: "), std::string::npos) << reason;
}

}  // namespace
}  // namespace mserve::cluster
