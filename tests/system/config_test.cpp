// SPDX-License-Identifier: Apache-2.0
// The configuration file: what goes before what, what is said of a mistake, and what SIGHUP
// changes.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>
#include <sstream>

#include "support/requests.hpp"
#include "support/temp_dir.hpp"
#include "system/ctl_setup.hpp"

namespace mserve::test {
namespace {

class Config : public ::testing::Test {
 protected:
  std::string write(const std::string& text) const {
    std::ofstream(path_) << text;
    return path_;
  }
  Output check(std::vector<std::string> args, std::map<std::string, std::string> env = {}) const {
    args.insert(args.begin(), {program("mserve-broker"), "--config", path_, "--check"});
    return run_to_end(std::move(args), std::move(env));
  }
  /// The value that --check prints for a key.
  static std::string value(const Output& output, const std::string& key) {
    std::istringstream lines(output.out);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(key + " = ")) {
        return line.substr(key.size() + 3);
      }
    }
    return "";
  }

  TempDir dir_;
  std::string path_ = dir_.file("mserve.toml");
};

TEST_F(Config, FlagsGoBeforeTheEnvironmentAndThatBeforeTheFile) {
  write("policy = \"even\"\nretries = 3\nbind = [\"127.0.0.1\", \"::1\"]\nlock-memory = true\n");
  const Output file = check({});
  ASSERT_EQ(file.exit_code, 0) << file.err;
  EXPECT_EQ(value(file, "policy"), "\"even\"");
  EXPECT_EQ(value(file, "retries"), "3");
  EXPECT_EQ(value(file, "bind"), "[\"127.0.0.1\", \"::1\"]");
  EXPECT_EQ(value(file, "lock-memory"), "true");
  EXPECT_EQ(value(file, "max-queue"), "65536");  // nobody said anything
  EXPECT_EQ(value(check({}, {{"MSERVE_ALGO", "orig"}}), "policy"), "\"orig\"");
  EXPECT_EQ(value(check({"--policy", "match"}, {{"MSERVE_ALGO", "orig"}}), "policy"), "\"match\"");
}

TEST_F(Config, TheFormOfTheLogIsOneOfTwo) {
  write("log-format = \"json\"\n");
  EXPECT_EQ(value(check({}), "log-format"), "\"json\"");
  EXPECT_EQ(value(check({}, {{"MSERVE_LOG_FORMAT", "text"}}), "log-format"), "\"text\"");
  EXPECT_EQ(value(check({"--log-format", "json"}, {{"MSERVE_LOG_FORMAT", "text"}}), "log-format"),
            "\"json\"");
  write("log-format = \"xml\"\n");
  const Output wrong = check({});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.err.find("mserve.toml:1: --log-format: 'xml' is not one of text|json"),
            std::string::npos)
      << wrong.err;
}

TEST_F(Config, TheRouteIsOneOfTheRules) {
  write("route = \"fn\"\n");
  EXPECT_EQ(value(check({}), "route"), "\"fn\"");
  EXPECT_EQ(value(check({}, {{"MSERVE_ROUTING", "user"}}), "route"), "\"user\"");
  EXPECT_EQ(value(check({"--route", "option:desk"}, {{"MSERVE_ROUTING", "user"}}), "route"),
            "\"option:desk\"");
  write("");
  EXPECT_EQ(value(check({}), "route"), "\"arg:1\"");
  for (const char* const wrong : {"arg:0", "first", "{[cmd] cmd 1}"}) {
    const Output output = check({}, {{"MSERVE_ROUTING", wrong}});
    EXPECT_NE(output.exit_code, 0) << wrong;
    EXPECT_NE(output.err.find("'" + std::string(wrong) +
                              "' is not one of arg:N|fn|fn+arg:N|user|const|option:KEY"),
              std::string::npos)
        << output.err;
  }
  write("\nroute = \"fun\"\n");
  EXPECT_NE(check({}).err.find(path_ + ":2: --route: 'fun' is not one of arg:N|"),
            std::string::npos);
}

