// SPDX-License-Identifier: Apache-2.0
// What mserve-client says to somebody who is new to it, in their words and on their terminal.
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "support/broker_process.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

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

}  // namespace
}  // namespace mserve::test
