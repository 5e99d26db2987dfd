// SPDX-License-Identifier: Apache-2.0
// Goal: one command gives all brokers of a cluster a canary, and one takes it back; whoever asks is
//   answered alike everywhere; nothing is lost if two operators, or a broker, disagree.
// Method: three brokers with a real etcd, each with a servant and a canary of its own. A thousand
//   users ask each of them.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cluster/etcd_process.hpp"
#include "cluster/member_setup.hpp"
#include "mserve/client/query.hpp"
#include "mserve/kdb/route.hpp"
#include "mserve/shm/clock.hpp"
#include "support/test_gateway.hpp"
#include "system/ctl_setup.hpp"

namespace mserve::test {
namespace {

constexpr const char* kNobody = "rule = ['-> !version=canary']\n";
constexpr const char* kTenPercent =
    "rule = ['share=10% -> version=canary else !version=canary', '-> !version=canary']\n";

/// A broker that is in the cluster, with its servants.
class Host {
 public:
  Host(const Etcd& etcd, const std::string& id)
      : id_(id),
        broker_({.args = {"-p", std::to_string(unused_port()), "--cluster", etcd.url(),
                          "--cluster-id", id, "--spill-after", "10m"}}) {
    attach();
  }

  /// Its own servants, which count before any link does.
  void attach() {
    stable_ = broker_.spawn_servant("stable", {"--rows", "0"});
    canary_ = broker_.spawn_servant("canary", {"--rows", "0", "--tags", "version=canary"});
    EXPECT_TRUE(wait_until([&] { return has_servant("stable") && has_servant("canary"); },
                           "servants of " + id_));
  }
  [[nodiscard]] Broker& broker() noexcept { return broker_; }
  [[nodiscard]] std::string file() const {
    return broker_.directory() + "/" + broker_.name() + ".cluster.toml";
  }
  /// Waits until something in the state file has a value.
  void wait_for(const std::string& path, const boost::json::value& wanted) const {
    EXPECT_TRUE(wait_until([&] { return inside(cluster_state(broker_), path) == wanted; },
                           id_ + ": " + path + " to be " + boost::json::serialize(wanted)))
        << boost::json::serialize(cluster_state(broker_)) << '\n'
        << broker_.log();
  }
  void wait_for_peers(std::size_t count) const {
    EXPECT_TRUE(wait_until(
        [&] {
          const boost::json::value peers = inside(cluster_state(broker_), "peers");
          return peers.is_array() && peers.as_array().size() == count;
        },
        id_ + " to see the others"));
  }
  Output order(std::vector<std::string> args) const {
    args.insert(args.begin(), {"ctl", "cluster"});
    return stat(broker_, std::move(args));
  }
  /// Which of so many users a canary serves.
  [[nodiscard]] std::set<int> canary_users(int count) const {
    std::set<int> users;
    Client client = broker_.client();  // one that knows of rules says who asks
    for (int i = 0; i < count; ++i) {
      Query query = make_query("echo 1", client);
      const std::string user = "user" + std::to_string(i);
      query.user_hash =
          kdb::route_of("", {}, {.kind = kdb::RouteRule::Kind::user}, {.user = user}).hash;
      const auto sent = send_query(client, query, {}, watchdog());
      Reply reply;
      if (!sent || client.await(sent.value(), reply, watchdog()) != Errc::ok) {
        ADD_FAILURE() << "no answer at " << id_;
        break;
      }
      const auto answer = answer_of(reply);
      const auto servant = answer ? answer.value().info.find("qsvr") : std::nullopt;
      const std::string name(servant ? servant->text_view().value_or("") : "");
      EXPECT_TRUE(name == "canary" || name == "stable") << name;
      if (name == "canary") {
        users.insert(i);
      }
    }
    return users;
  }

 private:
  [[nodiscard]] bool has_servant(const std::string& name) const {
    return !servant_row(broker_, name).is_null();
  }

  std::string id_;
  Broker broker_;
  Process stable_;
  Process canary_;
};

class ClusterDocument : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!etcd_is_here()) {
      GTEST_SKIP() << "etcd and etcdctl are not on PATH: install etcd-server and etcd-client";
    }
    etcd_ = std::make_unique<Etcd>();
  }
  void join(const std::vector<std::string>& ids) {
    for (const std::string& id : ids) {
      hosts_.push_back(std::make_unique<Host>(*etcd_, id));
    }
    for (const auto& host : hosts_) {
      host->wait_for_peers(hosts_.size() - 1);
    }
  }
  std::string document(const std::string& text) {
    const std::string path = dir_.file("document.toml");
    std::ofstream(path) << text;
    return path;
  }
  static void expect(const Output& output, int exit_code, const std::string& words) {
    EXPECT_EQ(output.exit_code, exit_code) << output.out << output.err;
    EXPECT_NE((output.out + output.err).find(words), std::string::npos) << output.out << output.err;
  }

  TempDir dir_;
  std::unique_ptr<Etcd> etcd_;
  std::vector<std::unique_ptr<Host>> hosts_;
};

