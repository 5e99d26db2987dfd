// SPDX-License-Identifier: Apache-2.0
#include "support/broker_process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "mserve/shm/counters.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "support/wait.hpp"

namespace mserve::test {

namespace {

constexpr const char* kPortLine = " gateway port=";

std::string fresh_name() {
  static std::atomic<int> count{0};
  return "t" + std::to_string(getpid()) + "-" +
         std::to_string(count.fetch_add(1, std::memory_order_relaxed));
}

bool read_ready(int fd) {
  std::string text;
  pollfd waiting{fd, POLLIN, 0};
  while (poll(&waiting, 1, static_cast<int>(kWatchdogNs / 1'000'000)) > 0) {
    char buffer[64];
    const ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got <= 0) {
      return false;
    }
    text.append(buffer, static_cast<std::size_t>(got));
    if (text == "ready\n") {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string field_of(const std::string& line, const std::string& key) {
  const std::size_t at = line.find(" " + key + "=");
  if (at == std::string::npos) {
    return {};
  }
  const std::size_t from = at + key.size() + 2;
  return line.substr(from, line.find_first_of(" \n", from) - from);
}

Broker::Broker(BrokerSetup setup) : setup_(std::move(setup)), name_(fresh_name()) {
  start();
}

Broker::~Broker() {
  const std::vector<pid_t> left = launched();
  const pid_t launcher_pid = launcher();
  process_.end();
  // The launcher sees its broker go and ends its servants.
  (void)wait_until([&] { return launcher_pid <= 0 || gone(launcher_pid); }, "the launcher to end");
  for (const pid_t pid : left) {
    (void)wait_until([pid] { return gone(pid); }, "a launched servant to end");
  }
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm", ignored)) {
    if (entry.path().filename().string().rfind("mserve-" + name_ + "-", 0) == 0) {
      std::filesystem::remove(entry.path(), ignored);
    }
  }
  const std::string text = log();
  for (const char* const fault : {"Sanitizer", "runtime error:", "terminate called", "assertion"}) {
    EXPECT_EQ(text.find(fault), std::string::npos) << text;
  }
  if (::testing::Test::HasFailure()) {
    std::cerr << "--- log of broker " << name_ << "\n" << text.substr(0, 6'000);
    if (text.size() > 6'000) {
      std::cerr << "\n[...]\n" << text.substr(std::max<std::size_t>(text.size(), 16'000) - 10'000);
    }
    std::cerr << "---\n";
  }
}

std::vector<std::string> Broker::command_line() const {
  // Little memory: each broker touches all of it at its start, and tests start many.
  std::vector<std::string> argv = {program("mserve-broker"),
                                   "--name",
                                   name_,
                                   "--dir",
                                   dir_.path(),
                                   "--max-queue-bytes",
                                   "8m",
                                   "--max-pending-bytes",
                                   "4m",
                                   "--max-queue",
                                   "8192",
                                   "--max-sessions",
                                   "256"};
  // A later one would be refused as given twice: what a test sets itself replaces the default.
  for (std::size_t i = 5; i + 1 < argv.size();) {
    const bool given =
        std::find(setup_.args.begin(), setup_.args.end(), argv[i]) != setup_.args.end();
    if (given) {
      argv.erase(argv.begin() + static_cast<std::ptrdiff_t>(i),
                 argv.begin() + static_cast<std::ptrdiff_t>(i) + 2);
    } else {
      i += 2;
    }
  }
  argv.insert(argv.end(), setup_.args.begin(), setup_.args.end());
  if (setup_.gateway) {
    argv.insert(argv.end(), {"-p", "0W"});
  }
  if (setup_.servants > 0) {
    argv.insert(argv.end(), {"--servant-args", setup_.servant_args, std::to_string(setup_.servants),
                             program("mserve-servant")});
  }
  return argv;
}

void Broker::start() {
  const std::size_t ports = log_lines(kPortLine).size();
  int ends[2] = {-1, -1};
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const shm::UniqueFd reading(ends[0]);
  shm::UniqueFd writing(ends[1]);
  std::vector<std::string> argv = command_line();
  argv.insert(argv.begin() + 1, {"--ready-fd", std::to_string(ends[1])});
  const char* const tsan = std::getenv("TSAN_OPTIONS");
  std::map<std::string, std::string> env = setup_.env;
  env.insert({{"MSERVE_DIR", ""},
              {"MSERVE_NAME", ""},
              {"QUDSPATH", dir_.path()},
              {"TSAN_OPTIONS", std::string(tsan != nullptr ? tsan : "") +
                                   " suppressions=" MSERVE_TEST_SOURCE_DIR "/support/tsan.supp"}});
  process_ = Process(Spawn{.argv = std::move(argv),
                           .env = std::move(env),
                           .stdout_path = dir_.file("broker.out"),
                           .stderr_path = dir_.file("broker.log"),
                           .inherit_fd = ends[1],
                           .core = setup_.core,
                           .prepare = setup_.prepare});
  writing.reset();
  ASSERT_TRUE(read_ready(reading.get())) << log();
  if (ports != 0) {  // or port() would find that of the life before
    (void)wait_until([&] { return log_lines(kPortLine).size() > ports; }, "the new port");
  }
}

void Broker::stop() {
  process_.signal(SIGTERM);
  EXPECT_EQ(process_.wait(), 0) << log();
}

void Broker::kill() {
  process_.end();
}

std::uint16_t Broker::port() const {
  (void)wait_for_log(kPortLine);
  const std::vector<std::string> lines = log_lines(kPortLine);
  const std::string line = lines.empty() ? "" : lines.back();
  return static_cast<std::uint16_t>(std::stoul("0" + field_of(line, "port")));
}

std::string Broker::socket_path() const {
  return dir_.path() + "/kx." + std::to_string(port());
}

std::map<std::string, std::string> Broker::env() const {
  return {{"MSERVE_DIR", dir_.path()}, {"MSERVE_NAME", name_}};
}

Process Broker::spawn_servant(const std::string& servant, std::vector<std::string> args) const {
  std::vector<std::string> argv = {program("mserve-servant"), "--name", servant};
  argv.insert(argv.end(), args.begin(), args.end());
  return Process(
      Spawn{.argv = std::move(argv), .env = env(), .stderr_path = dir_.file(servant + ".log")});
}

std::string Broker::log() const {
  return read_file(dir_.file("broker.log"));
}

std::vector<std::string> Broker::log_lines(const std::string& text) const {
  std::vector<std::string> found;
  std::istringstream lines(log());
  for (std::string line; std::getline(lines, line);) {
    if (line.find(text) != std::string::npos) {
      found.push_back(line);
    }
  }
  return found;
}

std::string Broker::wait_for_log(const std::string& text) const {
  std::vector<std::string> found;
  (void)wait_until(
      [&] {
        found = log_lines(text);
        return !found.empty();
      },
      "log line '" + text + "' of broker " + name_);
  return found.empty() ? std::string() : found.front();
}

std::optional<std::uint64_t> Broker::counter(const std::string& counter) const {
  const auto reader = shm::CountersReader::open(shm::counters_name(name_, geteuid()), geteuid());
  if (reader) {
    for (const auto& value : reader.value().snapshot()) {
      if (value.name == counter) {
        return value.value;
      }
    }
  }
  return std::nullopt;
}

void Broker::wait_for_counter(const std::string& wanted, std::uint64_t value) const {
  std::optional<std::uint64_t> seen;
  (void)wait_until(
      [&] {
        seen = counter(wanted);
        return seen == value;
      },
      "counter " + wanted + "=" + std::to_string(value));
  EXPECT_EQ(seen, value) << wanted;
}

pid_t Broker::launcher() const {
  const std::vector<pid_t> children =
      process_.running() ? children_of(pid()) : std::vector<pid_t>{};
  return children.empty() ? -1 : children.front();
}

std::vector<pid_t> Broker::launched() const {
  const pid_t pid = launcher();
  return pid > 0 ? children_of(pid) : std::vector<pid_t>{};
}

std::size_t Broker::shared_objects() const {
  return count_entries("/dev/shm", "mserve-" + name_ + "-");
}

std::size_t Broker::descriptors() const {
  return count_entries("/proc/" + std::to_string(pid()) + "/fd");
}

Client Broker::client(ClientOptions options) const {
  options.broker = name_;
  options.directory = dir_.path();
  std::string reason;
  auto made = Client::connect(options, &reason);
  if (!made) {
    throw std::runtime_error("no client: " + reason + " " + to_string(made.error().code));
  }
  return std::move(made).value();
}

}  // namespace mserve::test
