// SPDX-License-Identifier: Apache-2.0
// Where a broker is to be found: two of one name, what a dead one left, directories that are not
// ours alone. Whatever is refused says what to do.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "support/requests.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {
namespace {

Output start(const std::string& directory, const std::string& name) {
  return run_to_end({program("mserve-broker"), "--name", name, "--dir", directory,
                     "--max-queue-bytes", "1m", "--max-pending-bytes", "1m"});
}

void expect_refused(const Output& output, const std::string& what, const std::string& advice) {
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_NE(output.err.find(what), std::string::npos) << what << " in: " << output.err;
  EXPECT_NE(output.err.find(advice), std::string::npos) << advice << " in: " << output.err;
}

TEST(Entrance, ASecondBrokerOfTheNameIsToldWhoHasItAndTheFirstServesOn) {
  const Broker broker(BrokerSetup{.args = {}, .servants = 1, .servant_args = "--rows 0"});
  Client client = broker.client();
  for (int i = 0; i < 3; ++i) {
    expect_refused(start(broker.directory(), broker.name()),
                   "running broker with pid " + std::to_string(broker.pid()),
                   "stop it, wait for it where it drains, or choose another name");
  }
  expect_echo(client, pattern(100));
  Client newcomer = broker.client();
  expect_echo(newcomer, pattern(100));
  EXPECT_EQ(broker.shared_objects(), Broker::kSharedObjects);
}

TEST(Entrance, WhatAKilledBrokerLeftIsReplaced) {
  Broker broker(BrokerSetup{.args = {}, .servants = 1, .servant_args = "--rows 0"});
  const std::string socket = broker.directory() + "/" + broker.name() + ".sock";
  broker.kill();
  ASSERT_EQ(::access(socket.c_str(), F_OK), 0) << "left behind";
  ClientOptions options;
  options.broker = broker.name();
  options.directory = broker.directory();
  std::string reason;
  EXPECT_EQ(Client::connect(options, &reason).error().code, Errc::no_broker) << reason;
  broker.start();
  Client client = broker.client();
  expect_echo(client, pattern(100));
  broker.stop();
  EXPECT_NE(::access(socket.c_str(), F_OK), 0) << "a clean end leaves nothing";
}

TEST(Entrance, AFileInThePlaceOfTheSocketIsLeftAlone) {
  const TempDir dir;
  std::ofstream(dir.file("precious.sock")) << "text";
  expect_refused(start(dir.path(), "precious"), "precious.sock", "remove it");
  EXPECT_EQ(read_file(dir.file("precious.sock")), "text");
}

TEST(Entrance, ADirectoryThatIsNotOursAloneIsRefusedWithTheWayOut) {
  const TempDir dir;
  const std::string open = dir.file("open");
  ASSERT_EQ(::mkdir(open.c_str(), 0700), 0);
  ASSERT_EQ(::chmod(open.c_str(), 0755), 0);
  expect_refused(start(open, "x"), open + " is open to others", "chmod 700 " + open);
  const std::string link = dir.file("link");
  ASSERT_EQ(::symlink(dir.path().c_str(), link.c_str()), 0);
  expect_refused(start(link, "x"), "symbolic link", "remove it, or set MSERVE_DIR");
  const std::string file = dir.file("file");
  std::ofstream(file) << "text";
  expect_refused(start(file, "x"), "not a directory", "remove it, or set MSERVE_DIR");
  expect_refused(start(dir.file("no/such"), "x"), "cannot create", "No such file or directory");
  if (::geteuid() == 0) {
    const std::string foreign = dir.file("foreign");
    ASSERT_EQ(::mkdir(foreign.c_str(), 0700), 0);
    ASSERT_EQ(::chown(foreign.c_str(), 60'001, 60'001), 0);
    expect_refused(start(foreign, "x"), "belongs to user 60001", "MSERVE_DIR to a directory of");
  } else {
    std::cout << "not tried: only root can give a directory away\n";
  }
  // Peers look as closely as brokers do.
  ClientOptions options;
  options.broker = "x";
  options.directory = open;
  std::string reason;
  EXPECT_EQ(Client::connect(options, &reason).error().code, Errc::unsafe_directory) << reason;
}

}  // namespace
}  // namespace mserve::test
