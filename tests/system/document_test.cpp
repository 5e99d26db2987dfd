// SPDX-License-Identifier: Apache-2.0
// The document of a cluster as a layer of a broker's configuration, and `mserve-stat ctl reload`.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "support/requests.hpp"
#include "support/temp_dir.hpp"
#include "system/ctl_setup.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

constexpr const char* kUsersTable =
    "users-table = '''\n"
    "user|password|role\n"
    "ken|470bc578162732ac7f9d387d34c4af4ca6e1b6f7|user\n"
    "arthur|615193f904a227a9cebf5ad3042a37668b81f4c6|all\n"
    "'''\n"
    "roles-table = '''\n"
    "role|fn\n"
    "user|proc1\n"
    "all|*\n"
    "'''\n";

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::trunc) << text;
}

/// What --check says of a broker whose etcd is nowhere.
class DocumentLayer : public ::testing::Test {
 protected:
  Output check(std::vector<std::string> args = {}) const {
    args.insert(args.begin(), {program("mserve-broker"), "--check", "--dir", dir_.path(), "--name",
                               "b", "--config", config_});
    return run_to_end(std::move(args), {});
  }
  static bool has(const Output& output, const std::string& line) {
    return ("\n" + output.out).find("\n" + line + "\n") != std::string::npos;
  }

  TempDir dir_;
  std::string config_ = dir_.file("b.toml");
  std::string document_ = dir_.file("b.cluster.toml");
};

TEST_F(DocumentLayer, StandsBetweenFlagsAndTheFile) {
  write_file(config_,
             "cluster = \"http://127.0.0.1:1\"\nport = 5000\npolicy = \"orig\"\nretries = 7\n");
  write_file(document_, "policy = \"even\"\ntimeout = \"3s\"\nmax-queue-client = 9\n" +
                            std::string(kUsersTable));
  const Output both = check();
  ASSERT_EQ(both.exit_code, 0) << both.err;
  EXPECT_EQ(both.err, "");
  EXPECT_TRUE(has(both, "policy = \"even\"") && has(both, "retries = 7")) << both.out;
  EXPECT_TRUE(has(both, "timeout = \"3s\"") && has(both, "max-queue-client = 9")) << both.out;
  EXPECT_TRUE(has(both, "# Of all brokers of the cluster: " + document_)) << both.out;
  EXPECT_TRUE(has(both, "# users-table there takes the place of users")) << both.out;
  EXPECT_TRUE(has(check({"--policy", "least"}), "policy = \"least\"")) << "flags go before it";
  write_file(config_, "port = 5000\npolicy = \"orig\"\n");
  EXPECT_TRUE(has(check(), "policy = \"orig\"")) << "of a broker without --cluster it is none";
}

TEST_F(DocumentLayer, WithAFaultDoesNotCount) {
  write_file(config_, "cluster = \"http://127.0.0.1:1\"\nport = 5000\npolicy = \"orig\"\n");
  struct Case {
    const char* text;
    const char* said;
  };
  for (const Case& c : {Case{"policy = \"even\"\nport = 1\n", ":2: port is set per broker"},
                        Case{"policy = \"even\"\nretries = 256\n", ":2: --retries: 0 to 255"},
                        Case{"policy = \"plugin\"\n", ":1: --policy plugin: give its file"},
                        Case{"policy = \"even\"\n[x]\n", ":2: x: there are no tables"},
                        Case{"policy = \"even\"\nroles-table = '''\nrole|fn\nall|*\n'''\n",
                             ":2: roles-table: there is neither"}}) {
    write_file(document_, c.text);
    const Output output = check();
    EXPECT_EQ(output.exit_code, 0) << c.text;
    EXPECT_NE(output.err.find(document_ + c.said), std::string::npos) << c.text << output.err;
    EXPECT_TRUE(has(output, "policy = \"orig\"")) << c.text << output.out;
  }
  write_file(document_, "policy = \"even\"\n");
  ASSERT_EQ(::chmod(document_.c_str(), 0606), 0);
  EXPECT_NE(check().err.find("everybody can write to it"), std::string::npos);
  ASSERT_EQ(::chmod(document_.c_str(), 0600), 0);
  const Output own = check({"--retries", "256"});
  EXPECT_EQ(own.exit_code, 2) << "a fault of its own flags is one";
  EXPECT_EQ(own.err.find("does not count"), std::string::npos) << own.err;
}

