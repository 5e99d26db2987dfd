// SPDX-License-Identifier: Apache-2.0
// Programs of other users at the rings: who may attach, and what they may claim.
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pwd.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <fstream>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "mserve/shm/rendezvous.hpp"
#include "mserve/shm/socket.hpp"
#include "support/requests.hpp"
#include "support/temp_dir.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

constexpr gid_t kNoGroup = 65'534;  // Debian's nogroup, which is every broker's --socket-group here
constexpr int kCouldNotTry = 255;

class OtherUsers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) {
      GTEST_SKIP() << "only root can try what other users may do";
    }
  }
  static BrokerSetup open_to(std::vector<std::string> args) {
    BrokerSetup setup;
    setup.args = {"--socket-group", "nogroup"};
    setup.args.insert(setup.args.end(), args.begin(), args.end());
    setup.servant_args = "--rows 0";
    setup.servants = 1;
    return setup;
  }
  /// Runs `act` in a process of another user. @return what it returned, 1 to 254.
  static int as(uid_t uid, std::vector<gid_t> groups, const std::function<int()>& act) {
    Process peer([&] {
      const gid_t primary = groups.front();
      const bool other = setgroups(groups.size() - 1, groups.data() + 1) == 0 &&
                         setgid(primary) == 0 && setuid(uid) == 0;
      return other ? act() : kCouldNotTry;
    });
    return peer.wait();
  }
  /// Attaches as another user; 0 when the broker let it, else the Errc.
  static int attach_as(const Broker& broker, uid_t uid, std::vector<gid_t> groups) {
    return as(uid, std::move(groups), [&] {
      ClientOptions options;
      options.broker = broker.name();
      options.directory = broker.directory();
      const auto client = Client::connect(options);
      return client ? 0 : static_cast<int>(client.error().code);
    });
  }
};

TEST_F(OtherUsers, AttachOnlyIfTheyAreNamedAndInTheSocketGroup) {
  constexpr uid_t kNamed = 60'001;
  constexpr uid_t kStranger = 60'002;
  const Broker broker(open_to({"--allow-user", std::to_string(kNamed)}));
  EXPECT_EQ(attach_as(broker, kNamed, {kNoGroup}), 0);
  EXPECT_EQ(attach_as(broker, kStranger, {kNoGroup}), static_cast<int>(Errc::access));
  EXPECT_NE(attach_as(broker, kNamed, {kNamed}), 0) << "not in the group";
  (void)broker.wait_for_log("uid " + std::to_string(kStranger));
}

TEST_F(OtherUsers, AttachAsMembersOfAnAllowedGroup) {
  constexpr uid_t kAnybody = 60'003;
  constexpr gid_t kGroup = 60'004;
  const Broker broker(open_to({"--allow-group", std::to_string(kGroup)}));
  EXPECT_EQ(attach_as(broker, kAnybody, {kNoGroup, kGroup}), 0) << "a supplementary group";
  EXPECT_EQ(attach_as(broker, kAnybody, {kGroup, kNoGroup}), 0) << "the primary group";
  EXPECT_EQ(attach_as(broker, kAnybody, {kNoGroup, kGroup + 1}), static_cast<int>(Errc::access));
}

TEST_F(OtherUsers, MayDrainTheServantThatTheyAreAndNoOther) {
  constexpr uid_t kNamed = 60'001;
  const Broker broker(open_to({"--allow-user", std::to_string(kNamed)}));
  const auto run_as = [&broker](std::vector<std::string> argv) {
    return Process([&broker, argv = std::move(argv)]() mutable {
      std::vector<char*> words;
      for (std::string& word : argv) {
        words.push_back(word.data());
      }
      words.push_back(nullptr);
      const bool other = setenv("MSERVE_DIR", broker.directory().c_str(), 1) == 0 &&
                         setenv("MSERVE_NAME", broker.name().c_str(), 1) == 0 &&
                         setgroups(0, nullptr) == 0 && setgid(kNoGroup) == 0 && setuid(kNamed) == 0;
      return other ? execv(words[0], words.data()) : kCouldNotTry;
    });
  };
  broker.wait_for_counter("servants", 1);
  Process operator_of_none = run_as({program("mserve-stat"), "ctl", "drain", "all"});
  EXPECT_EQ(operator_of_none.wait(), 3);
  EXPECT_TRUE(broker.log_lines(" control verb=drain").empty());
  Process servant = run_as({program("mserve-servant"), "--rows", "0"});
  broker.wait_for_counter("servants", 2);
  servant.signal(SIGTERM);
  EXPECT_EQ(servant.wait(), 0);
  EXPECT_NE(broker.wait_for_log(" control verb=drain").find("uid=60001"), std::string::npos);
}

