// SPDX-License-Identifier: Apache-2.0
#include "document.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "access/rules.hpp"
#include "control/reload_answer.hpp"
#include "stat/control_call.hpp"

namespace mserve::broker {
namespace {

constexpr const char* kGood =
    "# the canary\n"
    "rule = [\"share=10% -> version=2 else version=1\"]\n"
    "policy = \"least\"\n"
    "match-wait = \"5ms\"\n"
    "route-expire = \"20s\"\n"
    "spill-after = \"200ms\"\n"
    "retries = 2\n"
    "queue-timeout = \"2s\"\n"
    "timeout = \"30s\"\n"
    "max-queue-client = 100\n"
    "log-level = \"warning\"\n"
    "slow = \"20ms\"\n"
    "users-table = '''\n"
    "user|password|role\n"
    "ken|470bc578162732ac7f9d387d34c4af4ca6e1b6f7|trader\n"
    "'''\n"
    "roles-table = '''\n"
    "role|fn\n"
    "trader|getTrades\n"
    "'''\n";

TEST(Document, MayHaveWhatMayChangeAndTwoTables) {
  EXPECT_EQ(check_document(kGood), std::vector<std::string>());
  EXPECT_EQ(check_document(""), std::vector<std::string>()) << "nothing is shared";
  EXPECT_EQ(check_document("policy = \"plugin\"\n"), std::vector<std::string>())
      << "what is one may know only the broker";
  EXPECT_EQ(check_document("roles-table = '''\nrole|fn\nall|*\n'''\n"), std::vector<std::string>())
      << "brokers may have --users";
}

TEST(Document, OfFaultsEachHasItsLine) {
  struct Case {
    const char* text;
    const char* said;
  };
  for (const Case& c : {
           Case{"retries = 1\n# caf\xe9\npolcy = 1\n", "line 2: not valid UTF-8"},
           Case{"retries = 1\npolcy = \"even\"\n",
                "line 2: there is no key 'polcy'; is it 'policy'?"},
           Case{"usrs-table = \"\"\n",
                "line 1: there is no key 'usrs-table'; is it 'users-table'?"},
           Case{"xyzzy = 1\n", "line 1: there is no key 'xyzzy'; keys are log-level, match-wait, "},
           Case{"\n\nport = 5000\n", "line 3: port is set per broker"},
           Case{"users = \"/etc/users.csv\"\n", "line 1: users is set per broker"},
           Case{"retries = 256\n", "line 1: --retries: 0 to 255"},
           Case{"retries = 1\ntimeout = 0\n", "line 2: --queue-timeout, --timeout: above 0"},
           Case{"policy = \"fast\"\n", "line 1: --policy: 'fast' is not one of orig|even|match"},
           Case{"rule = [\"-> any\", \"nonsense\"]\n", "line 1: --rule: "},
           Case{"[limits]\nretries = 1\n", "line 1: limits: there are no tables"},
           Case{"policy = = 1\n", "line 1: "},
           Case{"users-table = 3\n", "line 1: users-table: expected a string, the table"},
           Case{"users-table = [\"a\", \"b\"]\n", "line 1: users-table: expected a string"},
           Case{"users-table = \"\"\n", "line 1: expected a header"},
           Case{"\nusers-table = '''\nuser|password\nken|plain\n'''\n",
                "line 4: expected a password's SHA-1"},
           Case{"users-table = '''user|password\nken|plain\n'''\n",
                "line 2: expected a password's SHA-1"},
           Case{"users-table = \"user|password\\nken|plain\"\n", "line 2: expected a password's"},
           Case{"roles-table = '''\nrole|fn\ntrader|a+b\n'''\n",
                "line 3: expected names of functions or *, not 'a+b'"},
           Case{"users-table = '''\nuser|password|role\n"
                "ken|470bc578162732ac7f9d387d34c4af4ca6e1b6f7|trader\n'''\n"
                "roles-table = '''\nrole|fn\nall|*\n'''\n",
                "line 3: expected a role of roles-table, not 'trader'"},
           Case{"users-table = '''\nken:secret\n'''\nroles-table = '''\nrole|fn\nall|*\n'''\n",
                "line 1: expected a column role, as there is roles-table"},
       }) {
    const std::vector<std::string> faults = check_document(c.text);
    ASSERT_EQ(faults.size(), 1U) << c.text;
    EXPECT_TRUE(faults.front().starts_with(c.said)) << c.text << faults.front();
  }
  const auto both = check_document("port = 1\nretries = \"many\"\n");
  EXPECT_EQ(both.size(), 2U) << "all at once";
}

// Each broker took it, if it was started after it was applied, and then could not be linked.
TEST(Document, RulesLeaveRoomForLinks) {
  const auto rules = [](int count) {
    std::string text = "rule = [";
    for (int i = 0; i < count; ++i) {
      text += "\"fn=f" + std::to_string(i) + " -> group=g" + std::to_string(i) + "\",";
    }
    return text + "]\n";
  };
  EXPECT_EQ(check_document(rules(31)), std::vector<std::string>());
  const auto faults = check_document(rules(40));
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_NE(faults[0].find("82 sets of servants"), std::string::npos) << faults[0];
}

TEST(Document, WhateverItIsTheFaultsAreFewShortAndPrintable) {
  std::string lines;
  for (int i = 0; i < 1000; ++i) {
    lines += "key" + std::to_string(i) + " = 1\n";
  }
  EXPECT_EQ(check_document(lines).size(), kDocumentFaultsMax);
  const auto large = check_document(std::string(kDocumentBytesMax + 1, '\n'));
  EXPECT_EQ(large, std::vector<std::string>{"line 1: expected at most 256 KiB"});
  const std::string name(100'000, 'k');
  for (const std::string& text : {name + " = 1\n", "policy = \"" + name + "\"\n",
                                  std::string("policy = \"\\u001b[2J\\nx\"\n"),
                                  std::string("\"\\u0000\" = 1\n"), std::string("\xff\xfe\0", 3)}) {
    const auto faults = check_document(text);
    ASSERT_EQ(faults.size(), 1U) << text.substr(0, 40);
    EXPECT_LE(faults.front().size(), kDocumentFaultBytesMax);
    EXPECT_TRUE(faults.front().starts_with("line 1: ")) << faults.front();
    EXPECT_TRUE(std::all_of(faults.front().begin(), faults.front().end(), [](char c) {
      return c >= ' ' && c <= '~';
    })) << faults.front();
  }
}

TEST(Document, TablesKnowTheirPlaceInIt) {
  std::vector<std::string> faults;
  const Document document = parse_document(kGood, "D.toml", faults);
  EXPECT_EQ(faults, std::vector<std::string>());
  EXPECT_EQ(document.entries.size(), 11U);
  ASSERT_TRUE(document.users && document.roles);
  EXPECT_EQ(document.users->lines_before, 13U);
  const auto rules =
      AccessRules::read({.users_table = document.users, .roles_table = document.roles}, faults);
  ASSERT_NE(rules, nullptr);
  EXPECT_TRUE(rules->role_named("ken")->lists("getTrades"));
  EXPECT_FALSE(
      AccessRules::read({.roles_file = "/nowhere/roles", .users_table = document.users}, faults));
  EXPECT_EQ(faults, std::vector<std::string>{"/nowhere/roles: No such file or directory"});
}

TEST(ReloadAnswer, NamesWhatChangedOrEachFault) {
  Reloaded read;
  read.options.rules_may_come = true;
  stat::ControlAnswer told;
  const auto tell = [&] {
    ReloadAnswer answer = answer_of(read);
    told = {answer.status, answer.table.count(), answer.text, std::move(answer.table)};
  };
  tell();
  EXPECT_EQ(told.status, Errc::ok);
  EXPECT_EQ(told.text, "no key changed");
  read.changed = {{"policy", "\"even\"", ""}, {"timeout", "\"3s\"", ""}};
  tell();
  EXPECT_EQ(told.text, "changed: policy, timeout");
  ASSERT_EQ(stat::reload_rows(told).size(), 2U);
  EXPECT_EQ(stat::reload_rows(told)[1].value, "\"3s\"");
  EXPECT_TRUE(stat::reload_faults(told).empty());
  read.faults = {"f:1: wrong\x1b"};
  read.fixed = {{"port", "5001", ""}};
  tell();
  EXPECT_EQ(told.status, Errc::invalid);
  EXPECT_EQ(told.text, "refused, and nothing was changed: 2 faults");
  EXPECT_EQ(
      stat::reload_faults(told),
      (std::vector<std::string>{"f:1: wrong?", "port: needs a restart; nothing was changed"}));
  EXPECT_EQ(stat::reload_faults({Errc::invalid, 0, "upgrade it", {}}),
            std::vector<std::string>{"upgrade it"})
      << "of an older broker";
}

}  // namespace
}  // namespace mserve::broker
