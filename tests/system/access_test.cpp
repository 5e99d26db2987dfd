// SPDX-License-Identifier: Apache-2.0
// Who may connect and what they may call, at the real broker: LBT's example 02quickauth and what
// goes wrong around it.
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>

#include "support/hostile_queries.hpp"
#include "support/requests.hpp"
#include "support/temp_dir.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

constexpr const char* kUsers =
    "userid|username|password|role\n"
    "1|ken|470bc578162732ac7f9d387d34c4af4ca6e1b6f7|user\n"
    "2|arthur|615193f904a227a9cebf5ad3042a37668b81f4c6|poweruser\n";
constexpr const char* kRoles = "role|fn\nuser|proc1\npoweruser|proc1,proc2\nall|*\n";

class Access : public ::testing::Test {
 protected:
  Access() {
    write("users.csv", kUsers);
    write("roles.csv", kRoles);
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_.file(name), std::ios::trunc) << text;
  }
  BrokerSetup quick_auth(int servants = 1) const {
    return with_gateway({"--users", dir_.file("users.csv"), "--roles", dir_.file("roles.csv")},
                        servants);
  }
  static RawClient login(const Broker& broker, std::string_view credentials) {
    RawClient client = RawClient::tcp(broker.port());
    EXPECT_EQ(client.handshake(credentials), 6);
    return client;
  }
  static bool refused(const Broker& broker, std::string_view credentials) {
    return !RawClient::tcp(broker.port()).handshake(credentials);
  }
  /// What `mserve-client passwd` prints.
  static std::string passwd(const std::string& password, const std::string& args) {
    const Output output = run_to_end(
        {"/bin/sh", "-c", "printf '%s\\n' \"$0\" | " + program("mserve-client") + " passwd " + args,
         password});
    EXPECT_EQ(output.exit_code, 0) << output.err;
    return output.out;
  }

  TempDir dir_;
};

TEST_F(Access, QuickAuthsUsersMayCallWhatTheirRolesList) {
  const Broker broker(quick_auth());
  EXPECT_TRUE(refused(broker, ""));
  EXPECT_TRUE(refused(broker, "ken"));
  EXPECT_TRUE(refused(broker, "ken:wrongpassword"));
  EXPECT_TRUE(refused(broker, "nobody:ken"));
  RawClient ken = login(broker, "ken:ken");
  RawClient arthur = login(broker, "arthur:arthur");
  EXPECT_TRUE(ken.query("proc1 `IBM")->is_table());
  EXPECT_EQ(ken.query("proc2 `IBM"), Value::error("unknown command: `proc2"));
  EXPECT_TRUE(arthur.query("proc1 `IBM")->is_table());
  EXPECT_TRUE(arthur.query("proc2 `IBM")->is_table());
  EXPECT_EQ(arthur.query("echo 1"), Value::error("unknown command: `echo"));
  ASSERT_TRUE(ken.send(list({Value::long_atom(1), text("proc2 `IBM")}), MessageKind::async));
  EXPECT_EQ(ken.receive()->value.at(1), text("Error: unknown command: `proc2"));
  ASSERT_TRUE(ken.send(list({Value::long_atom(2), text("proc1 `IBM")}), MessageKind::async));
  EXPECT_TRUE(ken.receive()->value.at(1).is_table());
  EXPECT_TRUE(wait_until(
      [&] {
        const auto lines = broker.log_lines("gateway_forbidden");
        return !lines.empty() && lines[0].find("client=ken") != std::string::npos &&
               lines[0].find("unknown command: `proc2") != std::string::npos;
      },
      "a line of what ken may not call"));
  broker.wait_for_counter("gateway_denied", 4);
  EXPECT_TRUE(wait_until([&] { return broker.log_lines("gateway_denied").size() == 4; },
                         "a line for each of them"));
  EXPECT_EQ(broker.log_lines("gateway_denied client=ken peer=127.0.0.1:").size(), 2U);
  EXPECT_TRUE(broker.log_lines("wrongpassword").empty());
}

