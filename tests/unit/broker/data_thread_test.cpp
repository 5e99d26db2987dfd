// SPDX-License-Identifier: Apache-2.0
// A data thread that spins allocates nothing, and makes no system call, however many requests it
// moves, with --slow and --trace too; counted by support/count_allocations.hpp and by strace.
#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <array>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "mserve/shm/attachment.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/idle.hpp"
#include "mserve/shm/message.hpp"
#include "support/count_allocations.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"
#include "whole_broker.hpp"

namespace mserve::broker {
namespace {

using mserve::test::wait_until;

constexpr const char* kDataThread = "mserve-data";

shm::Attachment attach(const BrokerOptions& broker, shm::Role role, std::uint32_t credit) {
  shm::AttachOptions options;
  options.broker = broker.name;
  options.directory = broker.directory;
  options.role = role;
  options.name = "peer";
  options.credit = credit;
  std::string reason;
  auto opened = shm::Attachment::open(options, &reason);
  EXPECT_TRUE(opened) << reason;
  return std::move(opened).value();
}

/// Clients that sleep while they wait, so that the data thread has somebody to wake, and one that
/// asks for as much as it can; all of them and the servants are the test's own threads.
class Load {
 public:
  explicit Load(const BrokerOptions& broker)
      : client_(attach(broker, shm::Role::client, 1)),
        sleeper_(attach(broker, shm::Role::client, 1)) {
    for (std::size_t i = 0; i < kServants; ++i) {
      servants_.push_back(attach(broker, shm::Role::servant, kCredit));
    }
  }

  /// Moves `count` requests of one client in a window, and every kAwake-th of another one that
  /// sleeps until its answer is there. False after the watchdog.
  bool move(std::uint64_t count) {
    std::uint64_t asked = 0;
    std::uint64_t answered = 0;
    std::atomic<bool> over{false};
    std::thread sleeps([&] { ask_and_sleep(over); });
    const bool done = wait_until(
        [&] {
          for (int i = 0; i < kTurnsPerLook && answered < count; ++i) {
            while (asked < count && asked - answered < kWindow &&
                   send(client_, shm::Kind::request, asked + 1)) {
              ++asked;
            }
            serve();
            while (take(client_)) {
              ++answered;
            }
          }
          return answered == count;
        },
        "all answers");
    over.store(true, std::memory_order_release);
    // Its last question is answered as well.
    std::thread serves([&] {
      while (!slept_.load(std::memory_order_acquire)) {
        serve();
        std::this_thread::yield();
      }
    });
    sleeps.join();
    serves.join();
    slept_.store(false, std::memory_order_release);
    return done;
  }
  [[nodiscard]] std::uint64_t woken() const noexcept { return woken_; }

 private:
  // Where others want the cores too, each turn of the scheduler moves one window.
  static constexpr std::uint64_t kWindow = 8192;
  static constexpr std::uint32_t kCredit = 64;
  static constexpr std::size_t kServants = 32;
  static constexpr int kTurnsPerLook = 1000;
  static constexpr std::uint64_t kSleepNs = 100'000'000;
  static constexpr std::uint64_t kPatienceNs = 20'000'000'000;

  static bool send(shm::Attachment& from, shm::Kind kind, std::uint64_t id) {
    shm::FrameHeader head;
    head.kind = kind;
    head.flags = shm::kFlagOpaque;
    head.id = id;
    head.aux = kind == shm::Kind::request ? id % 3 : shm::pack({from.info().servant, 0});
    const std::array<std::byte, 40> payload{};
    const bool sent = shm::try_send_whole(from.outgoing(), head, {}, payload);
    from.wake_broker();
    return sent;
  }
  static bool take(shm::Attachment& at) {
    shm::FrameView view;
    if (at.incoming().front(view) != Errc::ok) {
      return false;
    }
    at.incoming().release();
    return true;
  }
  void serve() {
    for (shm::Attachment& servant : servants_) {
      shm::FrameView view;
      while (servant.incoming().front(view) == Errc::ok &&
             send(servant, shm::Kind::reply, view.header.id)) {
        servant.incoming().release();
      }
    }
  }
  void ask_and_sleep(const std::atomic<bool>& over) {
    for (std::uint64_t id = 1; !over.load(std::memory_order_acquire); ++id) {
      if (!send(sleeper_, shm::Kind::request, id)) {
        continue;
      }
      const std::uint64_t give_up = shm::steady_now() + kPatienceNs;
      while (!take(sleeper_) && shm::steady_now() < give_up) {
        (void)sleeper_.wait(shm::steady_now() + kSleepNs, shm::SleepOn::futex);
      }
      ++woken_;
    }
    slept_.store(true, std::memory_order_release);
  }