/// A broker of a cluster whose etcd is nowhere: who writes the document is the test.
class DocumentBroker : public ::testing::Test {
 protected:
  explicit DocumentBroker(const std::vector<std::string>& more = {}) : broker_(setup(more)) {}
  static BrokerSetup setup(const std::vector<std::string>& more) {
    std::vector<std::string> args{"--cluster",   "http://127.0.0.1:1", "--advertise",
                                  "127.0.0.1:1", "--drain-delay",      "0"};
    args.insert(args.end(), more.begin(), more.end());
    return with_gateway(std::move(args), 1);
  }
  std::string document() const {
    return broker_.directory() + "/" + broker_.name() + ".cluster.toml";
  }
  Output reload() const { return stat(broker_, {"ctl", "reload"}); }
  bool refused(std::string_view credentials) const {
    return !RawClient::tcp(broker_.port()).handshake(credentials);
  }

  Broker broker_;
};

TEST_F(DocumentBroker, HoldsWhatIsReloadedAndNothingOfWhatHasAFault) {
  write_file(document(), "policy = \"even\"\nrule = [\"fn=nowhere -> group=none\", \"-> any\"]\n");
  const Output done = reload();
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_NE(done.out.find("changed: policy, rule\n"), std::string::npos) << done.out;
  EXPECT_NE(done.out.find("  policy = \"even\"\n"), std::string::npos) << done.out;
  RawClient client = connect(broker_);
  EXPECT_TRUE(wait_until([&] { return *client.query("nowhere 1") == Value::error("no servant"); },
                         "the rule"));
  const Output again = reload();
  EXPECT_EQ(again.out, "no key changed\n  document = \"" + document() + "\"\n") << again.err;

  write_file(document(), "policy = \"orig\"\nretries = 256\nport = 1\nxyzzy = 1\n");
  const Output refused = reload();
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_EQ(refused.out, "");
  EXPECT_NE(refused.err.find(document() + ":3: port is set per broker"), std::string::npos)
      << refused.err;
  EXPECT_NE(refused.err.find(document() + ":4: there is no key 'xyzzy'"), std::string::npos);
  EXPECT_TRUE(wait_until([&] { return broker_.log_lines("reload_refused").size() == 2; },
                         "both in the log"));
  const Output json = stat(broker_, {"ctl", "reload", "--json"});
  EXPECT_EQ(json.exit_code, 1);
  const boost::json::value told = boost::json::parse(json.out);
  EXPECT_EQ(told.at("rows").as_array().size(), 2U) << json.out;
  EXPECT_TRUE(told.at("rows").at(0).at("fault").as_string().find("per broker") !=
              boost::json::string::npos)
      << json.out;

  // With that it starts, as if it were not there.
  broker_.stop();
  broker_.start();
  EXPECT_NE(broker_.wait_for_log("document_refused").find("started without the document"),
            std::string::npos);
  std::remove(document().c_str());
  EXPECT_EQ(reload().out, "no key changed\n");
  EXPECT_EQ(stat(broker_, {"ctl", "reload", "all"}).exit_code, 2);
  EXPECT_EQ(stat(broker_, {"ctl", "drain"}).exit_code, 2);
}