TEST_F(Access, ConsolesAndUnixSocketsAreAskedForPasswordsToo) {
  const Broker broker(quick_auth());
  RawClient local = RawClient::unix_socket(broker.socket_path(), false);
  EXPECT_FALSE(local.handshake("ken:arthur"));
  RawClient right = RawClient::unix_socket(broker.socket_path(), false);
  EXPECT_EQ(right.handshake("ken:ken"), 6);
  EXPECT_EQ(right.query("proc2 `IBM"), Value::error("unknown command: `proc2"));
  RawClient console = RawClient::tcp(broker.port());
  ASSERT_TRUE(console.send_text(std::string_view("ken:nek\0proc1 `IBM\0", 19)));
  EXPECT_TRUE(console.closed_by_peer());
  RawClient good = RawClient::tcp(broker.port());
  ASSERT_TRUE(good.send_text(std::string_view("ken:ken\0proc1 `IBM\0", 19)));
  EXPECT_FALSE(good.closed_by_peer());
  RawClient page = RawClient::tcp(broker.port());
  ASSERT_TRUE(page.send_text("GET / HTTP/1.1\r\n\r\n"));
  EXPECT_FALSE(page.closed_by_peer());
}

TEST_F(Access, NoHostileQueryReachesAServant) {
  const Broker broker(quick_auth(0));
  RawPeer servant = raw_servant(broker, "watched");
  RawClient ken = login(broker, "ken:ken");
  std::size_t asked = 0;
  for (const Value& query : hostile_values()) {
    const auto answer = ken.query(query);
    ASSERT_TRUE(answer);
    EXPECT_TRUE(answer->is_error());
    ++asked;
  }
  for (const std::string& query : hostile_texts()) {
    if (!query.empty()) {
      const auto answer = ken.query(query);
      ASSERT_TRUE(answer) << query.substr(0, 80);
      EXPECT_TRUE(answer->is_error()) << query.substr(0, 80);
      ++asked;
    }
  }
  EXPECT_GE(asked, 180U);
  broker.wait_for_counter("gateway_forbidden", asked);
  EXPECT_EQ(broker.counter("gateway_requests"), 0U);
}

TEST_F(Access, AServantHearsWhoAsksWhateverTheClientSays) {
  const Broker broker(quick_auth(0));
  RawPeer servant = raw_servant(broker, "watched");
  RawClient ken = login(broker, "ken:ken");
  const Value options = Value::dict(Value::symbols({"role"}), Value::symbols({"poweruser"}));
  ASSERT_TRUE(
      ken.send(list({Value::int_atom(1), text("proc1[`IBM]"), options}), MessageKind::async));
  const auto request = servant.take();
  ASSERT_TRUE(request);
  std::vector<std::byte> wanted =
      kdb::encode_call("proc1", std::vector<Value>{Value::symbol("IBM")});
  const std::vector<std::byte> who = kdb::encode(Value::dict(
      Value::symbols({"user", "role"}), list({Value::symbol("ken"), Value::symbol("user")})));
  wanted.insert(wanted.end(), who.begin(), who.end());
  EXPECT_EQ(request->payload, wanted);
  EXPECT_EQ(request->header.flags & shm::kFlagPair, shm::kFlagPair);
}

TEST_F(Access, OurOwnClientLogsInOverTcp) {
  const Broker broker(quick_auth());
  const auto ask = [&](const std::string& user, const std::string& query) {
    return run_to_end({program("mserve-client"), "--name",
                       "tcp://127.0.0.1:" + std::to_string(broker.port()), "--user", user, query});
  };
  EXPECT_EQ(ask("ken:ken", "proc1 `IBM").exit_code, 0);
  const Output forbidden = ask("ken:ken", "proc2 `IBM");
  EXPECT_NE(forbidden.exit_code, 0);
  EXPECT_NE(forbidden.err.find("unknown command: `proc2"), std::string::npos) << forbidden.err;
  EXPECT_NE(forbidden.err.find("yours may not call it"), std::string::npos) << forbidden.err;
  const Output wrong = ask("ken:arthur", "proc1 `IBM");
  EXPECT_EQ(wrong.exit_code, 3);
  EXPECT_NE(wrong.err.find("--user USER:PASSWORD"), std::string::npos) << wrong.err;
}

