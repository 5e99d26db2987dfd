// SPDX-License-Identifier: Apache-2.0
// What mserve-client says to somebody who is new to it, in their words and on their terminal.
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "support/broker_process.hpp"
#include "support/raw_peer.hpp"
#include "support/terminal.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

Output client_says(std::vector<std::string> args, std::map<std::string, std::string> env) {
  args.insert(args.begin(), program("mserve-client"));
  return run_to_end(std::move(args), std::move(env));
}

void has(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
}

/// Why another user, of group nogroup, cannot attach.
std::string refusal_of_another_user(const Broker& broker) {
  constexpr uid_t kNobody = 65'534;
  const TempDir dir;
  const std::string path = dir.file("reason");
  Process peer([&] {
    FILE* const out = std::fopen(path.c_str(), "w");
    if (out == nullptr || setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 ||
        setuid(kNobody) != 0) {
      return 1;
    }
    ClientOptions options;
    options.broker = broker.name();
    options.directory = broker.directory();
    std::string reason;
    const auto client = Client::connect(options, &reason);
    (void)std::fputs(reason.c_str(), out);
    (void)std::fclose(out);
    return client || client.error().code != Errc::access ? 2 : 0;
  });
  EXPECT_EQ(peer.wait(), 0);
  return read_file(path);
}

// 'access was followed by "no broker listens at".
TEST(ClientWords, AnotherUserIsToldWhatMayNotBeEntered) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can try what other users may do";
  }
  const Broker closed;
  EXPECT_EQ(refusal_of_another_user(closed), "this user may not enter " + closed.directory());
  const Broker shared(broker_with({"--socket-group", "nogroup"}));
  const std::string socket = shared.directory() + "/" + shared.name() + ".sock";
  ASSERT_EQ(::chmod(socket.c_str(), 0600), 0);
  EXPECT_EQ(refusal_of_another_user(shared), "this user may not connect to " + socket);
}

// Ctrl-C waited for the next Enter.
TEST(ClientWords, CtrlCEndsPasswdAtOnceAndTheTerminalEchoesAgain) {
  Terminal terminal(Spawn{.argv = {program("mserve-client"), "passwd", "ken"}});
  ASSERT_TRUE(terminal.shows("Password: "));
  ASSERT_TRUE(wait_until([&] { return !terminal.echoes(); }, "the echo to be off"));
  terminal.type("half a secr\x03");
  EXPECT_EQ(terminal.process().wait(), 130);
  EXPECT_TRUE(terminal.echoes());
  EXPECT_EQ(terminal.shown().find("secr"), std::string::npos) << terminal.shown();
}

TEST(ClientWords, PasswdAsksAgainAfterASignalThatDoesNotEndIt) {
  Terminal terminal(Spawn{.argv = {program("mserve-client"), "passwd", "ken", "--sha1"}});
  const auto ask = [&](const std::string& prompt, const std::string& keys) {
    ASSERT_TRUE(terminal.shows(prompt));
    ASSERT_TRUE(wait_until([&] { return !terminal.echoes(); }, "the echo to be off"));
    terminal.type(keys);
  };
  ask("Password: ", "half\x1a");  // nobody could take it back into the foreground: it goes on
  ask("Password: ", "secret\r");
  ask("Once more: ", "secret\r");
  EXPECT_TRUE(terminal.shows("ken:e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4"));
  EXPECT_EQ(terminal.process().wait(), 0);
}