// 64 of them and no operator could pause, drain or retire anybody.
TEST_F(OtherUsers, DrainTheServantThatTheyAreOnceAtATime) {
  constexpr uid_t kNamed = 60'001;
  BrokerSetup setup = open_to({"--allow-user", std::to_string(kNamed)});
  setup.servants = 0;
  const Broker broker(setup);
  Process selfish([&] {
    if (setgroups(0, nullptr) != 0 || setgid(kNoGroup) != 0 || setuid(kNamed) != 0) {
      return kCouldNotTry;
    }
    RawPeer servant = raw_servant(broker, "selfish");
    if (!servant.take()) {  // and does not answer it
      return kCouldNotTry;
    }
    shm::Control drain;
    drain.verb = shm::Verb::drain;
    (void)shm::set_text(drain.target, std::to_string(servant.welcome().servant));
    std::vector<shm::UniqueFd> orders;
    std::vector<pollfd> answers;
    for (int i = 0; i < 2; ++i) {
      auto socket = shm::connect_to(broker.directory() + "/" + broker.name() + ".sock", watchdog());
      if (!socket ||
          shm::send_message(socket.value().get(), shm::wire_bytes(drain), {}, watchdog()).code !=
              Errc::ok) {
        return kCouldNotTry;
      }
      answers.push_back({socket.value().get(), POLLIN, 0});
      orders.push_back(std::move(socket).value());
    }
    // One of them waits for the request, whichever was read first.
    constexpr int kLongMs = 20'000;
    (void)::poll(answers.data(), answers.size(), kLongMs);
    std::array<std::byte, shm::kWireBytesMax> bytes;
    const std::size_t at = answers[0].revents != 0 ? 0 : 1;
    const auto received = shm::receive_message(answers[at].fd, bytes, 1, watchdog());
    const auto reply =
        received ? shm::parse_control_reply(std::span(bytes).first(received.value().bytes))
                 : Result<shm::ControlReply>(received.error());
    return reply && reply.value().status == Errc::busy ? 1 : 2;
  });
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  (void)send_opaque(client, pattern(10));
  EXPECT_EQ(selfish.wait(), 1);
}

/// With --users: users of Debian's own, each with a role or none.
class UsersOfRings : public OtherUsers {
 protected:
  void SetUp() override {
    OtherUsers::SetUp();
    if (IsSkipped()) {
      return;
    }
    for (const char* name : {"daemon", "bin", "games"}) {
      ASSERT_NE(getpwnam(name), nullptr) << name;
    }
    write("roles.csv", "role|fn\nfew|proc1\nall|*\n");
    write_users("all", "few");
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_.file(name), std::ios::trunc) << text;
  }
  void write_users(const std::string& daemon, const std::string& bin) const {
    const std::string hash = "470bc578162732ac7f9d387d34c4af4ca6e1b6f7";
    write("users.csv",
          "user|password|role\ndaemon|" + hash + "|" + daemon + "\nbin|" + hash + "|" + bin + "\n");
  }
  [[nodiscard]] BrokerSetup with_users() const {
    return with_gateway({"--socket-group", "nogroup", "--allow-group", "nogroup", "--users",
                         dir_.file("users.csv"), "--roles", dir_.file("roles.csv")},
                        1);
  }
  static int attach(const Broker& broker, const char* user) {
    return attach_as(broker, getpwnam(user)->pw_uid, {kNoGroup});
  }

  TempDir dir_;
};

TEST_F(UsersOfRings, NeedARoleThatMayCallEverything) {
  constexpr int kAccess = static_cast<int>(Errc::access);
  const Broker broker(with_users());
  EXPECT_EQ(attach(broker, "daemon"), 0);
  EXPECT_EQ(attach(broker, "bin"), kAccess);
  (void)broker.wait_for_log("bin has the restricted role few");
  EXPECT_EQ(attach(broker, "games"), kAccess);
  (void)broker.wait_for_log("(games) is not in the file of --users");
  EXPECT_EQ(attach(broker, "root"), 0) << "who may change the broker itself";

  write_users("few", "all");
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  (void)broker.wait_for_log("users=2 roles=2");
  EXPECT_TRUE(wait_until([&] { return attach(broker, "bin") == 0; }, "the new roles to hold"));
  EXPECT_EQ(attach(broker, "daemon"), kAccess);
}

/// What a request with options, or without, ends with.
int outcome_of_request(const Broker& broker, std::uint8_t flags) {
  RawPeer client = raw_client(broker);
  if (!client.request(1, pattern(40), flags)) {
    return kCouldNotTry;
  }
  const auto answer = client.take();
  return answer ? 1 + shm::unpack_reply(answer->header.aux).status : kCouldNotTry;
}

TEST_F(UsersOfRings, CannotSayWhoAsks) {
  constexpr int kRefused = 1 + static_cast<int>(Errc::access);
  const Broker broker(with_users());
  const uid_t daemon = getpwnam("daemon")->pw_uid;
  EXPECT_EQ(as(daemon, {kNoGroup}, [&] { return outcome_of_request(broker, shm::kFlagPair); }),
            kRefused);
  EXPECT_NE(as(daemon, {kNoGroup}, [&] { return outcome_of_request(broker, 0); }), kRefused);
  EXPECT_NE(outcome_of_request(broker, shm::kFlagPair), kRefused) << "root may say it for others";
}

}  // namespace
}  // namespace mserve::test
