// SPDX-License-Identifier: Apache-2.0
// mserve-pin, and the options of mserve-broker that it uses: who really runs where.
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "mserve/shm/idle.hpp"
#include "support/broker_process.hpp"
#include "support/described_machine.hpp"
#include "support/wait.hpp"

namespace mserve::test {
namespace {

constexpr const char* kSkip = "SKIPPED: this needs two cores\n";

/// Cpus_allowed_list of a process or thread.
std::string cores_in(const std::string& folder) {
  std::istringstream lines(read_file(folder + "/status"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("Cpus_allowed_list:")) {
      return line.substr(line.find_last_of("\t ") + 1);
    }
  }
  return "";
}
std::string cores_of(pid_t pid) {
  return cores_in("/proc/" + std::to_string(pid));
}

/// Cores of each thread of a process, by the thread's name. A sanitizer's own thread, which nobody
/// pins, has the name of the first one.
std::map<std::string, std::string> cores_of_threads(pid_t pid) {
  std::map<std::string, std::string> cores;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::string name = read_file(task.path().string() + "/comm");
    name.resize(name.find('\n') == std::string::npos ? name.size() : name.find('\n'));
    const bool first = task.path().filename() == std::to_string(pid);
    if (first || !cores.contains(name)) {
      cores[name] = cores_in(task.path().string());
    }
  }
  return cores;
}

/// Those of this thread but one, as the kernel writes them.
std::string cores_without(const std::string& core) {
  cpu_set_t before;
  CPU_ZERO(&before);
  EXPECT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  cpu_set_t others = before;
  CPU_CLR(std::stoul(core), &others);
  EXPECT_EQ(sched_setaffinity(0, sizeof(others), &others), 0);
  std::string text = cores_in("/proc/thread-self");
  EXPECT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
  return text;
}

/// The first two cores that this test may use.
class TwoCores : public ::testing::Test {
 protected:
  void SetUp() override {
    if (shm::usable_cores() < 2) {
      GTEST_SKIP() << kSkip;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    ASSERT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
    std::vector<std::string> found;
    for (std::size_t core = 0; core < CPU_SETSIZE && found.size() < 2; ++core) {
      if (CPU_ISSET(core, &set)) {
        found.push_back(std::to_string(core));
      }
    }
    first_ = found[0];
    second_ = found[1];
  }
  /// A plan for two servants: the data thread has the second core, everybody else the first.
  std::string write_plan() const {
    const std::string path = dir_.file("plan.toml");
    std::ofstream(path) << "format = 1\n[broker]\ncore = " << second_
                        << "\nidle = \"auto\"\n[control]\ncores = \"" << first_
                        << "\"\n[gateway]\nthread = \"shared\"\n[[servant]]\ncores = \"" << first_
                        << "\"\n[[servant]]\ncores = \"" << first_ << "\"\n";
    return path;
  }
  /// One for a broker that is not pinned, a q process with a shim, and a servant.
  std::string write_q_plan() const {
    const std::string path = dir_.file("q.toml");
    std::ofstream(path) << "format = 1\n[broker]\nidle = \"auto\"\n[control]\ncores = \"" << first_
                        << "\"\n[gateway]\nthread = \"shared\"\n[[servant]]\ncores = \"" << first_
                        << "\"\nshim = \"" << second_ << "\"\n[[servant]]\ncores = \"" << first_
                        << "\"\n";
    return path;
  }
  std::string first_;
  std::string second_;
  TempDir dir_;
};

/// This thread, and what it starts, on one core, as init does with those that are not isolated.
class OnlyOn {
 public:
  explicit OnlyOn(const std::string& core) {
    CPU_ZERO(&before_);
    EXPECT_EQ(sched_getaffinity(0, sizeof(before_), &before_), 0);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(std::stoul(core), &set);
    EXPECT_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
  }
  ~OnlyOn() { EXPECT_EQ(sched_setaffinity(0, sizeof(before_), &before_), 0); }
  OnlyOn(const OnlyOn&) = delete;
  OnlyOn& operator=(const OnlyOn&) = delete;