// One after the other as somebody new to it types them; none of these had advice of its own.
TEST(ClientWords, QueriesThatADemoServantRefusesSayWhatIsExpected) {
  const Broker broker(broker_with({"--max-message", "200k"}, 1));
  const auto said = [&](const std::string& query, int exit_code) {
    const Output output = client_says({"--", query}, broker.env());
    EXPECT_EQ(output.exit_code, exit_code) << query.substr(0, 100) << output.err;
    return output.err;
  };
  for (const char* const text : {"1+1", "", "{x}1"}) {
    has(said(text, 1), "calls of listed functions only");
  }
  has(said("select from trades", 1), "for q processes behind mserve-qshim");
  has(said("proc1[", 1), "'parse\nExpected is a function's name");
  has(said("proc1 1", 1), "'type\nThe function's own error");
  has(said("proc1[1;2]", 1), "'rank\nThe function's own error");
  has(said("echo \"" + std::string(100'000, 'x') + "\"", 1), "'limit\nServants parse texts");
  const TempDir dir;
  const std::string large =
      "{ printf 'echo \"'; head -c 300000 /dev/zero | tr '\\0' x; echo '\"'; }";
  const Output piped =
      run_to_end({"/bin/sh", "-c", large + " | " + program("mserve-client")}, broker.env());
  EXPECT_EQ(piped.exit_code, 2) << piped.err;
  has(piped.err, "'too large\nSend less at once, or raise the broker's --max-message;");
}

TEST(ClientWords, NoBrokerIsOneLineAndTheAdviceNamesWhatWasGiven) {
  const TempDir empty;
  const std::string first = "'no broker 'x' listens at " + empty.file("x.sock") + "\n";
  EXPECT_EQ(
      client_says({"--name", "x", "--dir", empty.path(), "--timeout", "0.05", "echo 1"}, {}).err,
      first + "Start the broker, or check --name and --dir.\n");
  EXPECT_EQ(
      client_says({"--name", "x", "--timeout", "0.05", "echo 1"}, {{"MSERVE_DIR", empty.path()}})
          .err,
      first + "Start the broker, or check --name and MSERVE_DIR.\n");
}

TEST(ClientWords, JsonWithoutInfoIsTheIdAndTheResult) {
  const Broker broker(broker_with({}, 1));
  EXPECT_EQ(client_says({"--json", "-q", "echo 1"}, broker.env()).out, "{\"id\":1,\"result\":1}\n");
}

// Ctrl-C gave up without a word, and the timer with it; \c took any size; what was not sent had an
// ID.
TEST(ClientWords, ThePromptSaysWhatItGaveUpAndWhatItDidNotSend) {
  Broker broker;
  RawPeer servant = raw_servant(broker, "holds");
  const TempDir dir;
  std::map<std::string, std::string> env = broker.env();
  env["XDG_STATE_HOME"] = dir.path();
  Terminal terminal(Spawn{.argv = {program("mserve-client"), "--timeout", "0"}, .env = env});
  ASSERT_TRUE(terminal.shows("mserve)"));
  terminal.type("proc1 `IBM\r");
  ASSERT_TRUE(servant.take());
  terminal.type("\\t 100000\r\\t\r");
  ASSERT_TRUE(terminal.shows("every 100000 ms, 1 in flight"));
  terminal.type("\x03");
  EXPECT_TRUE(terminal.shows("given up: ID 1\r\n\\t is off\r\n"));
  terminal.type("proc1 `GS\rproc1 `GS\r\\t\r");
  ASSERT_TRUE(terminal.shows("off, 2 in flight"));
  terminal.type("\x03");
  EXPECT_TRUE(terminal.shows("given up: 2 queries\r\n"));
  terminal.type("\\c 5 5\r");
  EXPECT_TRUE(terminal.shows("10 to 2000 each\r\n"));
  broker.kill();
  terminal.type("echo 1\r");
  EXPECT_TRUE(terminal.shows("'not attached\r\n"));
  EXPECT_EQ(terminal.shown().find("ID: 0"), std::string::npos) << terminal.shown();
  terminal.type("\\\\\r");
  EXPECT_EQ(terminal.process().wait(), 0);
}

TEST(ClientWords, WrongOptionsLeadToThoseThatWereMeant) {
  const auto said = [](std::vector<std::string> args) {
    args.emplace_back("echo 1");
    const Output output = client_says(std::move(args), {});
    EXPECT_EQ(output.exit_code, 2) << output.err;
    return output.err;
  };
  for (const char* const name :
       {"localhost:5000", "tcp:localhost:5000", "http://localhost:5000/", "//localhost:5000"}) {
    has(said({"--name", name}), "mserve-client: --name: is it tcp://localhost:5000?\n");
  }
  has(said({"--name", "a b"}), "mserve-client: --name: NAME, tcp://host:port");
  EXPECT_EQ(said({"--name", "joe:secret@host:5000"}).find("secret"), std::string::npos);
  has(said({"-p", "5600"}), "there is no option -p; a gateway is --name tcp://HOST:PORT\n");
  has(said({"--port", "5600"}), "a gateway is --name tcp://HOST:PORT\n");
  EXPECT_EQ(said({"--tiemout", "5"}).find("gateway"), std::string::npos);
  has(said({"-c", "20"}), "'echo 1': ROWS COLUMNS are two whole numbers from 10 to 2000\n");
  has(said({"-c", "5", "5"}), "'5': ROWS COLUMNS are two whole numbers from 10 to 2000\n");
}

TEST(ClientWords, HelpSaysUnitsHowToMatchAnswersAndWhatTooLargeIs) {
  const std::string help = client_says({"--help"}, {}).out;
  for (const char* const part :
       {"milliseconds", "With --json each line's answer or error", "64 KiB", "--max-message",
        "with -q without info", "Ctrl-C gives up"}) {
    has(help, part);
  }
}

// It said "hello: broker pid 18250, servant 2, credit 1".
TEST(ClientWords, TheServantOfTheReadmeSaysThatItAttached) {
  const Broker broker;
  const TempDir dir;
  const Process servant(Spawn{.argv = {program("mserve-example-hello-servant")},
                              .env = broker.env(),
                              .stderr_path = dir.file("err")});
  EXPECT_TRUE(
      wait_until([&] { return read_file(dir.file("err")).find("hello: attached: broker ") == 0; },
                 "it to say so"));
}

}  // namespace
}  // namespace mserve::test