TEST_F(ClusterDocument, ACanaryIsRolledOutToAllBrokersByOneCommandAndBackByOne) {
  join({"a", "b", "c"});
  expect(hosts_[0]->order({"apply", document(kNobody)}), 0,
         "version 1 is written and holds at 3 brokers\n  a  applied\n  b  applied\n  c  applied\n");
  for (const auto& host : hosts_) {
    EXPECT_TRUE(host->canary_users(50).empty());
  }
  expect(hosts_[1]->order({"apply", document(kTenPercent), "--note", "canary 10%"}), 0,
         "version 2 is written and holds at 3 brokers");
  for (const auto& host : hosts_) {
    EXPECT_EQ(inside(cluster_state(host->broker()), "own.document.version"), 2)
        << "as soon as it is said";
  }
  const auto of_b = cluster_state(hosts_[1]->broker());
  EXPECT_EQ(inside(peer_in(of_b, "a"), "document.version"), 2);
  EXPECT_EQ(inside(peer_in(of_b, "c"), "document.version"), 2);
  const std::set<int> users = hosts_[0]->canary_users(1000);
  EXPECT_GE(users.size(), 70U);
  EXPECT_LE(users.size(), 130U);
  EXPECT_EQ(hosts_[1]->canary_users(1000), users);
  EXPECT_EQ(hosts_[2]->canary_users(1000), users);
  hosts_[2]->wait_for("document.version", 2);
  hosts_[2]->wait_for("own.document.version", 2);
  const Output shown = stat(hosts_[2]->broker(), {"cluster"});
  EXPECT_NE(shown.out.find("document: version 2 by "), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("@b at "), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("(canary 10%)\n"), std::string::npos) << shown.out;
  for (const char* const peer : {"a", "b"}) {
    EXPECT_TRUE(wait_until(
        [&] {
          return inside(peer_in(cluster_state(hosts_[2]->broker()), peer), "document.version") == 2;
        },
        "c to show what others have"));
  }
  struct stat status {};
  ASSERT_EQ(::stat(hosts_[0]->file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U) << "users' passwords may be in it";
  expect(hosts_[2]->order({"rollback"}), 0, "version 3 is written and holds at 3 brokers");
  for (const auto& host : hosts_) {
    EXPECT_TRUE(host->canary_users(200).empty());
  }
  // One that joins later has it at once.
  Host late(*etcd_, "d");
  late.wait_for("own.document.version", 3);
  EXPECT_TRUE(late.canary_users(50).empty());
  const Output history = late.order({"history"});
  EXPECT_NE(history.out.find("rollback to version 1\n"), std::string::npos) << history.out;
  EXPECT_NE(history.out.find("canary 10%\n"), std::string::npos) << history.out;
  EXPECT_EQ(late.order({"show", "2"}).out, kTenPercent);
}

TEST_F(ClusterDocument, OperatorsWhoDisagreeWithABrokerOrWithOneAnotherLoseNothing) {
  join({"a", "b"});
  Host& a = *hosts_[0];
  Host& b = *hosts_[1];
  const Output bad = a.order({"apply", document("timeout = \"2s\"\nport = 5000\nspeed = 1\n")});
  expect(bad, 1, "document.toml: line 2: ");
  EXPECT_NE(bad.err.find("document.toml: line 3: "), std::string::npos) << bad.err;
  EXPECT_NE(bad.err.find("the document is not valid; nothing was written"), std::string::npos);
  expect(a.order({"apply", document("timeout = \"2s\"\n# caf\xe9\n")}), 1,
         "document.toml: line 2: not valid UTF-8");
  EXPECT_EQ(etcd_->get("/mserve/default/document"), "");
  expect(a.order({"apply", document("timeout = \"2s\"\n")}), 0, "version 1 is written");
  expect(b.order({"apply", document("timeout = \"3s\"\n"), "--base", "1"}), 0, "version 2");
  const Output late = a.order({"apply", document("timeout = \"4s\"\n"), "--base", "1"});
  expect(late, 1, "the current one is version 2 by ");
  // Only a broker knows that it has no such plugin: it keeps what it had.
  const Output refused = a.order({"apply", document("policy = \"plugin\"\n")});
  expect(refused, 1, "version 3 is written, but 2 of 2 brokers do not take it");
  EXPECT_NE(refused.out.find("  b  refused: "), std::string::npos) << refused.out;
  EXPECT_NE(refused.err.find("take it back with rollback"), std::string::npos) << refused.err;
  b.wait_for("own.document.refused", 3);
  b.wait_for("own.document.version", 2);
  EXPECT_TRUE(wait_until(
      [&] { return inside(peer_in(cluster_state(b.broker()), "a"), "document.refused") == 3; },
      "b to show what a refused"));
  EXPECT_NE(read_file(b.file()).find("timeout = \"3s\""), std::string::npos)
      << "what it had, for when it starts again";
  const Output seen = stat(b.broker(), {"cluster"});
  EXPECT_NE(seen.out.find("this broker refused 3 and has version 2: "), std::string::npos)
      << seen.out;
  EXPECT_NE(seen.out.find("2, refused 3"), std::string::npos) << seen.out;
  expect(b.order({"rollback"}), 0, "version 4 is written and holds at 2 brokers");
  EXPECT_EQ(a.order({"show"}).out, "timeout = \"3s\"\n");
  EXPECT_EQ(a.order({"show", "3"}).out, "policy = \"plugin\"\n");

  // Without etcd nothing is written, and what holds stays, also over a restart.
  etcd_->kill();
  a.wait_for("etcd.reached", false);
  expect(a.order({"apply", document(kNobody)}), 1, "nothing was written");
  expect(a.order({"show"}), 0, "etcd is not reached, so it may be old");
  b.broker().stop();
  b.broker().start();
  b.wait_for("own.document.version", 4);
  EXPECT_NE(stat(b.broker(), {"cluster"}).out.find("etcd has not said yet"), std::string::npos);
  EXPECT_EQ(b.order({"show"}).out, "timeout = \"3s\"\n");
  etcd_->start();
  a.wait_for("etcd.reached", true);
  b.wait_for("etcd.reached", true);
  b.wait_for("own.document", boost::json::object{{"version", 4}, {"refused", 0}, {"fault", ""}});

  // What somebody else does to the key.
  etcd_->put("/mserve/default/document", "garbage");
  a.wait_for("document.fault", "it is no line with a text");
  expect(a.order({"apply", document(kTenPercent)}), 0, "version 5 is written and holds");
  etcd_->remove("/mserve/default/document");
  b.wait_for("document.version", 0);
  expect(b.order({"rollback"}), 1, "there is no document; see history");
  etcd_->put("/mserve/default/documents/9999999999", "garbage");
  expect(b.order({"rollback", "5"}), 0, "version 6 is written and holds at 2 brokers");
  expect(b.order({"apply", document(kNobody)}), 0, "version 7 is written and holds at 2 brokers");
  expect(b.order({"rollback"}), 0, "version 8 is written and holds at 2 brokers");
  EXPECT_TRUE(wait_until([&] { return b.broker().log_lines("history_key_ignored").size() == 1; },
                         "that key in the log, once"));
}

// An etcd that is set up anew took the users and limits of all brokers away.
TEST_F(ClusterDocument, AnEtcdThatHasLostItTakesItFromNobody) {
  join({"a", "b"});
  const std::string text = "retries = 3\n";
  expect(hosts_[0]->order({"apply", document(text)}), 0, "version 1 is written");
  etcd_->ctl({"del", "--prefix", "/mserve/default/document"});
  for (const auto& host : hosts_) {
    EXPECT_NE(host->broker().wait_for_log("document_gone").find("kept=1"), std::string::npos);
    EXPECT_EQ(inside(cluster_state(host->broker()), "own.document.version"), 1);
    EXPECT_TRUE(std::ifstream(host->file()).good());
  }
  EXPECT_TRUE(wait_until(
      [&] {
        const std::string shown = stat(hosts_[0]->broker(), {"cluster"}).out;
        return shown.find("document: none in etcd; this broker has version 1: apply what") !=
               std::string::npos;
      },
      "it to be shown"));
  const Output shown = hosts_[1]->order({"show"});
  expect(shown, 0, "etcd has none any more");
  EXPECT_EQ(shown.out, text);
  expect(hosts_[1]->order({"apply", document(shown.out)}), 0,
         "version 2 is written and holds at 2 brokers");
  expect(hosts_[0]->order({"show"}), 0, text);
}

TEST_F(ClusterDocument, WhoeverIsInNoClusterIsToldSo) {
  Broker broker(broker_with({}));
  const auto order = [&](std::vector<std::string> args) {
    args.insert(args.begin(), {"ctl", "cluster"});
    return stat(broker, std::move(args));
  };
  expect(order({"show"}), 3, "is in no cluster: there is no ");
  expect(order({"apply", dir_.file("none")}), 2, "none: No such file");
  expect(order({"apply"}), 2, "file is missing");
  const std::string verbs = "commands are: apply, rollback, show, history";
  expect(order({}), 2, verbs);
  expect(order({"aply", "x"}), 2, "cluster: there is no subcommand 'aply'; is it 'apply'?");
  // Its own mserve-cluster cannot have it read a document.
  Member member(broker, "a", etcd_->url());
  member.wait_for_log("etcd_reached");
  expect(order({"apply", document(kNobody)}), 1, "  a  refused: ");
  expect(order({"rollback"}), 1, "version 2 is written, but 1 of 1 broker does not take it");
}

}  // namespace
}  // namespace mserve::test