// What mserve-cluster brings is where a start looks only once it holds.
TEST_F(DocumentBroker, ReadsAStagedOneWhenItReadsAgainButNotAtItsStart) {
  // Before it says this, mserve-cluster takes away what a former one may have staged.
  const auto cleared = [this](std::size_t times) {
    return wait_until([&] { return broker_.log_lines(" cluster name=").size() == times; },
                      "mserve-cluster to begin");
  };
  ASSERT_TRUE(cleared(1));
  const std::string staged = broker_.directory() + "/" + broker_.name() + ".cluster.next.toml";
  write_file(document(), "policy = \"even\"\n");
  write_file(staged, "policy = \"least\"\nport = 1\n");
  const Output refused = reload();
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find(staged + ":2: port is set per broker"), std::string::npos)
      << refused.err;
  broker_.stop();
  broker_.start();
  (void)broker_.wait_for_log(" document path=");
  EXPECT_TRUE(broker_.log_lines("document_refused").empty());
  ASSERT_TRUE(cleared(2));
  std::remove(staged.c_str());
  EXPECT_NE(reload().out.find("no key changed\n"), std::string::npos) << "it began with `even`";
  write_file(staged, "policy = \"least\"\n");
  EXPECT_NE(reload().out.find("  policy = \"least\"\n"), std::string::npos);
  ASSERT_EQ(std::rename(staged.c_str(), document().c_str()), 0);
  EXPECT_NE(reload().out.find("no key changed\n"), std::string::npos);
}

TEST_F(DocumentBroker, UsersComeAndGoWithTheTable) {
  RawClient early = connect(broker_);
  EXPECT_EQ(early.query("echo 1"), Value::long_atom(1));
  write_file(document(), kUsersTable);
  const Output done = reload();
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_NE(done.out.find("changed: users-table, roles-table; 2 users, 2 roles\n"),
            std::string::npos)
      << done.out;
  EXPECT_TRUE(early.closed_by_peer()) << "it was not asked who it is";
  EXPECT_TRUE(refused("bob:pw"));
  EXPECT_TRUE(refused("ken:arthur"));
  RawClient ken = RawClient::tcp(broker_.port());
  ASSERT_TRUE(ken.handshake("ken:ken"));
  EXPECT_TRUE(ken.query("proc1 `IBM")->is_table());
  EXPECT_EQ(ken.query("echo 1"), Value::error("unknown command: `echo"));

  // Also over a restart.
  broker_.stop();
  broker_.start();
  EXPECT_TRUE(wait_until([&] { return broker_.log_lines(" gateway port=").size() == 2; },
                         "the port to be another one"));
  EXPECT_TRUE(refused("bob:pw"));
  RawClient arthur = RawClient::tcp(broker_.port());
  ASSERT_TRUE(arthur.handshake("arthur:arthur"));
  EXPECT_EQ(arthur.query("echo 1"), Value::long_atom(1));

  std::remove(document().c_str());
  EXPECT_EQ(reload().exit_code, 0);
  EXPECT_TRUE(wait_until([&] { return !refused("bob:pw"); }, "everybody to be let in"));
  EXPECT_EQ(arthur.query("echo 2"), Value::long_atom(2)) << "who is in stays in";
}

/// The same, but nobody gets in while there are no users.
class UsersRequired : public DocumentBroker {
 protected:
  UsersRequired() : DocumentBroker({"--require-users"}) {}
  /// Whoever connects by TCP is refused, and told from who gave a wrong password.
  void expect_closed() {
    EXPECT_TRUE(wait_until([&] { return health_of(broker_.port()) == "503 no users"; },
                           "it to say so: " + health_of(broker_.port())));
    EXPECT_TRUE(refused("bob:pw"));
    EXPECT_TRUE(refused("ken:ken"));
    EXPECT_TRUE(refused(""));
    EXPECT_NE(broker_.wait_for_log("gateway_denied").find("no users are known yet"),
              std::string::npos);
  }
};