TEST_F(Config, InterruptIsAKeyAndOffByDefault) {
  write("");
  EXPECT_EQ(value(check({}), "interrupt"), "false");
  EXPECT_EQ(value(check({"--interrupt"}), "interrupt"), "true");
  write("interrupt = true\n");
  EXPECT_EQ(value(check({}), "interrupt"), "true");
}

TEST_F(Config, SlowIsATimeOrMillisecondsAndOffByDefault) {
  write("");
  EXPECT_EQ(value(check({}), "slow"), "\"inf\"");
  EXPECT_EQ(value(check({"--slow", "250"}), "slow"), "\"250ms\"");
  EXPECT_EQ(value(check({"--slow", "2s"}), "slow"), "\"2s\"");
  EXPECT_EQ(value(check({}), "trace-every"), "1000");
  EXPECT_EQ(value(check({}), "trace-max"), "\"1g\"");
  EXPECT_EQ(check({}).out.find("\ntrace = "), std::string::npos) << "off by default";
  write("slow = 20\ntrace = \"/tmp/t.csv\"\ntrace-every = 1\ntrace-max = \"2m\"\n");
  EXPECT_EQ(value(check({}), "slow"), "\"20ms\"");
  EXPECT_EQ(value(check({}), "trace"), "\"/tmp/t.csv\"");
  EXPECT_EQ(value(check({}), "trace-every"), "1");
  EXPECT_EQ(value(check({}), "trace-max"), "\"2m\"");
}

TEST_F(Config, TheReserveIsPartOfTheLaunchedServants) {
  write("");
  EXPECT_EQ(value(check({}), "reserve"), "0");
  EXPECT_EQ(value(check({}), "reserve-after"), "\"1s\"");
  EXPECT_EQ(value(check({}), "reserve-idle"), "\"1m\"");
  write("servants = 4\ncommand = \"mine\"\nreserve = 4\nreserve-after = \"20ms\"\n");
  const Output all = check({"--reserve-idle", "inf"});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_EQ(value(all, "reserve"), "4");
  EXPECT_EQ(value(all, "reserve-after"), "\"20ms\"");
  EXPECT_EQ(value(all, "reserve-idle"), "\"inf\"");
  const std::pair<std::vector<std::string>, const char*> faults[] = {
      {{"--reserve", "5"}, "--reserve: at most N"},
      {{"--sticky"}, "--reserve: not with --sticky"},
      {{"--reserve-after", "0"}, "--reserve-after: above 0"},
      {{"--reserve-after", "inf"}, "--reserve-after: above 0"},
      {{"--reserve-idle", "0"}, "--reserve-idle: above 0"}};
  for (const auto& [args, fault] : faults) {
    const Output output = check(args);
    EXPECT_EQ(output.exit_code, 2) << fault;
    EXPECT_NE(output.err.find(fault), std::string::npos) << output.err;
  }
}

TEST_F(Config, WrapIsAKeyThatTakesNamesOfQ) {
  write("port = 5000\nwrap = \".gw.run\"\n");
  EXPECT_EQ(value(check({}), "wrap"), "\".gw.run\"");
  EXPECT_EQ(value(check({"--wrap", "f_1"}), "wrap"), "\"f_1\"");
  write("");
  EXPECT_EQ(check({}).out.find("\nwrap = "), std::string::npos) << "off by default";
  for (const char* const wrong : {"{x}", "2f", "f g", ".", "f."}) {
    const Output output = check({"-p", "5000", "--wrap", wrong});
    EXPECT_EQ(output.exit_code, 2) << wrong;
    EXPECT_NE(output.err.find("--wrap: '" + std::string(wrong) + "' is not a name of q"),
              std::string::npos)
        << output.err;
  }
  const Output alone = check({"--wrap", "f"});
  EXPECT_EQ(alone.exit_code, 2);
  EXPECT_NE(alone.err.find("--wrap: only with -p"), std::string::npos) << alone.err;
}