TEST_F(Access, HangupReadsBothFilesAgainAsAWholeOrNotAtAll) {
  const Broker broker(quick_auth());
  RawClient ken = login(broker, "ken:ken");
  write("users.csv", "user|password|role\nbob|5ebe2294ecd0e0f08eab7690d2a6ee69|all\nken|x|user\n");
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_NE(broker.wait_for_log("reload_refused").find("users.csv:3: expected a password"),
            std::string::npos);
  EXPECT_TRUE(refused(broker, "bob:secret"));
  write("users.csv", "user|password|role\nbob|5ebe2294ecd0e0f08eab7690d2a6ee69|all\n");
  write("roles.csv", "role|fn\nuser|proc1\n");
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_FALSE(broker.wait_for_log("expected a role of").empty());
  EXPECT_TRUE(refused(broker, "bob:secret"));
  write("roles.csv", kRoles);
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_NE(broker.wait_for_log(" reloaded").find("users=1 roles=3"), std::string::npos);
  // The gateway hears of it a moment later.
  EXPECT_TRUE(wait_until([&] { return !refused(broker, "bob:secret"); }, "bob to be let in"));
  EXPECT_TRUE(refused(broker, "ken:ken"));
  EXPECT_TRUE(ken.query("proc1 `IBM")->is_table());  // who is in stays in
  EXPECT_EQ(login(broker, "bob:secret").query("echo 1"), Value::long_atom(1));
}

TEST_F(Access, PasswdWritesLinesThatLetIn) {
  write("users.csv", "user|password|role\n" + passwd("open sesame", "ken --role user") +
                         passwd("another", "al --sha1 --role all"));
  const Broker broker(quick_auth());
  EXPECT_TRUE(login(broker, "ken:open sesame").query("proc1 `IBM")->is_table());
  EXPECT_EQ(login(broker, "al:another").query("echo 1"), Value::long_atom(1));
  EXPECT_TRUE(refused(broker, "ken:open"));
  EXPECT_TRUE(refused(broker, "al:open sesame"));

  write("u", passwd("x y", "bob") + passwd("z", "eve --sha1") + "plain:as it stands\n");
  const Broker second(with_gateway({"--users", dir_.file("u")}, 1));
  for (const char* const credentials : {"bob:x y", "eve:z", "plain:as it stands"}) {
    EXPECT_EQ(login(second, credentials).query("echo 1"), Value::long_atom(1)) << credentials;
  }
  EXPECT_TRUE(refused(second, "bob:z"));
}

TEST_F(Access, PasswdSaysWhatItWants) {
  EXPECT_EQ(passwd("ken", "ken --sha1"), "ken:470bc578162732ac7f9d387d34c4af4ca6e1b6f7\n");
  EXPECT_NE(passwd("ken", "ken"), passwd("ken", "ken"));  // each with a salt of its own
  const std::string tool = program("mserve-client");
  EXPECT_EQ(run_to_end({tool, "passwd"}).exit_code, 2);
  EXPECT_EQ(run_to_end({tool, "passwd", "a:b"}).exit_code, 2);
  EXPECT_EQ(run_to_end({tool, "passwd", "ken"}).exit_code, 2);  // nothing on standard input
  EXPECT_NE(run_to_end({tool, "passwd", "--help"}).out.find("--role"), std::string::npos);
}

TEST_F(Access, SlowHashesKeepNobodyWaiting) {
  write("u", passwd("slow", "ken"));
  const Broker broker(with_gateway({"--users", dir_.file("u"), "--handshake-timeout", "inf"}, 1));
  RawClient in = login(broker, "ken:slow");
  std::vector<RawClient> waiting;
  for (int i = 0; i < 8; ++i) {
    waiting.push_back(RawClient::tcp(broker.port()));
    ASSERT_TRUE(waiting.back().send_text(std::string_view("ken:slow\3\0", 10)));
  }
  EXPECT_EQ(in.query("echo 1"), Value::long_atom(1));
  for (RawClient& client : waiting) {
    EXPECT_EQ(client.receive_bytes(1), std::vector<std::byte>{std::byte{3}});
  }
}

TEST_F(Access, OfBrokenFilesOrFlagsStartsNothing) {
  write("bad.csv", "user|password|role\nken|nothash|user\n");
  const auto start = [&](std::vector<std::string> args) {
    args.insert(args.begin(), program("mserve-broker"));
    return run_to_end(std::move(args));
  };
  const Output bad = start({"-p", "0W", "--users", dir_.file("bad.csv"), "--check"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_NE(bad.err.find("bad.csv:2: expected a password"), std::string::npos) << bad.err;
  EXPECT_EQ(bad.err.find("nothash"), std::string::npos);
  EXPECT_EQ(start({"-p", "0W", "--users", dir_.file("none"), "--check"}).exit_code, 2);
  EXPECT_EQ(start({"--users", dir_.file("users.csv"), "--check"}).exit_code, 2);
  EXPECT_EQ(start({"-p", "0W", "--roles", dir_.file("roles.csv"), "--check"}).exit_code, 2);
}

}  // namespace
}  // namespace mserve::test