 private:
  cpu_set_t before_{};
};

using PinBroker = TwoCores;
using PinRun = TwoCores;

TEST_F(PinBroker, PutsEachThreadAndEachLaunchedServantOnItsCores) {
  Broker broker({.args = {"--core", second_, "--control-cores", first_, "--gateway-core", first_,
                          "--servant-cores", first_ + "," + first_, "--gateway-thread", "own"},
                 .servants = 2,
                 .gateway = true});
  auto threads = cores_of_threads(broker.pid());
  EXPECT_EQ(threads["mserve-broker"], first_);
  EXPECT_EQ(threads["mserve-data"], second_);
  EXPECT_EQ(threads["mserve-gateway"], first_);
  EXPECT_EQ(cores_of(broker.launcher()), first_);
  const std::vector<pid_t> servants = broker.launched();
  ASSERT_EQ(servants.size(), 2U);
  for (const pid_t servant : servants) {
    EXPECT_EQ(cores_of(servant), first_);
  }
  // The control thread has left the cores by which a new configuration is judged.
  broker.process().signal(SIGHUP);
  EXPECT_NE(broker.wait_for_log("reloaded"), "");
  broker.stop();
}

TEST_F(PinBroker, ServantsWithoutCoresKeepOffThePinnedThreadAlsoWhenStartedAgain) {
  Broker broker({.args = {"--core", second_}, .servants = 1});
  const std::string theirs = cores_without(second_);
  ASSERT_EQ(broker.launched().size(), 1U);
  const pid_t servant = broker.launched().front();
  EXPECT_EQ(cores_of(servant), theirs);
  ASSERT_EQ(kill(servant, SIGKILL), 0);
  ASSERT_TRUE(wait_until(
      [&] {
        const std::vector<pid_t> now = broker.launched();
        return now.size() == 1 && now.front() != servant && cores_of(now.front()) == theirs;
      },
      "the next servant"));
  broker.stop();
}

TEST_F(PinBroker, SaysThatAGatewaysCoreIsForNobodyWithoutAGateway) {
  Broker broker({.args = {"--gateway-core", first_}});
  EXPECT_NE(broker.wait_for_log("without -p there is no such thread"), "");
  broker.stop();
}

TEST_F(PinBroker, ServantsTakeAPinnedCoreWhereThereIsNoOther) {
  const OnlyOn here(first_);
  Broker broker({.args = {"--core", first_}, .servants = 1});
  ASSERT_EQ(broker.launched().size(), 1U);
  EXPECT_EQ(cores_of(broker.launched().front()), first_);
  broker.stop();
}

TEST_F(PinBroker, TakesACoreThatItsOwnMaskLeavesOut) {
  const OnlyOn here(first_);
  Broker broker({.args = {"--core", second_, "--control-cores", first_}, .servants = 1});
  EXPECT_EQ(cores_of_threads(broker.pid())["mserve-data"], second_);
  ASSERT_EQ(broker.launched().size(), 1U);
  EXPECT_EQ(cores_of(broker.launched().front()), first_);
  broker.stop();
}

TEST_F(PinBroker, RefusesCoresThatDoNotFitByName) {
  const auto fault = [&](std::vector<std::string> args) {
    args.insert(args.begin(), {program("mserve-broker"), "--check"});
    const Output output = run_to_end(std::move(args));
    EXPECT_EQ(output.exit_code, 2);
    return output.err;
  };
  const auto expect = [&](std::vector<std::string> args, const std::string& text) {
    const std::string told = fault(std::move(args));
    EXPECT_NE(told.find(text), std::string::npos) << told;
  };
  const std::string servant = program("mserve-servant");
  expect({"--core", "4095"}, "--core: not a core that this process may use");
  expect({"--control-cores", first_}, "--control-cores: only with --core");
  expect({"--core", first_, "--control-cores", first_}, "is the data thread's");
  expect({"--core", first_, "--gateway-core", first_}, "is the data thread's");
  expect({"--gateway-core", first_, "--gateway-thread", "data"}, "not with --gateway-thread data");
  expect({"--core", first_, "--servant-cores", first_}, "servant 1: core");
  expect({"--servant-cores", "x"}, "'x' is no list such as 4,5");
  expect({"--servant-cores", first_ + ",", "2", servant}, "is no list such as 4,5");
  expect({"--servant-cores", first_, "2", servant}, "names cores for 1 of 2 servants");
  expect({"--servant-cores", first_ + "/" + second_, "1", servant}, "only q processes have a shim");
  expect({"--servant-cores", "4095", "1", servant}, "servant 1: not a core");
}

TEST_F(PinBroker, TheKeysAreThoseOfTheFlags) {
  const std::string path = dir_.file("mserve.toml");
  std::ofstream(path) << "core = " << second_ << "\ncontrol-cores = \"" << first_
                      << "\"\ngateway-core = " << first_ << "\nservant-cores = \"" << first_ << ","
                      << first_ << "+" << first_ << "\"\n";
  const Output output = run_to_end({program("mserve-broker"), "--config", path, "--check"});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  EXPECT_NE(output.out.find("\nservant-cores = \"" + first_ + "," + first_ + "+" + first_ + "\"\n"),
            std::string::npos)
      << output.out;
  EXPECT_NE(output.out.find("\ngateway-core = " + first_ + "\n"), std::string::npos);
  EXPECT_NE(output.out.find("\ncontrol-cores = " + first_ + "\n"), std::string::npos);
}

TEST_F(PinRun, AppliesThePlanToBrokerAndLaunchedServants) {
  Process pinned(Spawn{
      .argv = {program("mserve-pin"), "run", write_plan(), "--", program("mserve-broker"), "--dir",
               dir_.path(), "--name", "pinned", "2", program("mserve-servant"), "--servant-args",
               "--rows 0", "--max-queue-bytes", "8m", "--max-pending-bytes", "4m"},
      .stderr_path = dir_.file("log")});
  ASSERT_TRUE(wait_until(
      [&] { return read_file(dir_.file("log")).find(" ready name=") != std::string::npos; },
      "the broker"))
      << read_file(dir_.file("log"));
  auto threads = cores_of_threads(pinned.pid());
  EXPECT_EQ(threads["mserve-broker"], first_);
  EXPECT_EQ(threads["mserve-data"], second_);
  const std::vector<pid_t> launcher = children_of(pinned.pid());
  ASSERT_EQ(launcher.size(), 1U);
  const std::vector<pid_t> servants = children_of(launcher.front());
  ASSERT_EQ(servants.size(), 2U);
  for (const pid_t servant : servants) {
    EXPECT_EQ(cores_of(servant), first_);
  }
  pinned.signal(SIGTERM);
  EXPECT_EQ(pinned.wait(), 0);
}

TEST_F(PinRun, ARoleIsPutOnItsCores) {
  const std::string plan = write_q_plan();
  const auto cores = [&](const std::string& role) {
    return run_to_end(
        {program("mserve-pin"), "run", plan, "--role", role, "--", "cat", "/proc/self/status"});
  };
  const std::string line = "Cpus_allowed_list:\t";
  EXPECT_NE(cores("servant:2").out.find(line + first_ + "\n"), std::string::npos);
  EXPECT_NE(cores("q:1").out.find(line + first_ + "\n"), std::string::npos);
  EXPECT_NE(cores("shim:1").out.find(line + second_ + "\n"), std::string::npos);
  EXPECT_EQ(cores("servant:3").exit_code, 1);
  EXPECT_NE(cores("servant:3").err.find("the plan has 2 servants"), std::string::npos);
  EXPECT_NE(cores("shim:2").err.find("servant 2 has no shim"), std::string::npos);
  for (const char* const wrong : {"servant", "servant:", "servant:0", "servant:x", "boss:1"}) {
    EXPECT_EQ(cores(wrong).exit_code, 2) << wrong;
  }
}

TEST_F(PinRun, APlanOfAnotherMachineIsRefusedByName) {
  const std::string path = dir_.file("other");
  std::ofstream(path) << "format = 1\n[broker]\ncore = 4000\nidle = \"spin\"\n[control]\ncores = \""
                      << first_ << "\"\n[gateway]\nthread = \"none\"\n";
  const Output output = run_to_end({program("mserve-pin"), "run", path, "--", "true"});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_NE(
      output.err.find("does not fit this machine: core 4000 of the data thread is not online"),
      std::string::npos)
      << output.err;
  EXPECT_EQ(run_to_end({program("mserve-pin"), "run", "/nowhere", "--", "true"}).exit_code, 1);
  const auto fault = [](const std::string& plan) {
    return run_to_end({program("mserve-pin"), "run", plan, "--", "true"}).err;
  };
  EXPECT_NE(fault("/dev/null").find("the key 'format' is missing"), std::string::npos);
  EXPECT_NE(fault("/dev/zero").find("more than 1048576 bytes"), std::string::npos);
  EXPECT_NE(fault(dir_.path()).find("cannot read the plan"), std::string::npos);
  EXPECT_EQ(run_to_end({program("mserve-pin"), "run", write_plan()}).exit_code, 2);
  const Output nothing =
      run_to_end({program("mserve-pin"), "run", write_plan(), "--", "/nowhere/x"});
  EXPECT_EQ(nothing.exit_code, 1);
  EXPECT_NE(nothing.err.find("cannot run /nowhere/x"), std::string::npos);
}

TEST(PinPlan, IsWrittenWithDropInsForUnits) {
  const TempDir dir;
  const Output output = run_to_end({program("mserve-pin"), "plan", "--servants", "2", "--q",
                                    "--topology", MSERVE_TEST_SOURCE_DIR "/data/two_sockets.xml",
                                    "-o", dir.file("plan"), "--systemd", dir.file("units")});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.out, "");
  EXPECT_NE(read_file(dir.file("plan")).find("\n[broker]\ncore = 1  # "), std::string::npos);
  const auto unit = [&](const std::string& name) {
    return read_file(dir.file("units/" + name + ".d/10-cores.conf"));
  };
  EXPECT_NE(unit("mserve.slice").find("[Slice]\nAllowedCPUs=0-7,16,19-23\n"), std::string::npos)
      << unit("mserve.slice");
  EXPECT_NE(unit("mserve-broker.service")
                .find("CPUAffinity=0-7,16,19-23\nEnvironment=\"MSERVE_PIN=--core 1 --idle spin "
                      "--control-cores 0,5-7,16,21-23 --gateway-thread own --gateway-core 2 "
                      "--servant-cores 3/19,4/20\"\n"),
            std::string::npos)
      << unit("mserve-broker.service");
  EXPECT_NE(unit("mserve-servant@2.service").find("CPUAffinity=4\n"), std::string::npos);
  EXPECT_NE(unit("mserve-qshim@2.service").find("CPUAffinity=20\n"), std::string::npos);
}

TEST(PinPlan, TellsWarningsOnceAndWhatComesNext) {
  const TempDir dir;
  const std::vector<std::string> plan{program("mserve-pin"), "plan", "--servants", "1024"};
  const Output piped = run_to_end(plan);
  ASSERT_EQ(piped.exit_code, 0) << piped.err;
  EXPECT_NE(piped.err.find("mserve-pin: warning: "), std::string::npos) << piped.err;
  EXPECT_NE(piped.out.find("# WARNING: "), std::string::npos) << piped.out;
  EXPECT_EQ(piped.err.find("next: "), std::string::npos) << piped.err;
  winsize size{};
  int fd = -1;
  const pid_t pid = ::forkpty(&fd, nullptr, nullptr, &size);
  if (pid == 0) {
    ::execl(plan[0].c_str(), plan[0].c_str(), "plan", "--servants", "1024", nullptr);
    ::_exit(127);
  }
  std::string said;
  char bytes[4096];
  for (ssize_t got = 0; (got = ::read(fd, bytes, sizeof bytes)) > 0;) {
    said.append(bytes, static_cast<std::size_t>(got));
  }
  ::close(fd);
  int status = -1;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_NE(said.find("# WARNING: "), std::string::npos) << said;
  EXPECT_EQ(said.find("mserve-pin: warning: "), std::string::npos) << "twice";
  const Output file =
      run_to_end({program("mserve-pin"), "plan", "--servants", "4", "-o", dir.file("the.plan")});
  EXPECT_NE(file.err.find("mserve-pin: next: mserve-pin run " + dir.file("the.plan") +
                          " -- mserve-broker 4 ...\n"),
            std::string::npos)
      << file.err;
}

TEST(PinPlan, RefusesWhatItCannotPlanFor) {
  const auto plan = [](std::vector<std::string> args) {
    args.insert(args.begin(), {program("mserve-pin"), "plan"});
    return run_to_end(std::move(args)).exit_code;
  };
  EXPECT_EQ(plan({}), 2);
  EXPECT_EQ(plan({"--servants", "0"}), 2);
  EXPECT_EQ(plan({"--servants", "1", "--gateway", "both"}), 2);
  EXPECT_EQ(plan({"--servants", "1", "--isolated", "x"}), 2);
  EXPECT_EQ(plan({"--servants", "1", "--topology", "/nowhere"}), 1);
  EXPECT_EQ(plan({"--servants", "1", "-o", "/nowhere/plan"}), 1);
  EXPECT_EQ(plan({"--servants", "1", "--systemd", "/proc/nowhere"}), 1);
}

TEST(PinAudit, OfThisMachineShowsFindingsAndJitter) {
  const Output text = run_to_end({program("mserve-pin"), "audit", "--seconds", "0.01"});
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.out.find("[/sys/devices/system/cpu/isolated]"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("looks at the clock in"), std::string::npos) << text.out;
  const Output json = run_to_end({program("mserve-pin"), "audit", "--seconds", "0.01", "--json"});
  const boost::json::object all = boost::json::parse(json.out).as_object();
  EXPECT_GT(all.at("findings").as_array().size(), 10U);
  for (const boost::json::value& jitter : all.at("jitter").as_array()) {
    EXPECT_GT(jitter.at("looks").to_number<std::uint64_t>(), 0U);
    EXPECT_GE(jitter.at("time_ns").to_number<std::uint64_t>(), 10'000'000U);
  }
}

TEST(PinAudit, NamesThatOthersChoseReachNoTerminal) {
  const DescribedMachine machine;
  machine.describe_tuned();
  machine.write("/proc/interrupts", "     CPU0   CPU1\n 36:  500   0  PCI-MSI  eth\x1b[2J\xc3");
  for (const char* const flag : {"--cores=0-1", "--json"}) {
    const Output output =
        run_to_end({program("mserve-pin"), "audit", "--root", machine.root(), flag});
    EXPECT_NE(output.out.find("36 eth?[2J?"), std::string::npos) << output.out;
    EXPECT_EQ(output.out.find('\x1b'), std::string::npos);
  }
}

using PinAuditOfCores = TwoCores;
TEST_F(PinAuditOfCores, LooksAtThoseThatItsOwnMaskLeavesOutToo) {
  const OnlyOn here(first_);
  const Output text = run_to_end({program("mserve-pin"), "audit", "--seconds", "0"});
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.out.find("core " + second_), std::string::npos) << text.out;
}