// A document that was lost, or is not there yet, let everybody in.
TEST_F(UsersRequired, NobodyGetsInBeforeThereAreAny) {
  (void)broker_.wait_for_log("users_awaited");
  expect_closed();
  RawClient admin = RawClient::unix_socket(broker_.socket_path(), false);
  ASSERT_TRUE(admin.handshake("me:")) << "the kernel says who that is";
  EXPECT_TRUE(admin.query(".mserve.servants[]")->is_table());
  RawClient console = RawClient::tcp(broker_.port());
  ASSERT_TRUE(console.send_text(std::string("bob:pw\0echo 1\0", 14)));
  EXPECT_TRUE(console.closed_by_peer());
  EXPECT_EQ(health_of(broker_.port()), "503 no users");

  write_file(document(), kUsersTable);
  EXPECT_EQ(reload().exit_code, 0);
  EXPECT_TRUE(wait_until([&] { return health_of(broker_.port()) == "200 ok"; }, "users"));
  EXPECT_TRUE(admin.closed_by_peer()) << "it was not asked who it is";
  EXPECT_TRUE(refused("bob:pw"));
  EXPECT_TRUE(refused("ken:wrong"));
  RawClient ken = RawClient::tcp(broker_.port());
  ASSERT_TRUE(ken.handshake("ken:ken"));
  EXPECT_TRUE(ken.query("proc1 `IBM")->is_table());

  std::remove(document().c_str());
  EXPECT_EQ(reload().exit_code, 0);
  expect_closed();
  EXPECT_TRUE(ken.query("proc1 `IBM")->is_table()) << "who is in stays in";
}

// Nobody can log in, so a load balancer had better ask somebody else.
TEST_F(DocumentBroker, ATableWithoutUsersIsSeenInItsHealth) {
  write_file(document(), "users-table = '''\nuser|password|role\n'''\n");
  EXPECT_EQ(reload().exit_code, 0);
  EXPECT_TRUE(wait_until([&] { return health_of(broker_.port()) == "503 no users"; },
                         "it to say so: " + health_of(broker_.port())));
  EXPECT_TRUE(refused("ken:ken"));
  write_file(document(), kUsersTable);
  EXPECT_EQ(reload().exit_code, 0);
  EXPECT_TRUE(wait_until([&] { return health_of(broker_.port()) == "200 ok"; }, "users"));
}

TEST_F(UsersRequired, NobodyGetsInWhereTheDocumentHasAFaultAtTheStart) {
  write_file(document(), std::string(kUsersTable) + "port = 1\n");
  broker_.stop();
  broker_.start();
  (void)broker_.wait_for_log("document_refused");
  EXPECT_TRUE(wait_until([&] { return broker_.log_lines(" gateway port=").size() == 2; },
                         "the port to be another one"));
  expect_closed();
  write_file(document(), kUsersTable);
  EXPECT_EQ(reload().exit_code, 0);
  EXPECT_TRUE(wait_until([&] { return !refused("ken:ken"); }, "ken to be let in"));
}

TEST_F(DocumentBroker, LimitsWhatOneClientMayQueue) {
  EXPECT_EQ(stat(broker_, {"ctl", "pause", "all"}).exit_code, 0);
  Client client = broker_.client();
  const std::uint64_t first = send_opaque(client, pattern(50));
  broker_.wait_for_counter("queued", 1);
  write_file(document(), "max-queue-client = 1\n");
  EXPECT_NE(reload().out.find("  max-queue-client = 1\n"), std::string::npos);
  // The data thread hears of it a moment later.
  EXPECT_TRUE(wait_until(
      [&] {
        Client other = broker_.client();
        (void)send_opaque(other, pattern(50));
        const std::uint64_t second = send_opaque(other, pattern(50));
        mserve::Reply reply;
        const bool answered =
            other.await(second, reply, deadline_after(std::chrono::milliseconds(100))) == Errc::ok;
        return answered && reply.status == Errc::busy;
      },
      "a second request to be refused"));
  write_file(document(), "");
  EXPECT_EQ(reload().exit_code, 0);
  EXPECT_EQ(stat(broker_, {"ctl", "resume", "all"}).exit_code, 0);
  EXPECT_EQ(await(client, first).status, Errc::ok);
}

}  // namespace
}  // namespace mserve::test
