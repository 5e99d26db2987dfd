// SPDX-License-Identifier: Apache-2.0
// Plugins in a real broker: the examples, those that are refused, and those that answer wrongly.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>

#include "support/requests.hpp"
#include "support/temp_dir.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

class Plugin : public ::testing::Test {
 protected:
  /// A copy that nobody else may write, whatever the umask of the build was.
  std::string plugin(const std::string& name) const {
    std::string file = dir_.file(name + ".so");
    std::filesystem::copy_file(std::string(MSERVE_TEST_PLUGIN_DIR) + "/" + name + ".so", file,
                               std::filesystem::copy_options::overwrite_existing);
    EXPECT_EQ(::chmod(file.c_str(), 0755), 0);
    return file;
  }
  static Output check(std::vector<std::string> args, std::map<std::string, std::string> env = {}) {
    args.insert(args.begin(), {program("mserve-broker"), "--check"});
    return run_to_end(std::move(args), std::move(env));
  }
  /// Expects that a broker with these arguments does not start, and why.
  static void expect_refused(const std::vector<std::string>& args, const std::string& reason) {
    const Output output = check(args);
    EXPECT_EQ(output.exit_code, 2) << reason;
    EXPECT_NE(output.err.find(reason), std::string::npos) << reason << '\n' << output.err;
    EXPECT_EQ(output.out, "");
  }

  TempDir dir_;
};

TEST_F(Plugin, WhatDoesNotFitIsRefusedByNameWithAdvice) {
  const auto refused = [&](const std::string& name, const std::string& reason) {
    const std::string file = plugin(name);
    expect_refused({"--policy-plugin", file}, "--policy-plugin: " + file + ": " + reason);
  };
  refused("future",
          "plugin 'odd' is made for plugin version 2, this broker takes version 1: build it again "
          "with this broker's mserve/plugin.h");
  refused("short", "plugin 'odd' has a table of 24 bytes, of version 1 are 64");
  refused("unnamed", "the table's name is not 1 to 63 printable characters");
  refused("unfinished", "plugin 'odd' leaves out choose()");
  refused("stateless", "plugin 'odd': create(1024) gives nothing");
  refused("tableless", "mserve_policy_plugin() gives no table");
  refused("none", "exports no mserve_policy_plugin(); see MSERVE_PLUGIN_EXPORT");
  refused("month", "exports no mserve_policy_plugin(): it is one for --route-plugin");
  const std::string newest = plugin("newest");
  expect_refused({"--route-plugin", newest, "-p", "0W"},
                 newest + ": exports no mserve_route_plugin(): it is one for --policy-plugin");
  EXPECT_EQ(check({"--policy-plugin", plugin("longer")}).exit_code, 0) << "more than we know";
}

TEST_F(Plugin, AFileThatIsNoneIsRefused) {
  expect_refused({"--policy-plugin", dir_.file("nowhere.so")}, "No such file or directory");
  expect_refused({"--policy-plugin", dir_.path()}, "is no regular file");
  const std::string file = dir_.file("text.so");
  std::ofstream(file) << "no library\n";
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  expect_refused({"--policy-plugin", file}, "cannot load " + file);
}

TEST_F(Plugin, AFileThatOthersMayChangeIsRefused) {
  const std::string file = plugin("newest");
  for (const mode_t mode : {0775U, 0757U}) {
    ASSERT_EQ(::chmod(file.c_str(), mode), 0);
    expect_refused({"--policy-plugin", file}, "chmod go-w " + file);
  }
  ASSERT_EQ(::chmod(file.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0777), 0);
  expect_refused({"--policy-plugin", file}, "chmod go-w " + dir_.path());
  ASSERT_EQ(::chmod(dir_.path().c_str(), 01777), 0);
  EXPECT_EQ(check({"--policy-plugin", file}).exit_code, 0) << "nobody may replace it there";
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0700), 0);
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(file.c_str(), 12345, 0), 0);
    expect_refused({"--policy-plugin", file}, "belongs to uid 12345");
  }
}