  std::vector<shm::Attachment> servants_;
  shm::Attachment client_;
  shm::Attachment sleeper_;
  std::uint64_t woken_ = 0;
  std::atomic<bool> slept_{false};
};

/// The kernel's number of the data thread; 0: there is none.
pid_t data_thread() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name == kDataThread) {
      return static_cast<pid_t>(std::stol(task.path().filename().string()));
    }
  }
  return 0;
}

std::string read(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Counts what the thread that it is told asks of the kernel.
class Tracer {
 public:
  explicit Tracer(pid_t thread) {
    (void)::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);  // a child may trace its parent
    process_.emplace(mserve::test::Spawn{
        .argv = {"strace", "-o", dir_.file("trace"), "-p", std::to_string(thread)},
        .stderr_path = dir_.file("said")});
    EXPECT_TRUE(
        wait_until([&] { return read(dir_.file("said")).find("attached") != std::string::npos; },
                   "strace to attach"))
        << read(dir_.file("said"));
  }
  static bool works() {
    const mserve::test::TempDir dir;
    return mserve::test::run_to_end({"strace", "-qq", "-o", dir.file("probe"), "true"}).exit_code ==
           0;
  }
  /// Ends it. @return a line for each system call.
  std::string calls() {
    process_->signal(SIGINT);
    (void)process_->wait();
    return read(dir_.file("trace"));
  }

 private:
  mserve::test::TempDir dir_;
  std::optional<mserve::test::Process> process_;
};

TEST(DataThread, MovesAMillionRequestsWithoutAnAllocationOrASystemCall) {
  if (mserve::test::kSanitized) {
    GTEST_SKIP() << "a sanitizer owns the allocator, and makes system calls of its own";
  }
  if (shm::usable_cores() < 2) {
    GTEST_SKIP() << "a spinning data thread needs a core of its own";
  }
  const bool traced = Tracer::works();
  const mserve::test::TempDir dir;
  mserve::test::WholeBroker broker;
  broker.options().slow = 0;  // it tells of each request, and other threads write that
  broker.options().trace = dir.file("requests.csv");
  broker.options().idle = shm::IdleStrategy::spin;
  broker.options().client_ring = broker.options().servant_ring = 1U << 20;
  broker.start();
  Load load(broker.options());
  ASSERT_TRUE(load.move(10'000));  // until all is warm
  const pid_t thread = data_thread();
  ASSERT_NE(thread, 0);
  std::optional<Tracer> tracer;
  if (traced) {
    tracer.emplace(thread);
  }
  mserve::test::allocating_thread.store(kDataThread, std::memory_order_release);
  const std::uint64_t before = mserve::test::allocations();
  EXPECT_TRUE(load.move(1'000'000));
  EXPECT_EQ(mserve::test::allocations() - before, 0U);
  EXPECT_TRUE(wait_until([&] { return read(dir.file("requests.csv")).size() > 1000; },
                         "requests to be traced"));
  EXPECT_GT(load.woken(), 0U) << "somebody slept, so that there was somebody to wake";
  // That they would have been seen: allocations by a thread of that name.
  std::thread([] {
    struct alignas(64) Line {
      std::uint64_t words[8] = {};
    };
    pthread_setname_np(pthread_self(), kDataThread);
    const std::vector<int> plain(100);
    const std::vector<Line> aligned(100);
  }).join();
  EXPECT_EQ(mserve::test::allocations() - before, 2U);
  mserve::test::allocating_thread.store(nullptr, std::memory_order_release);
  if (!tracer) {
    GTEST_SKIP() << "system calls were not looked at: strace is missing or may not trace here";
  }
  EXPECT_EQ(tracer->calls(), "");
}

}  // namespace
}  // namespace mserve::broker
