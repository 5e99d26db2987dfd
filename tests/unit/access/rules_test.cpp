// SPDX-License-Identifier: Apache-2.0
#include "access/rules.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "files.hpp"

namespace mserve::broker {
namespace {

using test::AccessFiles;
using test::without_path;
using Faults = std::vector<std::string>;

constexpr const char* kSha1 = "470bc578162732ac7f9d387d34c4af4ca6e1b6f7";

std::shared_ptr<const Role> admit(const AccessRules& rules, const char* user,
                                  const char* password) {
  return rules.admit(user, Secret(password));
}

TEST(AccessRules, OfLbtsExampleLetKenAndArthurIn) {
  const AccessFiles files;
  Faults faults;
  const auto rules = AccessRules::read(files.write("users.csv", test::kQuickUsers),
                                       files.write("roles.csv", test::kQuickRoles), faults);
  ASSERT_NE(rules, nullptr) << faults.front();
  const auto ken = admit(*rules, "ken", "ken");
  ASSERT_NE(ken, nullptr);
  EXPECT_EQ(ken->name, "user");
  EXPECT_TRUE(ken->lists("proc1"));
  EXPECT_FALSE(ken->lists("proc2"));
  EXPECT_FALSE(ken->unrestricted);
  const auto arthur = admit(*rules, "arthur", "arthur");
  ASSERT_NE(arthur, nullptr);
  EXPECT_TRUE(arthur->lists("proc2"));
  EXPECT_EQ(admit(*rules, "ken", "wrongpassword"), nullptr);
  EXPECT_EQ(admit(*rules, "ken", "arthur"), nullptr);
  EXPECT_EQ(admit(*rules, "ken", ""), nullptr);
  EXPECT_EQ(admit(*rules, "", ""), nullptr);
  EXPECT_EQ(admit(*rules, "Ken", "ken"), nullptr);
}

TEST(AccessRules, AnUnknownUserIsRefusedWithTheRightPasswordOfTheDecoy) {
  const AccessFiles files;
  Faults faults;
  const auto rules =
      AccessRules::read(files.write("users", "only:" + std::string(kSha1)), "", faults);
  ASSERT_NE(rules, nullptr);
  EXPECT_NE(admit(*rules, "only", "ken"), nullptr);
  EXPECT_EQ(admit(*rules, "other", "ken"), nullptr);  // whose hash is the one that is checked
}

TEST(AccessRules, WithoutRolesRestrictNobody) {
  const AccessFiles files;
  Faults faults;
  const auto rules = AccessRules::read(files.write("users.csv", test::kQuickUsers), "", faults);
  ASSERT_NE(rules, nullptr);
  EXPECT_TRUE(admit(*rules, "ken", "ken")->unrestricted);
  EXPECT_EQ(admit(*rules, "ken", "ken")->name, "user");
}

TEST(AccessRules, TakeKdbsPasswordFile) {
  const AccessFiles files;
  Faults faults;
  const auto rules = AccessRules::read(
      files.write("users.txt", "al:open:sesame\r\n\r\nbob:5ebe2294ecd0e0f08eab7690d2a6ee69\nken:" +
                                   std::string(kSha1) + "\n"),
      "", faults);
  ASSERT_NE(rules, nullptr) << faults.front();
  EXPECT_TRUE(admit(*rules, "al", "open:sesame")->unrestricted);
  EXPECT_NE(admit(*rules, "bob", "secret"), nullptr);
  EXPECT_NE(admit(*rules, "ken", "ken"), nullptr);
  EXPECT_EQ(admit(*rules, "al", "open"), nullptr);
}

TEST(AccessRules, TakeCommasQuotesAndRolesInSeveralLines) {
  const AccessFiles files;
  Faults faults;
  const auto rules = AccessRules::read(
      files.write("users.csv", "\xef\xbb\xbfpassword, user ,role\n" + std::string(kSha1) +
                                   ",\"ken, the \"\"one\"\"\",a\n" + kSha1 + ",root,all\n"),
      files.write("roles.csv", "function,role\n\"proc1,.api.get\",a\nproc3 ,a\n*,all\n"), faults);
  ASSERT_NE(rules, nullptr) << faults.front();
  const auto ken = admit(*rules, "ken, the \"one\"", "ken");
  ASSERT_NE(ken, nullptr);
  EXPECT_EQ(ken->functions, (std::vector<std::string>{".api.get", "proc1", "proc3"}));
  EXPECT_TRUE(admit(*rules, "root", "ken")->unrestricted);
}

struct BadFile {
  std::string text;
  std::string fault;
};

TEST(AccessRules, OfABadUsersFileSayTheLineAndWhatIsExpected) {
  const std::string head = "user|password|role\n";
  const std::string sha1 = kSha1;
  const BadFile bad[] = {
      {"", " expected a header that names the columns user and password, or lines user:password"},
      {"user|role\nken|a\n", "1: expected a header"},
      {"ken\n", "1: expected a header"},
      {head + "ken|" + sha1 + "\n", "2: expected 3 fields"},
      {head + "\nken|" + sha1 + "|a|b\n", "3: expected 3 fields"},
      {head + "\"ken|" + sha1 + "|a\n", "2: expected 3 fields"},
      {head + "ken|ken|a\n", "2: expected a password's SHA-1 in 40 hex digits"},
      {head + "ken||a\n", "2: expected a password's SHA-1 in 40 hex digits"},
      {head + "|" + sha1 + "|a\n", "2: expected a user's name"},
      {head + "a:b|" + sha1 + "|a\n", "2: expected a user's name"},
      {head + std::string(257, 'k') + "|" + sha1 + "|a\n", "2: expected a user's name"},
      {head + "ken|" + sha1 + "|a\nken|" + sha1 + "|b\n",
       "3: expected each user once; 'ken' is in line 2"},
      {"ken:x\nbob\n", "2: expected user:password"},
      {"ken:\n", "1: expected user:password"},
      {":x\n", "1: expected a user's name"},
      {head + std::string("k\0n|", 4) + sha1 + "|a\n", "2: expected a line of text"},
      {std::string(70'000, 'x'), "1: expected a line of text"},
      {std::string(std::size_t{5} << 20, '\n'), " expected at most 4 MiB"},
  };
  const AccessFiles files;
  for (const BadFile& each : bad) {
    Faults faults;
    const std::string path = files.write("users.csv", each.text);
    EXPECT_EQ(AccessRules::read(path, "", faults), nullptr);
    ASSERT_EQ(faults.size(), 1U) << each.fault;
    EXPECT_TRUE(without_path(faults, path).front().starts_with(each.fault)) << faults.front();
  }
}

TEST(AccessRules, OfABadRolesFileSayTheLineAndWhatIsExpected) {
  const BadFile bad[] = {
      {"", " expected a header that names the columns role and fn"},
      {"role|functionz\nuser|proc1\n", "1: expected a header"},
      {"role|fn\nuser\n", "2: expected 2 fields"},
      {"role|fn\n|proc1\n", "2: expected 2 fields, with a role's name"},
      {"role|fn\nuser|proc1,1+1\n", "2: expected names of functions or *, not '1+1'"},
      {"role|fn\nuser|{exit}\n", "2: expected names of functions or *, not '{exit}'"},
  };
  const AccessFiles files;
  const std::string users = files.write("users.csv", test::kQuickUsers);
  for (const BadFile& each : bad) {
    Faults faults;
    const std::string path = files.write("roles.csv", each.text);
    EXPECT_EQ(AccessRules::read(users, path, faults), nullptr);
    ASSERT_EQ(faults.size(), 1U) << each.fault;
    EXPECT_TRUE(without_path(faults, path).front().starts_with(each.fault)) << faults.front();
  }
}

TEST(AccessRules, NeedEveryRoleThatAUserHas) {
  const AccessFiles files;
  Faults faults;
  const std::string users = files.write("users.csv", test::kQuickUsers);
  const std::string roles = files.write("roles.csv", "role|fn\nuser|proc1\n");
  EXPECT_EQ(AccessRules::read(users, roles, faults), nullptr);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(faults.front(), users + ":3: expected a role of " + roles + ", not 'poweruser'");
  faults.clear();
  EXPECT_EQ(AccessRules::read(files.write("u", "ken:ken\n"), roles, faults), nullptr);
  EXPECT_EQ(faults.size(), 1U);
}

TEST(AccessRules, AreBoundedInFilesThatAreNoneAndInUsersAndFaults) {
  const AccessFiles files;
  Faults faults;
  EXPECT_EQ(AccessRules::read(files.path("none"), "", faults), nullptr);
  EXPECT_EQ(faults.size(), 1U);
  const std::string pipe = files.path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(AccessRules::read(pipe, "", faults), nullptr);
  EXPECT_EQ(faults.back(), pipe + ": expected a regular file");
  std::string many;
  for (std::size_t i = 0; i <= Users::kUsersMax; ++i) {
    many += "u" + std::to_string(i) + ":x\n";
  }
  faults.clear();
  EXPECT_EQ(AccessRules::read(files.write("many", many), "", faults), nullptr);
  EXPECT_EQ(faults.size(), 1U);
  faults.clear();
  EXPECT_EQ(AccessRules::read(files.write("wrong", "a:b\n" + std::string(90'000, 'x')), "", faults),
            nullptr);
  std::string wrong = "a:b\n";
  for (int i = 0; i < 1000; ++i) {
    wrong += "x\n";
  }
  faults.clear();
  EXPECT_EQ(AccessRules::read(files.write("wrong", wrong), "", faults), nullptr);
  EXPECT_EQ(faults.size(), AccessFaults::kMax);
}

TEST(AccessRules, RefusesAFileThatEverybodyMayWriteTo) {
  const AccessFiles files;
  const std::string path = files.write("users.csv", test::kQuickUsers);
  ASSERT_EQ(::chmod(path.c_str(), 0666), 0);
  Faults faults;
  EXPECT_EQ(AccessRules::read(path, "", faults), nullptr);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_NE(faults.front().find("chmod o-w"), std::string::npos) << faults.front();
}

}  // namespace
}  // namespace mserve::broker