TEST(PinAudit, ExitStatusTellsWhatCostsOnlyWhenAsked) {
  const DescribedMachine machine;
  machine.describe_tuned();
  const auto audit = [&machine](std::vector<std::string> args) {
    args.insert(args.begin(), {program("mserve-pin"), "audit", "--root", machine.root()});
    return run_to_end(std::move(args));
  };
  EXPECT_EQ(audit({"--cores", "1", "--strict"}).exit_code, 0);
  EXPECT_EQ(audit({"--cores", "0-1", "--strict"}).exit_code, 3);
  EXPECT_EQ(audit({"--cores", "0-1"}).exit_code, 0);
  EXPECT_EQ(audit({"--cores", "0-9"}).exit_code, 2);
  EXPECT_NE(audit({"--cores", "0-9"}).err.find("core 2-9 is not online here (online: 0-1)"),
            std::string::npos);
  EXPECT_EQ(audit({"--cores", "a"}).exit_code, 2);
  EXPECT_EQ(audit({"--seconds", "-1"}).exit_code, 2);
  EXPECT_EQ(run_to_end({program("mserve-pin"), "audit", "--root", "/nowhere"}).exit_code, 1);
  EXPECT_EQ(run_to_end({program("mserve-pin")}).exit_code, 2);
  EXPECT_EQ(run_to_end({program("mserve-pin"), "--help"}).exit_code, 0);
}

}  // namespace
}  // namespace mserve::test
