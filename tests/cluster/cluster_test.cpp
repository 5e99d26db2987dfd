// SPDX-License-Identifier: Apache-2.0
// Brokers that find one another by a real etcd: who is seen, who gets a link, and what stays when
// etcd, a broker or mserve-cluster goes. Links are stand-ins that only say how they were started.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <string>
#include <vector>

#include "cluster/cluster_options.hpp"
#include "cluster/etcd_process.hpp"
#include "cluster/member_setup.hpp"
#include "cluster/watch_proxy.hpp"
#include "support/requests.hpp"
#include "support/test_gateway.hpp"
#include "system/ctl_setup.hpp"
#include "unit/cluster/fake_etcd.hpp"

namespace mserve::test {
namespace {

/// A key as some broker would write it.
std::string record_of(const std::string& id) {
  return R"({"format":1,"id":")" + id + R"(","address":"ghost:1","zone":"a","region":"eu",)" +
         R"("version":"9","state":"serving","epoch":"1","servants":[{"tags":"","free":1,"busy":0}],"queued":0,)" +
         R"("queue_age_ms":0,"load":0})";
}
/// A broker without servants has no links to it.
BrokerSetup with_servant(std::vector<std::string> args = {}) {
  BrokerSetup setup;
  setup.args = std::move(args);
  setup.servants = 1;
  setup.servant_args = "--rows 10";
  return setup;
}
std::string key_of(const std::string& id) {
  return "/mserve/default/brokers/" + id;
}
/// At which revision a key was written; 0: there is none.
std::int64_t written(const Etcd& etcd, const std::string& key) {
  const boost::json::value all = boost::json::parse(etcd.ctl({"get", "-w", "json", key}));
  const boost::json::value keys = inside(all, "kvs");
  return keys.is_array() ? keys.at(0).at("mod_revision").as_int64() : 0;
}

class Cluster : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!etcd_is_here()) {
      GTEST_SKIP() << "etcd and etcdctl are not on PATH: install etcd-server and etcd-client";
    }
  }
};

