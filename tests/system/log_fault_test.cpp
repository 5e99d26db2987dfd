// SPDX-License-Identifier: Apache-2.0
// A log that cannot be written, or that nobody reads: the broker goes on.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "mserve/shm/unique_fd.hpp"
#include "support/requests.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {
namespace {

/// A broker called `name` in `dir`, started by hand.
std::vector<std::string> broker_argv(const TempDir& dir, const std::string& name) {
  return {program("mserve-broker"), "--name", name, "--dir", dir.path(), "--max-queue-bytes", "1m",
          "--max-pending-bytes",    "1m"};
}

ClientOptions options_for(const TempDir& dir, const std::string& name) {
  ClientOptions options;
  options.broker = name;
  options.directory = dir.path();
  return options;
}

void expect_that_it_serves(Process& broker, const ClientOptions& options) {
  EXPECT_TRUE(wait_until([&] { return static_cast<bool>(Client::connect(options)); },
                         "the broker to listen"));
  auto client = Client::connect(options);
  ASSERT_TRUE(client);
  EXPECT_EQ(status_of(call_opaque(client.value(), pattern(10))), Errc::no_servant);
  broker.signal(SIGTERM);
  EXPECT_EQ(broker.wait(), 0);
}

TEST(LogFault, AFullDiskLosesTheLinesAndNotTheBroker) {
  const TempDir dir;
  Process broker(Spawn{
      .argv = broker_argv(dir, "full"), .stdout_path = "/dev/full", .stderr_path = "/dev/full"});
  expect_that_it_serves(broker, options_for(dir, "full"));
}

TEST(LogFault, WithAllStandardDescriptorsClosedNothingElseGetsTheirNumbers) {
  // Sockets got them, and the log was written into these.
  const TempDir dir;
  Process broker(Spawn{.argv = broker_argv(dir, "closed"), .prepare = [] {
                         ::close(0);
                         ::close(1);
                         ::close(2);
                       }});
  const ClientOptions options = options_for(dir, "closed");
  ASSERT_TRUE(wait_until([&] { return static_cast<bool>(Client::connect(options)); },
                         "the broker to listen"));
  for (const char* const fd : {"0", "1", "2"}) {
    std::error_code error;
    const auto target =
        std::filesystem::read_symlink("/proc/" + std::to_string(broker.pid()) + "/fd/" + fd, error);
    EXPECT_EQ(target, "/dev/null") << fd;
  }
  expect_that_it_serves(broker, options);
}

TEST(LogFault, ThoseOfServantAndShimToo) {
  const Broker broker;
  const auto closed = [] {
    ::close(1);
    ::close(2);
  };
  const Process servant(Spawn{.argv = {program("mserve-servant"), "--name", "mute", "--rows", "0"},
                              .env = broker.env(),
                              .prepare = closed});
  broker.wait_for_counter("servants", 1);
  const Process shim(Spawn{.argv = {program("mserve-qshim"), "--q", "127.0.0.1:1"},
                           .env = broker.env(),
                           .prepare = closed});
  for (const Process* process : {&servant, &shim}) {
    const std::string fd2 = "/proc/" + std::to_string(process->pid()) + "/fd/2";
    EXPECT_TRUE(wait_until(
        [&] {
          std::error_code error;
          return std::filesystem::read_symlink(fd2, error) == "/dev/null";
        },
        "stderr to be /dev/null"));
  }
  Client client = broker.client();
  expect_echo(client, pattern(100));
}

TEST(LogFault, AReaderThatStoppedReadingHoldsUpNobody) {
  const TempDir dir;
  ASSERT_EQ(::mkfifo(dir.file("log").c_str(), 0600), 0);
  const shm::UniqueFd reader(::open(dir.file("log").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_GT(::fcntl(reader.get(), F_SETPIPE_SZ, 4096), 0);
  Process broker(Spawn{.argv = broker_argv(dir, "unread"), .stderr_path = dir.file("log")});
  const ClientOptions options = options_for(dir, "unread");
  ASSERT_TRUE(wait_until([&] { return static_cast<bool>(Client::connect(options)); },
                         "the broker to listen"));
  for (int i = 0; i < 100; ++i) {  // each of them is two lines of the log
    ASSERT_TRUE(Client::connect(options)) << i;
  }
  // Once somebody reads again it says what is missing.
  std::string text;
  EXPECT_TRUE(wait_until(
      [&] {
        char buffer[4096];
        const ssize_t got = ::read(reader.get(), buffer, sizeof(buffer));
        text.append(buffer, got > 0 ? static_cast<std::size_t>(got) : 0);
        return Client::connect(options) && text.find("log_lost lines=") != std::string::npos;
      },
      "the lost lines to be told"));
  expect_that_it_serves(broker, options);
}

}  // namespace
}  // namespace mserve::test