TEST_F(Config, ThePeerUserIsOneOfTheUsers) {
  write("port = 5000\npeer-user = \"link\"\nusers = \"" + dir_.file("users") + "\"\n");
  std::ofstream(dir_.file("users")) << "link:secret\n";
  EXPECT_EQ(value(check({}), "peer-user"), "\"link\"");
  const std::pair<std::vector<std::string>, const char*> faults[] = {
      {{"--peer-user", "nobody"}, "--peer-user: there is no user called nobody"},
      {{"--users", ""}, "--peer-user: only with --users"}};
  for (const auto& [args, fault] : faults) {
    const Output output = check(args);
    EXPECT_EQ(output.exit_code, 2) << fault;
    EXPECT_NE(output.err.find(fault), std::string::npos) << output.err;
  }
  write("");
  EXPECT_EQ(check({}).out.find("\npeer-user = "), std::string::npos) << "nobody by default";
}

TEST_F(Config, UsersCanBeRequiredWhereTheyMayCome) {
  write("port = 5000\nrequire-users = true\n");
  EXPECT_NE(check({}).err.find("--require-users: only with --users or --cluster"),
            std::string::npos);
  EXPECT_EQ(value(check({"--cluster", "http://127.0.0.1:1"}), "require-users"), "true");
  std::ofstream(dir_.file("users")) << "ken:secret\n";
  EXPECT_EQ(value(check({"--users", dir_.file("users")}), "require-users"), "true");
  write("require-users = true\n");
  EXPECT_NE(check({}).err.find("--require-users: only with -p"), std::string::npos);
}

TEST_F(Config, PurgeIsATimeOrAsLbtsVariableMinutes) {
  write("");
  EXPECT_EQ(value(check({}), "purge"), "\"30m\"");
  EXPECT_EQ(value(check({}, {{"MSERVE_PURGE", "45"}}), "purge"), "\"45m\"");
  EXPECT_EQ(value(check({"--purge", "12s"}, {{"MSERVE_PURGE", "45"}}), "purge"), "\"12s\"");
  EXPECT_EQ(value(check({"--purge", "inf"}), "purge"), "\"inf\"");
  EXPECT_EQ(value(check({"--purge", "0"}), "purge"), "0");
  write("purge = 2\nquery-log = 7\n");
  EXPECT_EQ(value(check({}), "purge"), "\"2m\"");
  EXPECT_EQ(value(check({}), "query-log"), "7");
  for (const char* const wrong : {"soon", "-1", "1.5", "99999999999"}) {
    const Output output = check({}, {{"MSERVE_PURGE", wrong}});
    EXPECT_EQ(output.exit_code, 2) << wrong;
    EXPECT_NE(output.err.find("is neither a number of minutes"), std::string::npos) << output.err;
  }
  EXPECT_EQ(check({"--query-log", "100001"}).exit_code, 2);
}

TEST_F(Config, WhatCheckPrintsIsAFileThatMeansTheSame) {
  write("servants = 2\ncommand = \"a \\\"b\\\"\"\nclient-ring = 65536\nmatch-wait = \"1000ms\"\n");
  const Output first = check({"-p", "5000"});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(value(first, "command"), R"("a \"b\"")");
  EXPECT_EQ(value(first, "match-wait"), "\"1s\"");
  EXPECT_EQ(value(first, "port"), "5000");
  EXPECT_NE(first.err.find("here it would not start: cannot run 'a \"b\"'"), std::string::npos)
      << first.err;
  write(first.out);
  EXPECT_EQ(check({}).out, first.out);
  std::istringstream lines(first.out);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 80U) << line;
    EXPECT_TRUE(line.starts_with("# ") || line.find(" = ") != std::string::npos) << line;
  }
}

TEST_F(Config, ACommandThatMayNotBeRunIsToldFromOneThatIsNotThere) {
  const std::string script = dir_.file("serve.sh");
  std::ofstream(script) << "#!/bin/sh\n";
  write("retries = 3\n");
  EXPECT_NE(check({"1", script}).err.find("chmod +x"), std::string::npos);
  EXPECT_NE(check({"1", script + "x"}).err.find("no such program"), std::string::npos);
}

