// SPDX-License-Identifier: Apache-2.0
// What a user sees: mserve-client against a broker with demo servants.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <sstream>
#include <string>
#include <vector>

#include "mserve/shm/unique_fd.hpp"
#include "support/broker_process.hpp"
#include "support/raw_peer.hpp"
#include "support/wait.hpp"
#include "system/gateway_setup.hpp"
#include "version.hpp"

namespace mserve::test {
namespace {

/// Words of the first line that starts with `word`.
std::vector<std::string> line_with(const std::string& text, const std::string& word) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::vector<std::string> found;
    for (std::string w; words >> w;) {
      found.push_back(w);
    }
    if (!found.empty() && found[0] == word) {
      return found;
    }
  }
  return {};
}

/// One broker with two demo servants for all tests that leave it as it is.
class CommandLine : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    BrokerSetup setup;
    setup.servants = 2;
    broker_ = new Broker(setup);
  }
  static void TearDownTestSuite() {
    delete broker_;
    broker_ = nullptr;
  }
  static Output client(std::vector<std::string> args) {
    args.insert(args.begin(), program("mserve-client"));
    return run_to_end(std::move(args), broker_->env());
  }
  static Broker* broker_;
};
Broker* CommandLine::broker_ = nullptr;

TEST_F(CommandLine, AQueryPrintsInfoAndTableAsTheQConsoleDoes) {
  const Output shown = client({"--console", "40", "200", "proc1 `IBM"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  const std::size_t info = shown.out.find("--info--\n");
  const std::size_t result = shown.out.find("--result--\n");
  ASSERT_NE(info, std::string::npos) << shown.out;
  ASSERT_NE(result, std::string::npos) << shown.out;
  std::istringstream lines(shown.out.substr(info, result - info));
  std::vector<std::string> keys;
  for (std::string line; std::getline(lines, line);) {
    if (const std::size_t bar = line.find('|'); bar != std::string::npos) {
      keys.push_back(line.substr(0, line.find_last_not_of(' ', bar - 1) + 1));
    }
  }
  EXPECT_EQ(keys, (std::vector<std::string>{"qsvr", "elapsed", "execution", "route", "backlog",
                                            "remaining"}));
  EXPECT_NE(shown.out.find("qsvr     | `mserve-servant-"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("route    | `IBM"), std::string::npos) << shown.out;
  const std::vector<std::string> columns{"SYM", "MAX",  "MIN", "OPEN", "CLOSE",
                                         "AVG", "VWAP", "DEV", "VAR"};
  EXPECT_EQ(line_with(shown.out.substr(result), "SYM"), columns) << shown.out;
  EXPECT_EQ(line_with(shown.out.substr(result), "IBM").size(), columns.size()) << shown.out;
}

TEST_F(CommandLine, JsonIsValidAndCarriesInfoAndResult) {
  const Output shown = client({"--json", "proc1 `IBM`GS"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  boost::json::error_code error;
  const boost::json::value value = boost::json::parse(shown.out, error);
  ASSERT_FALSE(error) << shown.out;
  for (const char* const key : {"qsvr", "elapsed", "execution", "route", "backlog", "remaining"}) {
    EXPECT_TRUE(value.as_object().at("info").as_object().contains(key)) << key;
  }
  EXPECT_NE(boost::json::serialize(value.as_object().at("result")).find("IBM"), std::string::npos);
}

TEST_F(CommandLine, AFunctionThatIsNotListedIsRefusedWithLbtsError) {
  const Output shown = client({"system \"ls\""});
  EXPECT_EQ(shown.exit_code, 1);
  EXPECT_NE((shown.out + shown.err).find("unknown command: `system"), std::string::npos)
      << shown.err;
}

TEST_F(CommandLine, ANestedCallIsRefusedWithLbtsError) {
  const Output shown = client({"proc1 proc2 `IBM"});
  EXPECT_EQ(shown.exit_code, 1);
  EXPECT_NE((shown.out + shown.err).find("nested evaluation"), std::string::npos) << shown.err;
  const Output forgotten = client({"proc1 IBM"});
  EXPECT_EQ(forgotten.exit_code, 1);
  EXPECT_EQ(forgotten.err.find("'nested evaluation\nArguments are values"), 0U) << forgotten.err;
  EXPECT_NE(forgotten.err.find("a symbol has its backtick"), std::string::npos) << forgotten.err;
  EXPECT_EQ(client({"--quiet", "proc1 IBM"}).err, "'nested evaluation\n") << "as LBT says it";
}

TEST_F(CommandLine, AnErrorIsValidJsonToo) {
  const Output shown = client({"--json", "system \"ls\""});
  EXPECT_EQ(shown.exit_code, 1);
  boost::json::error_code error;
  const boost::json::value value = boost::json::parse(shown.out, error);
  ASSERT_FALSE(error) << shown.out;
  EXPECT_TRUE(value.as_object().contains("error"));
}

TEST_F(CommandLine, WrongUsageIsExitCode2) {
  EXPECT_EQ(client({"--no-such-option"}).exit_code, 2);
  EXPECT_EQ(client({"--name", "a b", "echo 1"}).exit_code, 2);
}

// \? lists \t, and what came back was that there is no such command.
TEST_F(CommandLine, TheTimerIsForThePromptAndSaysSoInAPipe) {
  const Output shown = run_to_end(
      {"/bin/sh", "-c", "printf '%s\\n' '\\t 100' | " + program("mserve-client")}, broker_->env());
  EXPECT_EQ(shown.exit_code, 2);
  EXPECT_EQ(shown.err, "'\\t is for the prompt on a terminal\n");
}

TEST_F(CommandLine, CallsOfTheGatewayAreRefusedWithWhoMayAndWhereElseToLook) {
  const Output rings = client({".mserve.queries[]"});
  EXPECT_NE(rings.err.find("kdb+ connections to the gateway; mserve-stat"), std::string::npos)
      << rings.err;
  const Broker broker(with_gateway({}, 1));
  const Output tcp =
      client({"--name", "tcp://127.0.0.1:" + std::to_string(broker.port()), ".mserve.queries[]"});
  EXPECT_NE(tcp.err.find("--admin-users over its Unix socket"), std::string::npos) << tcp.err;
  EXPECT_EQ(tcp.err.find("--allow-user"), std::string::npos) << tcp.err;
}

TEST_F(CommandLine, HelpListsTheExitCodes) {
  const Output shown = client({"--help"});
  EXPECT_EQ(shown.exit_code, 0);
  for (const char* const code :
       {"\n  0  ", "\n  1  ", "\n  2  ", "\n  3  ", "\n  4  ", "\n  5  "}) {
    EXPECT_NE(shown.out.find(code), std::string::npos) << shown.out;
  }
}

TEST_F(CommandLine, WithoutABrokerItSaysSoAndHowToGoOn) {
  const TempDir empty;
  const Output shown = run_to_end({program("mserve-client"), "proc1 `IBM"},
                                  {{"MSERVE_DIR", empty.path()}, {"MSERVE_NAME", "nobody"}});
  EXPECT_EQ(shown.exit_code, 3);
  EXPECT_NE(shown.err.find("no broker"), std::string::npos) << shown.err;
  EXPECT_NE(shown.err.find("nobody"), std::string::npos) << shown.err;
}

// As in a script that starts both, line by line.
TEST(CommandLineAlone, ABrokerThatIsBeingStartedIsWaitedFor) {
  constexpr int kTries = 10;  // a machine may be too busy for one of them
  bool answered = false;
  for (int i = 0; i < kTries && !answered; ++i) {
    const TempDir dir;
    const std::map<std::string, std::string> env{{"MSERVE_DIR", dir.path()}};
    Process client(Spawn{.argv = {program("mserve-client"), "-q", "echo 1"}, .env = env});
    Process broker(Spawn{.argv = {program("mserve-broker"), "1", program("mserve-servant"),
                                  "--servant-args", "--rows 0"},
                         .env = env});
    answered = client.wait() == 0;
    if (answered) {  // else it may be about to start, and end as if nobody had told it how
      broker.signal(SIGTERM);
      EXPECT_EQ(broker.wait(), 0);
    }
  }
  EXPECT_TRUE(answered);
}

TEST(CommandLineAlone, NoAnswerWithinTheTimeOutIsExitCode4) {
  const Broker broker;
  RawPeer servant = raw_servant(broker, "holds");
  const Output shown =
      run_to_end({program("mserve-client"), "--timeout", "0.05", "proc1 `IBM"}, broker.env());
  EXPECT_EQ(shown.exit_code, 4) << shown.err;
  EXPECT_NE(shown.err.find("timeout"), std::string::npos) << shown.err;
}

// The time for attaching was a fixed five seconds, whatever --timeout said.
TEST(CommandLineAlone, ABrokerThatIsStoppedIsNamedAndNotWaitedForBeyondTheTimeout) {
  const Broker broker;
  stop(broker.pid());
  Process patient(Spawn{.argv = {program("mserve-client"), "--timeout", "0", "proc1 `IBM"},
                        .env = broker.env()});
  const Output shown =
      run_to_end({program("mserve-client"), "--timeout", "0.05", "proc1 `IBM"}, broker.env());
  EXPECT_FALSE(patient.ended()) << "it began first and waits for five seconds";
  ::kill(broker.pid(), SIGCONT);
  EXPECT_EQ(shown.exit_code, 4) << shown.err;
  EXPECT_NE(shown.err.find("the broker (pid " + std::to_string(broker.pid()) +
                           ") does not answer; is it stopped or overloaded?"),
            std::string::npos)
      << shown.err;
  EXPECT_NE(shown.err.find("Nothing was sent"), std::string::npos) << shown.err;
}

TEST(CommandLineAlone, NoServantIsExitCode5) {
  const Broker broker;
  const Output shown = run_to_end({program("mserve-client"), "proc1 `IBM"}, broker.env());
  EXPECT_EQ(shown.exit_code, 5) << shown.err;
  EXPECT_NE(shown.err.find("no servant"), std::string::npos) << shown.err;
}

TEST(CommandLineAlone, ABrokerThatIsKilledIsExitCode3) {
  Broker broker;
  RawPeer servant = raw_servant(broker, "holds");
  const TempDir dir;
  Process client(Spawn{.argv = {program("mserve-client"), "--timeout", "0", "proc1 `IBM"},
                       .env = broker.env(),
                       .stderr_path = dir.file("err")});
  ASSERT_TRUE(servant.take());
  broker.kill();
  EXPECT_EQ(client.wait(), 3);
  EXPECT_NE(read_file(dir.file("err")).find("disconnected"), std::string::npos);
}

TEST(BrokerCommandLine, EveryFaultOfTheOptionsIsNamedAndItIsExitCode2) {
  const Output shown =
      run_to_end({program("mserve-broker"), "--name", "a/b", "--client-ring", "5000",
                  "--socket-group", "no-such-group", "2", "no-such-program"});
  EXPECT_EQ(shown.exit_code, 2);
  EXPECT_NE(shown.err.find("--name"), std::string::npos) << shown.err;
  EXPECT_NE(shown.err.find("--client-ring"), std::string::npos) << shown.err;
  EXPECT_NE(shown.err.find("no group called no-such-group"), std::string::npos) << shown.err;
  EXPECT_NE(shown.err.find("cannot run 'no-such-program'"), std::string::npos) << shown.err;
}

TEST(BrokerCommandLine, AServantProgramThatIsNotThereIsNamed) {
  const Output shown = run_to_end({program("mserve-broker"), "2", "/nonexistent/servant"});
  EXPECT_EQ(shown.exit_code, 2);
  EXPECT_NE(shown.err.find("/nonexistent/servant"), std::string::npos) << shown.err;
}

TEST(BrokerCommandLine, ADirectoryThatOthersMayWriteIsRefused) {
  const TempDir dir;
  ASSERT_EQ(chmod(dir.path().c_str(), 0777), 0);
  const Output shown = run_to_end({program("mserve-broker"), "--dir", dir.path()});
  EXPECT_EQ(shown.exit_code, 1);
  EXPECT_NE(shown.err.find("unsafe directory"), std::string::npos) << shown.err;
}

TEST(BrokerCommandLine, ARelativeDirectoryIsTheSameForItsServants) {
  // They got it as it was given and, from their own rules, looked for the broker elsewhere.
  const TempDir dir;
  Process broker(Spawn{.argv = {"/bin/sh", "-c",
                                "cd " + dir.path() + " && exec " + program("mserve-broker") +
                                    " --name rel --dir here --max-queue-bytes 1m "
                                    "--max-pending-bytes 1m --servant-args '--rows 0' 1 " +
                                    program("mserve-servant")},
                       .stderr_path = dir.file("log")});
  EXPECT_TRUE(wait_until(
      [&] {
        return read_file(dir.file("log")).find("ready name=rel servants=1") != std::string::npos;
      },
      "a servant to find a broker whose --dir is relative"));
  broker.signal(SIGTERM);
  EXPECT_EQ(broker.wait(), 0);
}

TEST(EveryTool, TellsTheVersionOfAllOfThem) {
  for (const char* const tool : {"mserve-broker", "mserve-cluster", "mserve-stat", "mserve-pin",
                                 "mserve-client", "mserve-servant", "mserve-qshim"}) {
    const Output told = run_to_end({program(tool), "--version"});
    EXPECT_EQ(told.exit_code, 0) << tool;
    EXPECT_EQ(told.out, std::string(tool) + " " + kVersion + "\n");
    EXPECT_EQ(told.err, "") << tool;
  }
}

TEST(TypicalMistakes, AreToldInWordsThatHelp) {
  const TempDir dir;
  const auto told = [&dir](std::vector<std::string> argv, int exit_code) {
    argv[0] = program(argv[0]);
    const Output output = run_to_end(std::move(argv), {{"MSERVE_DIR", dir.path()}});
    EXPECT_EQ(output.exit_code, exit_code) << output.err;
    return output.err;
  };
  const auto has = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  };
  has(told({"mserve-broker", "--nmae", "x"}, 2), "there is no option --nmae; is it --name?");
  has(told({"mserve-broker", "mserve-servant"}, 2), "'mserve-servant' is no number of servants");
  has(told({"mserve-broker", "--config", dir.file("none")}, 2), "No such file or directory");
  has(told({"mserve-stat"}, 2), "a command is missing; commands are: ctl, servants");
  has(told({"mserve-client", "--timeout", "abc", "x"}, 2),
      "mserve-client: --timeout: expected SECONDS, a number from 0 to 1000000000, not 'abc'\nRun");
  has(told({"mserve-client", "--secnods", "2"}, 2), "mserve-client: there is no option --secnods");
  has(told({"mserve-client", "--timeout"}, 2), "mserve-client: --timeout: its value is missing");
  has(told({"mserve-client", "passwd"}, 2), "mserve-client passwd: USER is missing");
  has(told({"mserve-stat", "latency", "--interval", "x"}, 2),
      "mserve-stat: --interval: expected SECONDS, a number from 0.01 to 3600, not 'x'");
  has(told({"mserve-stat", "ctl", "explode"}, 2),
      "mserve-stat: there is no subcommand 'explode'; there are pause, resume, drain");
  has(told({"mserve-stat", "ctl", "clsuter", "show"}, 2), "'clsuter'; is it 'cluster'?");
  has(told({"mserve-stat", "ctl", "cluster"}, 2),
      "cluster: a command is missing; commands are: apply, rollback");
  has(told({"mserve-stat", "ctl"}, 2), "what to do is missing: pause, resume, ");
  has(told({"mserve-stat", "ctl", "policy"}, 2), "policy: say which: orig|even|match|");
  has(told({"mserve-stat", "ctl", "policy", "mach"}, 2), "; is it 'match'?");
  has(told({"mserve-stat", "ctl", "drain", "2", "3"}, 2), "an order has one target");
  has(told({"mserve-stat", "ctl", "drain", "2,3"}, 2), "an order has one target");
  has(told({"mserve-stat", "ctl", "drain", "0"}, 2), "numbers begin at 1");
  has(told({"mserve-broker", "--rule", "fn=a -> group = b"}, 2), "write NAME=VALUE in one");
  has(told({"mserve-broker", "--rule", "fn=a->group=b"}, 2), "blanks are needed around '->'");
  has(told({"mserve-broker", "--allow-user", "no-such-user"}, 2),
      "--allow-user: there is no user called 'no-such-user', nor is it a uid");
  has(told({"mserve-broker", "--dir", dir.file("a/b")}, 1), "mkdir -p");
  has(told({"mserve-qshim"}, 2), "mserve-qshim: --q HOST:PORT or --q-socket PATH");
  const Output variable =
      run_to_end({program("mserve-broker"), "--check"}, {{"MSERVE_ALGO", "evn"}});
  has(variable.err, "mserve-broker: MSERVE_ALGO: 'evn' is not one of orig|even");
  has(told({"mserve-stat", "ctl", "log-level", "loud"}, 2), "not one of info|warning|error");
  has(told({"mserve-stat", "events", "-n", "-1"}, 2),
      "-n: expected N, a whole number from 0, not '-1'");
  has(told({"mserve-stat", "serve", "--port", "99999"}, 2), "from 0 to 65535, not '99999'");
  has(told({"mserve-stat", "ctl", "log-level"}, 2), "log-level: say which: info|warning|error");
  has(told({"mserve-stat", "ctl", "drain"}, 2), "drain: say which: all, NUMBER, name:NAME");
  has(told({"mserve-stat", "ctl", "drain", "hdb"}, 2), "; is it name:hdb?");
  has(told({"mserve-stat", "servants", "--intreval", "2"}, 2), "is it --interval?");
  has(told({"mserve-broker", "--rule", "fn=proc1 => group=a"}, 2), "CONDITIONS '->' TAGS");
  has(told({"mserve-client", "-x"}, 2), "there is no option -x");
  has(told({"mserve-pin", "run", dir.file("none"), "--", "true"}, 1), "No such file or directory");
  has(told({"mserve-pin"}, 2), "mserve-pin: a command is missing; commands are: audit");
  has(told({"mserve-servant", "--rows", "many"}, 2), "mserve-servant: --rows: expected N");
  has(told({"mserve-servant", "--rwos", "2"}, 2), "there is no option --rwos; is it --rows?");
  has(told({"mserve-qshim", "--broekr", "b"}, 2), "there is no option --broekr; is it --broker?");
  has(told({"mserve-qshim", "--credit", "x"}, 2), "mserve-qshim: --credit: expected");
  EXPECT_EQ(told({"mserve-cluster"}, 2),
            "mserve-cluster: --cluster: say where etcd listens, such as http://127.0.0.1:2379\n");
  has(told({"mserve-cluster", "--nmae", "b"}, 2), "there is no option --nmae; is it --name?");
  has(told({"mserve-broker", "--max-message", "5x"}, 2),
      "mserve-broker: --max-message: '5x' is not a size such as 4096, 64k, 1m or 2g");
  has(told({"mserve-broker", "--client-ring", "8g"}, 2), "'8g' is too large: less than 4g");
  has(told({"mserve-broker", "--client-ring", "2m"}, 2),
      "--client-ring: a power of two from 4k to --servant-ring (1m), not 2m");
  has(told({"mserve-broker", "--retries", "999"}, 2), "--retries: 0 to 255, not 999");
  has(told({"mserve-broker", "--nix", "1"}, 2), "there is no option --nix\n");
  has(told({"mserve-broker", "2", "mserve-servant", "--rows", "5"}, 2),
      "there is no option --rows; its own arguments go into --servant-args '...'");
  has(told({"mserve-broker", "2", "mserve-servant --rows 5"}, 2),
      "no such program; its arguments go into --servant-args");
  has(told({"mserve-broker", "2", "tick.q", "-q"}, 2), "q's own arguments go into --q-args '...'");
  has(told({"mserve-broker", "--max-sessions", "x"}, 2),
      "mserve-broker: --max-sessions: expected a whole number, not 'x'");
  has(told({"mserve-stat", "sevants"}, 2), "there is no subcommand 'sevants'; is it 'servants'?");
  has(told({"mserve-stat", "drain", "1"}, 2), "subcommand 'drain'; is it 'ctl drain'?");
  const std::string nobody = told({"mserve-stat", "servants"}, 3);
  has(nobody, "mserve-stat: no broker 'default' listens at");
  has(nobody, "Start the broker");
  has(told({"mserve-stat", "--bad"}, 2), "there is no option --bad");
  EXPECT_EQ(told({"mserve-client", "--nam", "x"}, 2).find("quotes"), std::string::npos);
  has(told({"mserve-client", "proc1", "IBM"}, 2), "A query is one argument: put it in quotes");
}

TEST(BrokerCommandLine, AllowUserTakesOneValueAndLeavesTheServants) {
  const TempDir dir;
  const Output refused =
      run_to_end({program("mserve-broker"), "--name", "x", "--dir", dir.path(), "--socket-group",
                  "no-such-group", "--allow-user", "1000", "1", "/bin/true"});
  EXPECT_NE(refused.err.find("no-such-group"), std::string::npos) << refused.err;
}

// Lines about each end named neither the command nor what to do.
TEST(BrokerLog, AServantThatKeepsEndingIsToldOnceWithItsCommandAndWhatToDo) {
  const TempDir dir;
  const std::string servant = program("mserve-servant");
  const Process broker(
      Spawn{.argv = {program("mserve-broker"), "--servant-args", "--rwos 5", "1", servant},
            .env = {{"MSERVE_DIR", dir.path()}},
            .stderr_path = dir.file("err")});
  const auto log = [&dir] { return read_file(dir.file("err")); };
  ASSERT_TRUE(wait_until([&] { return log().find("no_servants") != std::string::npos; },
                         "the broker to give up hope"));
  const std::string text = log();
  const std::size_t at = text.find("servant_keeps_ending");
  ASSERT_NE(at, std::string::npos) << text;
  const std::string line = text.substr(at, text.find('\n', at) - at);
  for (const std::string& said :
       {servant + " --rwos 5", std::string("exit=2"), std::string("correct --servant-args")}) {
    EXPECT_NE(line.find(said), std::string::npos) << said << " in: " << line;
  }
  EXPECT_EQ(text.find("servant_keeps_ending", at + 1), std::string::npos) << text;
}

TEST(BrokerLog, NobodyReadsItAndTheBrokerGoesOn) {
  const TempDir dir;
  ASSERT_EQ(::mkfifo(dir.file("log").c_str(), 0600), 0);
  shm::UniqueFd reader(::open(dir.file("log").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  Process broker(Spawn{.argv = {program("mserve-broker"), "--name", "pipe", "--dir", dir.path(),
                                "--max-queue-bytes", "1m", "--max-pending-bytes", "1m"},
                       .stderr_path = dir.file("log")});
  ClientOptions options;
  options.broker = "pipe";
  options.directory = dir.path();
  ASSERT_TRUE(wait_until([&] { return static_cast<bool>(Client::connect(options)); },
                         "the broker to listen"));
  reader.reset();
  for (int i = 0; i < 3; ++i) {  // each attachment is a line of the log
    ASSERT_TRUE(Client::connect(options));
  }
  broker.signal(SIGTERM);
  EXPECT_EQ(broker.wait(), 0);
}

}  // namespace
}  // namespace mserve::test
