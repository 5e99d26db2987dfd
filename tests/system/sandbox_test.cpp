// SPDX-License-Identifier: Apache-2.0
// mserve-broker --sandbox: the ordinary life of a broker goes on in it, and what a broker does not
// do is refused, counted and told.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "support/requests.hpp"
#include "support/sanitized.hpp"
#include "support/temp_dir.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

/// A field of /proc/PID/status, or of one of its threads.
std::string status_field(const std::string& path, const std::string& key) {
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(key + ":\t")) {
      return line.substr(key.size() + 2);
    }
  }
  return "";
}

/// How many seccomp filters each thread is under, by the thread's name.
std::map<std::string, std::string> filters_of(pid_t pid) {
  std::map<std::string, std::string> filters;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    const std::string status = task.path().string() + "/status";
    filters[status_field(status, "Name")] =
        status_field(status, "Seccomp") == "2" ? status_field(status, "Seccomp_filters") : "none";
  }
  return filters;
}

/// LeakSanitizer traces the process that it looks at, which a sandbox is there to prevent.
std::map<std::string, std::string> without_leak_check() {
  const char* const given = std::getenv("ASAN_OPTIONS");
  return {{"ASAN_OPTIONS", std::string(given != nullptr ? given : "") + ":detect_leaks=0"}};
}

class Sandbox : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_.file(name), std::ios::trunc) << text;
  }
  BrokerSetup setup(std::vector<std::string> args, int servants) const {
    args.insert(args.begin(), "--sandbox");
    BrokerSetup made = with_gateway(std::move(args), servants);
    made.env = without_leak_check();
    return made;
  }

  TempDir dir_;
};

/// Why a broker that UBSan looks into cannot live in a sandbox.
constexpr const char* kUbsanAsks = "UBSan tries addresses with pipes, which the sandbox refuses";

/// What a broker does all day, with each way to wait and each way to serve kdb+ clients.
class OrdinaryLife : public Sandbox, public ::testing::WithParamInterface<const char*> {
 protected:
  /// systemd's end of NOTIFY_SOCKET.
  static shm::UniqueFd listen_at(const std::string& path) {
    shm::UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return socket;
  }
  static bool heard(const shm::UniqueFd& socket, std::string_view what) {
    char text[256];
    const ssize_t got = ::recv(socket.get(), text, sizeof(text), 0);
    return got > 0 && std::string_view(text, static_cast<std::size_t>(got)).find(what) !=
                          std::string_view::npos;
  }
  void write_users(const std::string& more) const {
    // SHA-1, MD5 and crypt(3): "ken", "secret" and "secret".
    write("users",
          "ken:470bc578162732ac7f9d387d34c4af4ca6e1b6f7\n"
          "bob:5ebe2294ecd0e0f08eab7690d2a6ee69\n" +
              more);
  }
  static void ask_as(const Broker& broker, std::string_view credentials) {
    RawClient client = RawClient::tcp(broker.port());
    EXPECT_EQ(client.handshake(credentials), 6) << credentials;
    EXPECT_EQ(client.query("echo 5"), Value::long_atom(5));
  }
  static void ask_operators_questions(const Broker& broker) {
    for (const std::vector<std::string>& words : {std::vector<std::string>{"servants"},
                                                  {"queries"},
                                                  {"counters"},
                                                  {"ctl", "pause", "name:mserve-servant-1"},
                                                  {"ctl", "resume", "all"},
                                                  {"ctl", "drain", "name:mserve-servant-2"},
                                                  {"ctl", "resume", "all"}}) {
      std::vector<std::string> argv = {program("mserve-stat")};
      argv.insert(argv.end(), words.begin(), words.end());
      const Output output = run_to_end(argv, broker.env());
      EXPECT_EQ(output.exit_code, 0) << words.front() << output.err;
    }
  }
};