TEST_F(Config, AMistakeIsNamedWithFileLineAndTheNearestKey) {
  struct Case {
    const char* text;
    const char* said;
  };
  for (const Case& c :
       {Case{"\npolcy = \"even\"\n", ":2: there is no key 'polcy'; is it 'policy'?"},
        Case{"MAX_QUEUE = 1\n", ":1: there is no key 'MAX_QUEUE'; is it 'max-queue'?"},
        Case{"nix = 1\n", ":1: there is no key 'nix'; --check prints all"},
        Case{"max-queue = -3\n", ":1: --max-queue: expected a whole number, not '-3'"},
        Case{"p = 5000\n", ":1: there is no key 'p'; is it 'port'?"},
        Case{"servants = \"two\"\n", ":1: servants: expected a whole number, not 'two'"},
        Case{"policy = even\n",
             ":1: Error while parsing value: could not determine value type; "
             "text needs quotes"},
        Case{"xyzzy = 1\n", ":1: there is no key 'xyzzy'; --check prints all"},
        Case{"policy = \"fast\"\n", ":1: --policy: 'fast' is not one of orig|even|match"},
        Case{"match-wait = \"5 minutes\"\n", ":1: --match-wait: '5 minutes' is not a time"},
        Case{"retries = [1, 2]\n", ":1: retries takes one value"},
        Case{"[limits]\nretries = 1\n", ":1: limits: there are no tables"},
        Case{"retries = 1\nretries = 2\n", ":2: "}, Case{"policy = = 1\n", ":1: "},

        Case{"config = \"x\"\n", ":1: there is no key 'config'"}}) {
    write(c.text);
    const Output output = check({});
    EXPECT_EQ(output.exit_code, 2) << c.text;
    EXPECT_NE(output.err.find(path_ + c.said), std::string::npos) << c.text << output.err;
    EXPECT_EQ(output.out, "");
  }
  write("policy = = 1\nnonsense = 1\n");
  EXPECT_NE(check({}).err.find("column 10; what follows was not looked at)"), std::string::npos)
      << check({}).err;
  path_ = dir_.file("nowhere");
  EXPECT_NE(check({}).err.find("nowhere: cannot be read"), std::string::npos);
  path_ = "/dev/zero";
  EXPECT_NE(check({}).err.find("larger than 1 MiB"), std::string::npos);
}

TEST_F(Config, AllFaultsOfTheValuesAreToldAtOnceWithTheirLines) {
  write("max-sessions = 1\n\ntimeout = 0\nservant-ring = 5000\n");
  const Output output = check({"--servant-ring", "6000", "--max-queue", "0"});
  EXPECT_EQ(output.exit_code, 2);
  for (const std::string& said :
       {path_ + ":1: --max-sessions: 2 to", path_ + ":3: --queue-timeout, --timeout: above 0",
        std::string("mserve-broker: --servant-ring: a power"),  // not what the file says
        std::string("mserve-broker: --max-queue: 1 to")}) {
    EXPECT_NE(output.err.find(said), std::string::npos) << said << "\n" << output.err;
  }
  write("timeout = 1979-05-27\n");
  const std::string once = check({}).err;
  EXPECT_EQ(std::count(once.begin(), once.end(), '\n'), 1) << once;
}

// One value that could not be read hid what was wrong with the others.
TEST_F(Config, WhatCannotBeReadHidesNoOtherFaultAndTheyAreToldByLine) {
  write(
      "users = \"nix\"\npolicy = \"evn\"\nmax-queue = 0\nallow-group = \"nosuch\"\n"
      "servant-ring = \"4x\"\nclient-ring = \"2m\"\nservants = \"two\"\nreserve = 1\n");
  const Output output = check({"-p", "5000", "--allow-user", "root", "--socket-group", "0"});
  EXPECT_EQ(output.exit_code, 2);
  std::size_t at = 0;
  for (const char* const said :
       {":1: --users: nix: No such file", ":2: --policy: 'evn'", ":3: --max-queue: 1 to",
        ":4: --allow-group: there is no group", ":5: --servant-ring: '4x' is not",
        ":7: servants: expected a whole number"}) {
    const std::size_t found = output.err.find(path_ + said, at);
    EXPECT_NE(found, std::string::npos) << said << "\n" << output.err;
    at = std::min(found, output.err.size());
  }
  EXPECT_EQ(output.err.find("--client-ring"), std::string::npos)
      << "it depends on one that could not be read: " << output.err;
  EXPECT_EQ(output.err.find("--reserve"), std::string::npos) << output.err;
}