TEST_F(Cluster, BrokersSeeOneAnotherAndAreLinkedByWhereTheyAre) {
  Etcd etcd;
  Broker a(BrokerSetup{
      .args = {}, .servants = 1, .servant_args = "--rows 10 --tags group=hdb,weight=3"});
  Broker b(with_servant());
  Member of_a(a, "a", etcd.url(), {"--zone", "a", "--region", "eu"});
  Member of_b(b, "b", etcd.url(), {"--zone", "b", "--region", "eu"});
  of_a.wait_for_peer("b", "link.state", "running");
  of_b.wait_for_link(" --peer --broker " + b.name() + " --dir " + b.directory() +
                     " --q host-a:5000 --servant-protocol lbt --credit 8 --tier 2 --name peer-a "
                     "--tags peer=a group=hdb --stop-timeout 3600");
  of_b.wait_for_peer("a", "state", "serving");
  EXPECT_EQ(inside(peer_in(of_a.state(), "b"), "zone"), "b");
  EXPECT_EQ(inside(peer_in(of_a.state(), "b"), "address"), "host-b:5000");
  EXPECT_NE(etcd.get(key_of("a")).find(R"("servants":[{"tags":"group=hdb","free":1,"busy":0}])"),
            std::string::npos);
  // What people see.
  const Output shown = stat(b, {"cluster"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_NE(shown.out.find("cluster default: this is b at host-b:5000, zone b, region eu, serving"),
            std::string::npos)
      << shown.out;
  EXPECT_NE(shown.out.find("etcd " + etcd.url() + ": reached, revision "), std::string::npos);
  EXPECT_NE(shown.out.find("host-a:5000"), std::string::npos);
  EXPECT_EQ(shown.err, "");
  const Output json = stat(b, {"cluster", "--json"});
  EXPECT_EQ(inside(peer_in(boost::json::parse(json.out), "a"), "tier"), 2);
  struct stat status {};
  ASSERT_EQ(::stat((b.directory() + "/" + b.name() + ".cluster.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  // A link that dies comes back.
  const pid_t first = of_a.link_to("b");
  ASSERT_GT(first, 0);
  (void)kill(first, SIGKILL);
  EXPECT_TRUE(wait_until([&] { return of_a.link_to("b") != first && of_a.link_to("b") != 0; },
                         "another link"));
  EXPECT_EQ(of_a.count("link_ended peer=b pid=" + std::to_string(first) + " signal=9"), 1U);
  // Who leaves on purpose is gone at once, with its links.
  const pid_t to_a = of_b.link_to("a");
  of_a.process().signal(SIGTERM);
  EXPECT_EQ(of_a.process().wait(), 0) << of_a.log();
  of_b.wait_until_gone("a");
  EXPECT_TRUE(wait_until([&] { return gone(to_a); }, "the link to end"));
  EXPECT_EQ(etcd.get(key_of("a")), "");
  EXPECT_EQ(stat(a, {"cluster"}).exit_code, 3);
  EXPECT_NE(stat(a, {"cluster"}).err.find("is in no cluster: there is no "), std::string::npos);
}

TEST_F(Cluster, ABrokerThatDrainsIsShownSoAndLosesItsLink) {
  Etcd etcd;
  Broker a(BrokerSetup{.args = {"--drain-timeout", "60s"}});
  Broker b(with_servant());
  // Something will run, so that draining takes a while.
  RawPeer servant = raw_servant(a, "holds");
  Member of_a(a, "a", etcd.url());
  Member of_b(b, "b", etcd.url());
  of_b.wait_for_peer("a", "link.state", "running");
  const pid_t link = of_b.link_to("a");
  Client client = a.client();
  (void)send_opaque(client, pattern(8));
  a.wait_for_counter("running", 1);
  a.process().signal(SIGTERM);
  of_b.wait_for_peer("a", "state", "draining");
  of_b.wait_for_peer("a", "link.state", "none");
  EXPECT_TRUE(wait_until([&] { return gone(link); }, "the link to end"));
  EXPECT_NE(etcd.get(key_of("a")).find(R"("state":"draining")"), std::string::npos);
  a.kill();
  of_b.wait_until_gone("a");
  of_a.wait_for_log("broker_gone");
  a.start();  // another one of that name
  const RawPeer another = raw_servant(a, "holds");
  of_b.wait_for_peer("a", "link.state", "running");
  EXPECT_EQ(inside(peer_in(of_b.state(), "a"), "state"), "serving");
}

TEST_F(Cluster, AHostThatIsLostGoesWithItsLease) {
  Etcd etcd;
  Broker a(with_servant());
  Broker b(with_servant());
  Member of_a(a, "a", etcd.url(), {"--cluster-ttl", "1s"});
  Member of_b(b, "b", etcd.url());
  of_b.wait_for_peer("a", "link.state", "running");
  of_a.wait_for_peer("b", "link.state", "running");
  const pid_t links[] = {of_a.link_to("b"), of_b.link_to("a")};
  of_a.process().end();  // SIGKILL: nobody revokes anything
  a.kill();
  EXPECT_NE(etcd.get(key_of("a")), "") << "the lease is what is left";
  of_b.wait_until_gone("a");
  for (const pid_t link : links) {
    EXPECT_TRUE(wait_until([link] { return gone(link); }, "the links to end"));
  }
  EXPECT_EQ(of_b.count("peer_left peer=a"), 1U);
  EXPECT_EQ(of_b.count("etcd_lost"), 0U);
}

TEST_F(Cluster, WithoutEtcdAllStaysAsItIsUntilItIsBack) {
  Etcd etcd;
  Broker a(with_servant());
  Broker b(with_servant());
  Broker c(with_servant());
  Member of_a(a, "a", etcd.url());
  Member of_b(b, "b", etcd.url());
  Member of_c(c, "c", etcd.url());
  of_a.wait_for_peer("b", "link.state", "running");
  of_a.wait_for_peer("c", "link.state", "running");
  const pid_t to_b = of_a.link_to("b");
  const pid_t to_c = of_a.link_to("c");
  etcd.kill();
  of_a.wait_for_etcd("reached", false);
  EXPECT_GT(inside(of_a.state(), "etcd.stale_since").as_int64(), 0);
  of_c.process().end();  // unnoticed
  let_pass(500'000'000);
  EXPECT_EQ(of_a.link_to("b"), to_b);
  EXPECT_EQ(of_a.link_to("c"), to_c);
  EXPECT_FALSE(gone(to_b));
  const Output shown = stat(a, {"cluster"});
  EXPECT_EQ(shown.exit_code, 0);
  EXPECT_NE(shown.out.find(": not reached for "), std::string::npos) << shown.out;
  EXPECT_NE(shown.err.find("this may be stale"), std::string::npos) << shown.err;
  etcd.start();
  of_a.wait_for_etcd("reached", true);
  of_a.wait_for_etcd("stale_since", 0);
  of_a.wait_until_gone("c");
  EXPECT_TRUE(wait_until([&] { return gone(to_c); }, "the link to end"));
  EXPECT_EQ(of_a.link_to("b"), to_b) << "who is still there keeps its link";
  EXPECT_EQ(of_a.count("link_started peer=b"), 1U);
}

TEST_F(Cluster, AWatchIsResumedAndWhatWasCompactedIsListedAnew) {
  Etcd etcd;
  Broker a(with_servant());
  WatchProxy proxy(etcd.port());
  etcd.put(key_of("ghost-1"), record_of("ghost-1"));
  Member of_a(a, "a", proxy.url());
  of_a.wait_for_peer("ghost-1", "link.state", "running");
  EXPECT_TRUE(wait_until([&] { return proxy.watches() == 1; }, "the watch"));
  etcd.put(key_of("seen"), record_of("seen"));
  of_a.wait_for_peer("seen", "link.state", "running");
  // What is not heard is told once the watch goes on.
  proxy.freeze_watches();
  etcd.put(key_of("ghost-2"), record_of("ghost-2"));
  proxy.cut_watches();
  of_a.wait_for_peer("ghost-2", "link.state", "running");
  EXPECT_EQ(proxy.watches(), 2);
  of_a.wait_for_etcd("resumes", 1);
  EXPECT_EQ(inside(of_a.state(), "etcd.relists"), 0);
  // What is compacted meanwhile can only be listed.
  proxy.freeze_watches();
  etcd.remove(key_of("ghost-1"));
  etcd.put(key_of("ghost-3"), record_of("ghost-3"));
  etcd.put(key_of("broken"), "{");
  etcd.put(key_of(std::string(600, 'x')), record_of("odd"));
  const boost::json::value now =
      boost::json::parse(etcd.ctl({"get", "-w", "json", key_of("ghost-3")}));
  (void)etcd.ctl({"compact", std::to_string(now.at("header").at("revision").as_int64())});
  proxy.cut_watches();
  of_a.wait_for_peer("ghost-3", "link.state", "running");
  of_a.wait_until_gone("ghost-1");
  of_a.wait_for_etcd("relists", 1);
  EXPECT_EQ(of_a.count("etcd_compacted"), 1U);
  EXPECT_EQ(of_a.count("peer_refused peer=broken"), 1U);
  EXPECT_EQ(of_a.count("etcd_lost"), 0U) << "calls went on all the time";
  of_a.wait_for_peer("ghost-2", "link.state", "running");
  EXPECT_TRUE(wait_until(
      [&] {
        const boost::json::value skipped = inside(of_a.state(), "etcd.skipped");
        return skipped.is_int64() && skipped.as_int64() >= 1;
      },
      "the odd key to be counted"));
}

// A listing with all of them is longer than an answer may be: etcd was lost, for ever.
TEST_F(Cluster, HugeValuesOfOthersKeepNobodyOut) {
  Etcd etcd;
  for (int i = 0; i < 60; ++i) {
    etcd.put(key_of("huge-" + std::to_string(i)), std::string(120'000, 'x'));
  }
  etcd.put(key_of("ghost"), record_of("ghost"));
  Broker a(with_servant());
  Member of_a(a, "a", etcd.url());
  of_a.wait_for_peer("ghost", "link.state", "running");
  EXPECT_EQ(inside(of_a.state(), "etcd.left_out"), 0);
}

TEST_F(Cluster, OfTwoBrokersWithOneIdOneIsSeenUntilItGoes) {
  Etcd etcd;
  Broker first(with_servant());
  Broker second(with_servant());
  Broker b(with_servant());
  Member of_first(first, "a", etcd.url());
  Member of_b(b, "b", etcd.url());
  of_b.wait_for_peer("a", "link.state", "running");
  // At the same address it might be the first one, started again: it takes the key.
  Member of_second(second, "a", etcd.url());
  of_first.wait_for_log("cluster_id_taken id=a by=\"host-a:5000\"");
  EXPECT_TRUE(wait_until([&] { return inside(of_first.state(), "own.published") == false; },
                         "the state to say so"));
  EXPECT_EQ(inside(of_first.state(), "own.contested_by"), "host-a:5000");
  const Output shown = stat(first, {"cluster"});
  EXPECT_NE(shown.out.find("not shown to others: another broker has its --cluster-id"),
            std::string::npos)
      << shown.out;
  EXPECT_NE(shown.err.find("give one of them another"), std::string::npos) << shown.err;
  of_first.wait_for_peer("b", "link.state", "running");
  // Nobody writes over the other, so nobody replaces a link.
  const std::int64_t at = written(etcd, key_of("a"));
  EXPECT_EQ(of_b.count("link_started peer=a"), 1U);
  EXPECT_EQ(of_second.count("cluster_id_taken"), 0U);
  of_second.process().signal(SIGTERM);
  EXPECT_EQ(of_second.process().wait(), 0);
  of_first.wait_for_log("cluster_id_free id=a");
  EXPECT_TRUE(wait_until([&] { return written(etcd, key_of("a")) > at; }, "the key"));
  of_b.wait_for_peer("a", "link.state", "running");
}

TEST_F(Cluster, TheBrokerStartsItAndTakesItAlong) {
  Etcd etcd;
  const std::string port = std::to_string(unused_port());
  Broker a(BrokerSetup{.args = {"-p", port, "--cluster", etcd.url(), "--cluster-id", "a",
                                "--cluster-name", "desk", "--zone", "z"},
                       .servants = 1,
                       .env = {{"MSERVE_CLUSTER_PASSWORD", "s3cret"}}});
  const std::string key = "/mserve/desk/brokers/a";
  EXPECT_TRUE(wait_until([&] { return !etcd.get(key).empty(); }, "the broker's key"));
  EXPECT_NE(etcd.get(key).find(":" + port + R"(","zone":"z")"), std::string::npos) << etcd.get(key);
  const std::string started = a.wait_for_log("program_started program=cluster");
  const auto pid = static_cast<pid_t>(std::stol(field_of(started, "pid")));
  for (const pid_t child : a.launched()) {
    const std::string environment = read_file("/proc/" + std::to_string(child) + "/environ");
    EXPECT_EQ(environment.find("s3cret") != std::string::npos, child == pid)
        << "etcd's password is for mserve-cluster alone";
  }
  const std::int64_t first = written(etcd, key);
  (void)kill(pid, SIGKILL);
  (void)a.wait_for_log("program_ended program=cluster pid=" + std::to_string(pid) + " signal=9");
  EXPECT_TRUE(wait_until([&] { return a.log_lines("program_started").size() == 2; },
                         "it to be started again"));
  EXPECT_TRUE(
      wait_until([&] { return written(etcd, key) > first; }, "the key to be written again"));
  a.stop();
  EXPECT_EQ(etcd.get(key), "") << "the lease is revoked";
  EXPECT_EQ(count_entries(a.directory(), ".cluster.json"), 0U);
}

TEST_F(Cluster, WhoIsAskedToLogsIn) {
  Etcd etcd;
  Broker a(with_servant());
  const std::string password = a.directory() + "/password";
  std::ofstream(password) << "s3cret\n";
  ASSERT_EQ(chmod(password.c_str(), 0600), 0);
  (void)etcd.ctl({"user", "add", "root:s3cret"});
  (void)etcd.ctl({"auth", "enable"});
  {
    Member wrong(a, "a", etcd.url(), {"--cluster-user", "root"},
                 {{"MSERVE_CLUSTER_PASSWORD", "wrong"}});
    wrong.wait_for_log("etcd_lost reason=\"etcd refuses /v3/auth/authenticate with status 400");
  }
  Member right(a, "a", etcd.url(), {"--cluster-user", "root", "--cluster-password-file", password});
  right.wait_for_etcd("reached", true);
  EXPECT_TRUE(wait_until(
      [&] {
        return !etcd.ctl({"--user", "root:s3cret", "get", key_of("a")}).empty();
      },
      "the key"));
}

TEST_F(Cluster, WithTlsBothSidesShowWhoTheyAre) {
  const TempDir dir;
  const std::string cert = dir.file("cert.pem");
  const std::string key = dir.file("key.pem");
  const Output made =
      run_to_end({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                  "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days",
                  "2", "-subj", "/CN=etcd", "-addext", "subjectAltName=IP:127.0.0.1"});
  if (made.exit_code != 0) {
    GTEST_SKIP() << "openssl makes no certificate: " << made.err;
  }
  Etcd etcd({.cert = cert, .key = key});
  Broker a(with_servant());
  {
    Member stranger(a, "a", etcd.url(), {"--cluster-ca", cert});
    stranger.wait_for_log("etcd_lost");
    Member trusting(a, "a", etcd.url(), {"--cluster-cert", cert, "--cluster-key", key});
    trusting.wait_for_log("certificate verify failed");
  }
  Member of_a(a, "a", etcd.url(),
              {"--cluster-ca", cert, "--cluster-cert", cert, "--cluster-key", key});
  of_a.wait_for_etcd("reached", true);
  EXPECT_TRUE(wait_until([&] { return !etcd.get(key_of("a")).empty(); }, "the key"));
  etcd.put(key_of("ghost"), record_of("ghost"));
  of_a.wait_for_peer("ghost", "link.state", "running");
}

TEST(ClusterAlone, AFloodOfFaultsIsAFewLines) {
  std::atomic<int> asked{0};
  FakeEtcd etcd([&](const EtcdPost& post) {
    const std::string body = R"({"message":")" + post.path + " " + std::to_string(++asked) + "\"}";
    return FakeEtcd::Answer{"HTTP/1.1 500 No\r\nConnection: close\r\nContent-Length: " +
                            std::to_string(body.size()) + "\r\n\r\n" + body};
  });
  // One round through all of them has no pause.
  std::string urls = etcd.url();
  for (std::size_t i = 1; i < cluster::kEndpointsMax; ++i) {
    urls += "," + etcd.url();
  }
  Broker a(BrokerSetup{});
  Member of_a(a, "a", urls);
  of_a.wait_for_log("swallowed");
}

TEST(ClusterAlone, TheBrokersOptionsAreItsConfiguration) {
  const TempDir dir;
  const auto check = [](std::vector<std::string> args) {
    args.insert(args.begin(), {program("mserve-broker"), "--check"});
    return run_to_end(std::move(args));
  };
  const Output shown = check({"-p", "5000", "--cluster", "http://a:1,http://b:2", "--zone", "z",
                              "--cluster-ttl", "3000ms", "--name", "prices"});
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  for (const char* const line :
       {"\ncluster = [\"http://a:1\", \"http://b:2\"]\n", "\nzone = \"z\"\n",
        "\ncluster-ttl = \"3s\"\n", "\ncluster-name = \"default\"\n", "-prices\"\n", ":5000\"\n"}) {
    EXPECT_NE(shown.out.find(line), std::string::npos) << line << " in " << shown.out;
  }
  const std::string file = dir.file("mserve.toml");
  std::ofstream(file) << shown.out;
  EXPECT_EQ(check({"--config", file}).out, shown.out);
  std::ofstream(file) << "port = 5000\nzone = \"z\"\n";
  const Output alone = check({"--config", file});
  EXPECT_EQ(alone.exit_code, 2);
  EXPECT_NE(alone.err.find("--cluster: is missing"), std::string::npos) << alone.err;
  const Output any_port = check({"-p", "0W", "--cluster", "http://a:1"});
  EXPECT_EQ(any_port.exit_code, 2);
  EXPECT_NE(any_port.err.find("--advertise: HOST:PORT is needed"), std::string::npos);
}

TEST(ClusterAlone, WrongOptionsAreToldAllAtOnce) {
  const Output none = run_to_end({program("mserve-cluster")});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_NE(none.err.find("--cluster: say where etcd listens"), std::string::npos) << none.err;
  const Output bad = run_to_end({program("mserve-cluster"), "--cluster", "here:1", "--zone", "a b",
                                 "--cluster-user", "x", "--name", "../x"},
                                {{"MSERVE_CLUSTER_PASSWORD", ""}});
  EXPECT_EQ(bad.exit_code, 2);
  for (const char* const fault :
       {"--cluster: 'here:1' is not", "--zone: 1 to 31", "--name: 1 to 64",
        "--cluster-user: its password is missing", "--advertise: HOST:PORT is needed"}) {
    EXPECT_NE(bad.err.find(fault), std::string::npos) << fault << " in " << bad.err;
  }
  const Output tls = run_to_end({program("mserve-cluster"), "--cluster", "https://127.0.0.1:1",
                                 "--advertise", "a:1", "--cluster-ca", "/nowhere/ca.pem"});
  EXPECT_EQ(tls.exit_code, 2);
  EXPECT_NE(tls.err.find("/nowhere/ca.pem: "), std::string::npos) << tls.err;
}

}  // namespace
}  // namespace mserve::test