TEST_P(OrdinaryLife, GoesOn) {
  if (kSanitized) {
    GTEST_SKIP() << kUbsanAsks;
  }
  const bool spins = std::string_view(GetParam()) == "spin";
  const std::string notify = dir_.file("notify");
  const shm::UniqueFd manager = listen_at(notify);
  write_users("");
  write("mserve.toml", "sandbox = true\npolicy = \"match\"\n");
  BrokerSetup with =
      with_gateway({"--config", dir_.file("mserve.toml"), "--users", dir_.file("users"), "--idle",
                    GetParam(), "--gateway-thread", spins ? "own" : "data", "--slow", "0",
                    "--trace", dir_.file("trace.csv"), "--trace-every", "1"},
                   2);
  with.env = without_leak_check();
  with.env["NOTIFY_SOCKET"] = notify;
  with.env["WATCHDOG_USEC"] = "1000000";
  Broker broker(with);
  (void)broker.wait_for_log("sandbox_entered");
  EXPECT_TRUE(wait_until([&] { return heard(manager, "WATCHDOG=1"); }, "systemd to hear"));

  Client client = broker.client();
  expect_echo(client, pattern(100));
  expect_echo(client, pattern(300'000));  // streams
  ask_as(broker, "ken:ken");
  ask_as(broker, "bob:secret");
  EXPECT_FALSE(RawClient::tcp(broker.port()).handshake("ken:wrong"));
  RawClient local = RawClient::unix_socket(broker.socket_path(), false);
  EXPECT_EQ(local.handshake("ken:ken"), 6);
  ask_operators_questions(broker);

  // Servants are launched by another process, which is in no sandbox, nor are they.
  const std::vector<pid_t> first = broker.launched();
  ASSERT_EQ(first.size(), 2U);
  const std::string servant = "/proc/" + std::to_string(first.front()) + "/status";
  EXPECT_EQ(status_field(servant, "Seccomp"), "0");
  EXPECT_EQ(status_field(servant, "NoNewPrivs"), "0");
  ASSERT_EQ(::kill(first.front(), SIGKILL), 0);
  EXPECT_TRUE(wait_until(
      [&] {
        const std::vector<pid_t> now = broker.launched();
        return now.size() == 2 && now != first && broker.counter("servants") == 2U;
      },
      "the next one"));
  expect_echo(client, pattern(100));

  // HUP reads both files again.
  write_users("eve:$5$xyz$oyzLnM0iM2z2E1.kDRyLP1k4cIrB8rYyDsTqaYy8iA6\n");
  write("mserve.toml", "sandbox = true\npolicy = \"even\"\n");
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  EXPECT_NE(broker.wait_for_log(" reloaded").find("users=3"), std::string::npos);
  EXPECT_FALSE(RawClient::tcp(broker.port()).handshake("eve:wrong"));  // crypt(3) all the same
  write("mserve.toml", "sandbox = false\n");
  ASSERT_EQ(::kill(broker.pid(), SIGHUP), 0);
  (void)broker.wait_for_log("reload_refused key=sandbox value=false");

  const std::map<std::string, std::string> filters = filters_of(broker.pid());
  for (const auto& [thread, count] : filters) {
    const bool computes = thread == "mserve-data" || thread == "mserve-access";
    EXPECT_EQ(count, computes ? "2" : "1") << thread;
  }
  EXPECT_EQ(filters.count("mserve-data") + filters.count("mserve-access"), 2U);
  EXPECT_EQ(status_field("/proc/" + std::to_string(broker.pid()) + "/status", "NoNewPrivs"), "1");

  // Its last word would find no room behind the beats of a day that a busy machine made long.
  broker.process().signal(SIGSTOP);
  EXPECT_TRUE(wait_until([&] { return state_of(broker.pid()) == 'T'; }, "the broker to stand"));
  while (heard(manager, "")) {
  }
  broker.process().signal(SIGTERM);
  broker.process().signal(SIGCONT);
  EXPECT_EQ(broker.process().wait(), 0) << broker.log();
  EXPECT_TRUE(wait_until([&] { return heard(manager, "STOPPING=1"); }, "systemd to hear the end"));
  EXPECT_EQ(broker.shared_objects(), 0U);
  EXPECT_EQ(count_entries(broker.directory(), ".sock") + count_entries(broker.directory(), "kx."),
            0U);
  EXPECT_TRUE(broker.log_lines("sandbox_refused").empty()) << broker.log();
  EXPECT_FALSE(broker.log_lines("slow_query").empty());
  EXPECT_NE(read_file(dir_.file("trace.csv")).find(",gateway,"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Idle, OrdinaryLife, ::testing::Values("spin", "auto"),
                         [](const auto& one) { return std::string(one.param); });

/// What tests/plugins/escapee.c said it got, by call.
std::map<std::string, int> tried_by(const Broker& broker, const std::string& thread) {
  (void)broker.wait_for_log("escapee " + thread + " end");
  std::map<std::string, int> errors;
  for (const std::string& line : broker.log_lines("escapee " + thread + " ")) {
    std::istringstream words(line.substr(line.find("escapee")));
    std::string word;
    std::string call;
    int error = -1;
    words >> word >> word >> call >> error;
    errors[call] = error;
  }
  errors.erase("end");
  return errors;
}

TEST_F(Sandbox, RefusesWhatNoBrokerDoesAndTellsOfIt) {
  if (kSanitized) {
    GTEST_SKIP() << kUbsanAsks;
  }
  const std::string plugin = dir_.file("escapee.so");
  std::filesystem::copy_file(MSERVE_TEST_PLUGIN_DIR "/escapee.so", plugin);
  ASSERT_EQ(::chmod(plugin.c_str(), 0755), 0);
  Broker broker(
      setup({"--policy-plugin", plugin, "--route-plugin", plugin, "--gateway-thread", "own"}, 1));
  RawClient client = connect(broker, 6);
  EXPECT_EQ(client.query("echo 5"), Value::long_atom(5));
  const std::map<std::string, int> gateway = tried_by(broker, "gateway");
  const std::map<std::string, int> data = tried_by(broker, "data");
  EXPECT_GE(gateway.size(), 15U);
  EXPECT_EQ(gateway.size(), data.size());
  for (const auto& [call, error] : gateway) {
    const bool serves = call == "read_file" || call == "unix_socket" || call == "memfd";
    EXPECT_EQ(error, serves ? 0 : EPERM) << call;
  }
  for (const auto& [call, error] : data) {
    EXPECT_EQ(error, EPERM) << call;
  }
  EXPECT_FALSE(std::filesystem::exists("/tmp/mserve-test-escapee"));
  EXPECT_EQ(client.query("echo 6"), Value::long_atom(6)) << "the broker goes on";
  for (const char* const call : {"execve", "ptrace", "openat", "socket", "mmap", "kill"}) {
    EXPECT_NE(broker.wait_for_log(std::string("sandbox_refused call=") + call + " "), "");
  }
  EXPECT_TRUE(wait_until(
      [&] { return broker.counter("sandbox_refused") >= gateway.size() - 3 + data.size(); },
      "the counter"));
  broker.stop();
}

/// Tries what a debugger does, as the user whose broker it is. @return errno, 0: it got in.
int look_into(pid_t pid) {
  char byte = 0;
  iovec here{&byte, 1};
  iovec there{reinterpret_cast<void*>(0x10000), 1};
  if (::process_vm_readv(pid, &here, 1, &there, 1, 0) < 0 && errno == EPERM) {
    return EPERM;  // else it was about the address
  }
  return std::ifstream("/proc/" + std::to_string(pid) + "/maps").get() < 0 ? EACCES : 0;
}

TEST_F(Sandbox, NobodyOfTheSameUserReadsTheBrokersMemory) {
  if (kSanitized) {
    GTEST_SKIP() << kUbsanAsks;
  }
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can start a broker of another user";
  }
  if (access("/usr/bin/setpriv", X_OK) != 0) {
    GTEST_SKIP() << "setpriv of util-linux is not here";
  }
  constexpr uid_t kUser = 60'005;
  const TempDir place;
  ASSERT_EQ(::chown(place.path().c_str(), kUser, kUser), 0);
  for (const bool sandbox : {false, true}) {
    int ends[2] = {-1, -1};
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const shm::UniqueFd reading(ends[0]);
    shm::UniqueFd writing(ends[1]);
    const std::string id = std::to_string(kUser);
    std::vector<std::string> argv = {"setpriv",
                                     "--reuid",
                                     id,
                                     "--regid",
                                     id,
                                     "--clear-groups",
                                     program("mserve-broker"),
                                     "--dir",
                                     place.path(),
                                     "--name",
                                     "other",
                                     "--max-queue-bytes",
                                     "1m",
                                     "--max-pending-bytes",
                                     "1m",
                                     "--max-queue",
                                     "1024",
                                     "--ready-fd",
                                     std::to_string(ends[1])};
    if (sandbox) {
      argv.emplace_back("--sandbox");
    }
    std::map<std::string, std::string> env = without_leak_check();
    env["MSERVE_DIR"] = "";
    Process broker(
        Spawn{.argv = argv, .env = env, .stderr_path = dir_.file("log"), .inherit_fd = ends[1]});
    writing.reset();
    char word[6] = {};
    ASSERT_EQ(::read(reading.get(), word, sizeof(word)), 6) << read_file(dir_.file("log"));
    if (sandbox) {  // it says "ready" before it shuts itself in
      ASSERT_TRUE(wait_until(
          [&] { return read_file(dir_.file("log")).find("sandbox_entered") != std::string::npos; },
          "the sandbox"));
    }
    Process other([pid = broker.pid()] {
      return setgid(kUser) == 0 && setuid(kUser) == 0 ? look_into(pid) : 255;
    });
    EXPECT_EQ(other.wait(), sandbox ? EPERM : 0);
    broker.signal(SIGTERM);
    EXPECT_EQ(broker.wait(), 0) << read_file(dir_.file("log"));
  }
}

TEST_F(Sandbox, IsAFlagAndAKey) {
  const auto check = [](std::vector<std::string> args) {
    args.insert(args.begin(), {program("mserve-broker"), "--check"});
    return run_to_end(std::move(args)).out;
  };
  write("mserve.toml", "sandbox = true\n");
  EXPECT_NE(check({}).find("\nsandbox = false\n"), std::string::npos);
  EXPECT_NE(check({"--sandbox"}).find("\nsandbox = true\n"), std::string::npos);
  EXPECT_NE(check({"--config", dir_.file("mserve.toml")}).find("\nsandbox = true\n"),
            std::string::npos);
}

}  // namespace
}  // namespace mserve::test