TEST_F(Config, ATraceThatCannotBeWrittenIsToldByCheckAsWhatHindersItHere) {
  write("retries = 3\n");
  const Output output = check({"--trace", dir_.file("none") + "/x.json"});
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_NE(output.err.find("here it would not start: --trace: cannot write "), std::string::npos)
      << output.err;
  EXPECT_EQ(check({"--trace", dir_.file("x.json")}).err, "");
}

TEST_F(Config, EachRuleThatIsWrongIsToldNotTheFirstAlone) {
  write("rule = ['fnn=a -> hdb', 'fn=b -> hdb', 'fn=1 -> hdb', 'fn=c']\nretries = 1000\n");
  const Output output = check({});
  EXPECT_EQ(output.exit_code, 2);
  for (const char* const said : {":1: --rule: 'fnn=a' is none of", ":1: --rule: '1' is no name",
                                 ":1: --rule: a rule is", ":2: --retries: 0 to 255, not 1000"}) {
    EXPECT_NE(output.err.find(path_ + said), std::string::npos) << said << "\n" << output.err;
  }
  EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 4) << output.err;
}

TEST_F(Config, TheDirectoryOfTheEnvironmentGoesBeforeThatOfTheFile) {
  write("dir = \"/of/the/file\"\n");
  EXPECT_EQ(value(check({}), "dir"), "\"/of/the/file\"");
  EXPECT_EQ(value(check({}, {{"MSERVE_DIR", "/of/the/environment"}}), "dir"),
            "\"/of/the/environment\"");
  EXPECT_EQ(value(check({"--dir", "/of/the/flag"}, {{"MSERVE_DIR", "/x"}}), "dir"),
            "\"/of/the/flag\"");
  const Output relative =
      run_to_end({program("mserve-broker"), "--config", path_}, {{"MSERVE_DIR", "not/absolute"}});
  EXPECT_EQ(relative.exit_code, 1);
  EXPECT_NE(relative.err.find("'not/absolute' is not an absolute path"), std::string::npos)
      << relative.err;
}

TEST_F(Config, AFileThatEverybodyMayWriteToIsRefused) {
  write("retries = 3\n");
  ASSERT_EQ(::chmod(path_.c_str(), 0646), 0);
  const Output output = check({});
  EXPECT_EQ(output.exit_code, 2);
  EXPECT_NE(output.err.find(path_ + ": everybody can write to it: chmod o-w"), std::string::npos)
      << output.err;
}

/// A broker with three demo servants and a configuration file.
class Reloading : public Config {
 protected:
  Broker broker(const std::string& text) const {
    BrokerSetup setup;
    setup.args = {"--config", write(text)};
    setup.servants = 3;
    setup.servant_args = "--rows 0";
    return Broker(setup);
  }
  /// The servants that ran `count` requests of one route, one after the other.
  static std::set<std::string> ran_by(const Broker& broker, int count) {
    std::set<std::string> servants;
    Client client = broker.client();
    for (int i = 0; i < count; ++i) {
      const auto answer = query(client, "echo `IBM", {}, watchdog());
      EXPECT_TRUE(answer);
      const auto qsvr = answer.value().info.find("qsvr");
      servants.insert(std::string(qsvr->text_view().value_or("")));
    }
    return servants;
  }
};

TEST_F(Reloading, APolicyChangesUnderLoadAndNoRequestIsLost) {
  const Broker broker = this->broker("policy = \"match\"\nmatch-wait = \"inf\"\n");
  EXPECT_EQ(ran_by(broker, 6).size(), 1U);
  write("policy = \"even\"\nlog-level = \"warning\"\n");
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_NE(broker.wait_for_log("reloaded").find("policy=\"even\""), std::string::npos);
  // The data thread hears of it a moment later; every answer until then is one all the same.
  EXPECT_TRUE(wait_until([&] { return ran_by(broker, 3).size() == 3; }, "each servant in turn"));
}