TEST_F(Plugin, AFileBelowADirectoryThatOthersMayChangeIsRefused) {
  const std::string above = dir_.file("above");
  const std::string below = above + "/between/below";
  std::filesystem::create_directories(below);
  for (const std::string& directory : {above, above + "/between", below}) {
    ASSERT_EQ(::chmod(directory.c_str(), 0755), 0);
  }
  const std::string file = below + "/newest.so";
  std::filesystem::rename(plugin("newest"), file);
  EXPECT_EQ(check({"--policy-plugin", file}).exit_code, 0);
  const std::string link = dir_.file("link");
  std::filesystem::create_directory_symlink(below, link);
  ASSERT_EQ(::chmod(above.c_str(), 0775), 0);
  for (const std::string& way : {file, link + "/newest.so"}) {
    expect_refused({"--policy-plugin", way}, "chmod go-w " + above + "\n");
  }
  ASSERT_EQ(::chmod(above.c_str(), 01777), 0);
  EXPECT_EQ(check({"--policy-plugin", file}).exit_code, 0) << "nobody may rename what is in it";
}

TEST_F(Plugin, OptionsThatNeedEachOther) {
  expect_refused({"--policy", "plugin"}, "--policy plugin: give its file with --policy-plugin");
  expect_refused({"--route-plugin", plugin("month")}, "--route-plugin: only with -p");
  const Output q = check({}, {{"MSERVE_PLUGINS", "authent.q"}});
  EXPECT_EQ(q.exit_code, 2);
  EXPECT_NE(q.err.find("MSERVE_PLUGINS='authent.q': q plugins are not run here"), std::string::npos)
      << q.err;
}

TEST_F(Plugin, CheckShowsWhatHolds) {
  const std::string file = plugin("newest");
  const auto has = [](const Output& output, const std::string& line) {
    return output.out.find("\n" + line + "\n") != std::string::npos;
  };
  const Output implied = check({"--policy-plugin", file});
  EXPECT_TRUE(has(implied, "policy = \"plugin\"")) << implied.out << implied.err;
  EXPECT_TRUE(has(implied, "policy-plugin = \"" + file + "\""));
  const std::string toml = dir_.file("mserve.toml");
  std::ofstream(toml) << implied.out;
  EXPECT_EQ(check({"--config", toml}).out, implied.out);
  EXPECT_TRUE(has(check({"--policy-plugin", file, "--policy", "even"}), "policy = \"even\""));
  EXPECT_TRUE(
      has(check({"--policy-plugin", file}, {{"MSERVE_ALGO", "even"}}), "policy = \"even\""));
}

/// Who runs one request of a client while everybody is free.
std::string runner(Client& client, RawPeer& expected) {
  const Bytes payload = bytes_of("x");
  const std::uint64_t id = send_opaque(client, payload, {.want_info = true});
  const auto taken = expected.take();
  EXPECT_TRUE(taken);
  EXPECT_TRUE(taken && expected.reply(taken->header.id, payload));
  return servant_of(await(client, id));
}

TEST_F(Plugin, TheExampleChoosesTheServantThatBecameFreeLast) {
  BrokerSetup setup;
  const std::string toml = dir_.file("mserve.toml");
  const std::string file = plugin("newest");
  std::ofstream(toml) << "policy-plugin = \"" << file << "\"\n";
  setup.args = {"--config", toml};
  const Broker broker(setup);
  EXPECT_EQ(field_of(broker.wait_for_log("plugin kind=policy"), "name"), "newest");
  RawPeer first = raw_servant(broker, "first");
  broker.wait_for_counter("servants", 1);
  RawPeer second = raw_servant(broker, "second");
  broker.wait_for_counter("servants", 2);
  Client client = broker.client();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(runner(client, second), "second");
  }
  // Both busy; `first` is done last.
  const Bytes payload = bytes_of("x");
  const std::uint64_t one = send_opaque(client, payload);
  const auto by_second = second.take();
  ASSERT_TRUE(by_second);
  const std::uint64_t two = send_opaque(client, payload);
  const auto by_first = first.take();
  ASSERT_TRUE(by_first);
  ASSERT_TRUE(second.reply(by_second->header.id, payload));
  (void)await(client, one);
  ASSERT_TRUE(first.reply(by_first->header.id, payload));
  (void)await(client, two);
  EXPECT_EQ(runner(client, first), "first");
  // To another policy and back, while it runs.
  std::ofstream(toml) << "policy-plugin = \"" << file << "\"\npolicy = \"even\"\n";
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_NE(broker.wait_for_log(" reloaded").find("policy=\"even\""), std::string::npos);
  std::ofstream(toml) << "policy-plugin = \"" << file << "\"\n";
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  (void)broker.wait_for_log(" reloaded policy=\"plugin\"");
  // Another plugin needs a restart, and nothing of it is loaded.
  std::ofstream(toml) << "policy-plugin = \"" << plugin("liar") << "\"\n";
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  (void)broker.wait_for_log("reload_refused key=policy-plugin");
  EXPECT_EQ(broker.counter("policy_plugin_faults"), 0U);
}