// It went back to what the file said, and the answer was that no key had changed.
TEST_F(Reloading, WhatAnOperatorOrderedHoldsUntilItsKeyChanges) {
  const Broker broker = this->broker("policy = \"match\"\nlog-level = \"info\"\nretries = 1\n");
  ctl(broker, "policy", "even");
  ctl(broker, "log-level", "warning");
  const auto reload = [&] { return stat(broker, {"ctl", "reload"}); };
  const auto policy = [&] {
    const std::string out = stat(broker, {"servants"}).out;
    return out.substr(out.rfind("policy "));
  };
  EXPECT_EQ(reload().out, "no key changed\n");
  write("policy = \"match\"\nlog-level = \"info\"\nretries = 2\n");
  EXPECT_EQ(reload().out.rfind("changed: retries", 0), 0U);
  EXPECT_EQ(policy(), "policy even\n");
  EXPECT_TRUE(broker.log_lines(" reloaded").empty()) << "of level info";
  write("policy = \"orig\"\nlog-level = \"error\"\nretries = 2\n");
  EXPECT_EQ(reload().exit_code, 0);
  EXPECT_TRUE(wait_until([&] { return policy() == "policy orig\n"; }, "the policy"));
  write("policy = \"orig\"\nlog-level = \"info\"\nretries = 2\n");
  EXPECT_EQ(reload().exit_code, 0);
  EXPECT_FALSE(broker.log_lines(" control ").empty());
}

TEST(ReloadingNothing, SaysThatThereIsNothingToReadAgain) {
  const Broker broker;
  EXPECT_EQ(stat(broker, {"ctl", "reload"}).out,
            "nothing to read again: the broker was started without --config, --users, --cluster\n");
}

TEST_F(Reloading, NothingIsHalfApplied) {
  const Broker broker = this->broker("policy = \"match\"\nmatch-wait = \"inf\"\n");
  write("policy = \"even\"\ndrain-timeout = \"3s\"\n");
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_NE(broker.wait_for_log("reload_refused").find("key=drain-timeout value=\"3s\""),
            std::string::npos);
  write("policy = \"match\"\nmatch-wait = \"inf\"\nroute = \"fn\"\n");
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  (void)broker.wait_for_log("key=route value=\"fn\"");  // the clients were told another one
  write("policy = \"evn\"\nretries = 2\n");
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_NE(broker.wait_for_log("evn").find("mserve.toml:1: --policy"), std::string::npos);
  ::unlink(path_.c_str());
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  (void)broker.wait_for_log("cannot be read");
  EXPECT_TRUE(broker.log_lines(" reloaded").empty());
  EXPECT_EQ(ran_by(broker, 6).size(), 1U);
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);  // nobody will ever write to it
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  (void)broker.wait_for_log("no regular file");
  ::unlink(path_.c_str());
  write("policy = \"match\"\nmatch-wait = \"inf\"\n");
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_NE(broker.wait_for_log(" reloaded").find("nothing changed"), std::string::npos);
}

/// What is told as changed is so against what holds, not against what was refused.
TEST_F(Reloading, RulesThatAreTooManySinceTheStartLeaveEverythingAsItWas) {
  const auto rules = [](const std::string& group) {
    std::string text = "rule = [";
    for (int i = 0; i < 40; ++i) {
      text += "\"-> group=" + group + std::to_string(i) + "\", ";
    }
    return text + "\"-> any\"]\n";
  };
  const Broker broker = this->broker(rules("a"));
  write("policy = \"even\"\n" + rules("b"));
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_NE(broker.wait_for_log("reload_refused").find("sets of servants"), std::string::npos);
  write("policy = \"even\"\n" + rules("a"));
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  const std::string line = broker.wait_for_log(" reloaded");
  EXPECT_NE(line.find("policy=\"even\""), std::string::npos) << line;
  EXPECT_EQ(line.find("rule="), std::string::npos) << line;
}

}  // namespace
}  // namespace mserve::test