TEST_F(Plugin, APolicyThatLiesIsCountedAndEverythingIsAnswered) {
  BrokerSetup setup;
  setup.args = {"--policy-plugin", plugin("liar"), "--max-sessions", "16"};
  setup.servants = 3;
  setup.servant_args = "--rows 0";
  const Broker broker(setup);
  broker.wait_for_counter("servants", 3);
  Client client = broker.client();
  for (int i = 0; i < 50; ++i) {
    const auto answer = query(client, "echo 1", {}, watchdog());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer.value().result, Value::long_atom(1));
  }
  EXPECT_GE(broker.counter("policy_plugin_faults"), 50U);
  EXPECT_EQ(field_of(broker.wait_for_log("policy_plugin_fault"), "name"), "liar");
}

std::string field(const Value& info, const char* key) {
  const auto found = info.find(key);
  EXPECT_TRUE(found);
  return found ? std::string(found->text_view().value_or("")) : "";
}

/// Asks as LBT's clients do. @return the info dictionary.
Value info_for(RawClient& client, const std::string& query) {
  EXPECT_TRUE(client.send(list({Value::int_atom(1), text(query)}), MessageKind::async));
  const auto answer = client.receive();
  EXPECT_TRUE(answer && answer->value.count() == 3);
  return answer ? answer->value.at(2) : Value();
}

TEST_F(Plugin, TheExampleRoutesByMonthAndRingClientsNameTheirOwn) {
  const Broker broker(with_gateway(
      {"--route-plugin", plugin("month"), "--match-wait", "inf", "--route-expire", "inf"}));
  broker.wait_for_counter("servants", 2);
  RawClient client = connect(broker);
  std::set<std::string> january;
  std::set<std::string> may;
  for (const char* const day : {"2024.01.03", "2024.01.31D10:00", "2024.01.05 2024.01.09"}) {
    const Value info = info_for(client, std::string("echo ") + day);
    EXPECT_EQ(field(info, "route"), "2024.01") << day;
    january.insert(field(info, "qsvr"));
    may.insert(field(info_for(client, "echo 2024.05.01"), "qsvr"));
  }
  ASSERT_EQ(january.size(), 1U);
  ASSERT_EQ(may.size(), 1U);
  EXPECT_NE(january, may);
  EXPECT_EQ(field(info_for(client, "echo `IBM"), "route"), "") << "no date";
  // Over rings nobody knows the plugin's rule; who names the same route finds the same servant.
  Client library = broker.client();
  EXPECT_EQ(library.session().route_rule, "plugin");
  const auto unrouted = query(library, "echo 2024.01.03", {}, watchdog());
  ASSERT_TRUE(unrouted);
  EXPECT_EQ(field(unrouted.value().info, "route"), "");
  for (int i = 0; i < 3; ++i) {
    const auto named = query(library, "echo 1", {.route = "2024.05"}, watchdog());
    ASSERT_TRUE(named);
    EXPECT_EQ(field(named.value().info, "qsvr"), *may.begin());
  }
}

TEST_F(Plugin, ARouteThatIsNoneIsCountedAndTheRequestRuns) {
  const Broker broker(with_gateway({"--route-plugin", plugin("liar")}));
  RawClient client = connect(broker);
  EXPECT_EQ(field(info_for(client, "echo `IBM"), "route"), "");
  EXPECT_EQ(field(info_for(client, "echo .z.d"), "route"), "");
  broker.wait_for_counter("gateway_route_faults", 2);
  EXPECT_EQ(field_of(broker.wait_for_log("route_plugin_fault"), "name"), "liar");
}

}  // namespace
}  // namespace mserve::test
