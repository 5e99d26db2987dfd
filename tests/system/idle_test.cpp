// SPDX-License-Identifier: Apache-2.0
// Every idle strategy carries every size, with peers that spin, sleep on their socket or on a
// futex.
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <thread>

#include "mserve/shm/attachment.hpp"
#include "mserve/shm/clock.hpp"
#include "support/requests.hpp"

namespace mserve::test {
namespace {

constexpr std::size_t kSizes[] = {10, 20'000, 300'000, 3'000'000};

/// A servant in a thread of this process that echoes and sleeps in the given way between requests.
class SleepingServant {
 public:
  SleepingServant(const Broker& broker, const std::string& name, shm::SleepOn how)
      : thread_([this, &broker, name, how] { run(broker, name, how); }) {}
  ~SleepingServant() {
    stop_.store(true, std::memory_order_release);
    thread_.join();
  }

 private:
  void run(const Broker& broker, const std::string& name, shm::SleepOn how) {
    shm::AttachOptions options;
    options.broker = broker.name();
    options.directory = broker.directory();
    options.role = shm::Role::servant;
    options.name = name;
    auto attached = shm::Attachment::open(options);
    ASSERT_TRUE(attached) << to_string(attached.error().code);
    shm::Attachment a = std::move(attached).value();
    shm::Assembler assembler(64U << 20);
    while (!stop_.load(std::memory_order_acquire)) {
      if (a.wait(shm::steady_now() + 10'000'000, how) == Errc::disconnected) {
        break;
      }
      shm::FrameView frame;
      while (a.incoming().front(frame) == Errc::ok) {
        const shm::FrameHeader request = frame.header;
        Bytes message;
        const bool whole = take(frame, assembler, message);
        a.incoming().release();
        if (whole) {
          answer(a, request, message);
        }
      }
    }
  }
  static bool take(const shm::FrameView& frame, shm::Assembler& assembler, Bytes& message) {
    shm::Extensions extensions;
    EXPECT_TRUE(shm::parse_extensions(frame.extensions, extensions));
    if (extensions.has_flow) {
      return assembler.add(frame.header.id, extensions.flow, frame.payload, message) == Errc::ok;
    }
    message.assign(frame.payload.begin(), frame.payload.end());
    return true;
  }
  void answer(shm::Attachment& a, const shm::FrameHeader& request, const Bytes& message) {
    shm::FrameHeader reply;
    reply.kind = shm::Kind::reply;
    reply.flags = shm::kFlagOpaque;
    reply.id = request.id;
    const bool whole = message.size() <= shm::whole_payload_bytes_max(a.outgoing().capacity());
    shm::FlowWriter flow(reply, message);
    bool done = false;
    while (!done && !stop_.load(std::memory_order_acquire)) {
      const bool moved =
          whole ? shm::try_send_whole(a.outgoing(), reply, {}, message) : flow.step(a.outgoing());
      done = whole ? moved : flow.done();
      if (moved) {
        a.wake_broker();
      } else {
        sched_yield();
      }
    }
  }

  std::atomic<bool> stop_{false};
  std::thread thread_;
};

struct Placement {
  const char* idle;
  int core;  ///< Everything on this core; -1: wherever there is room.
};

class Idle : public ::testing::TestWithParam<Placement> {
 protected:
  void SetUp() override {
    ASSERT_EQ(sched_getaffinity(0, sizeof(before_), &before_), 0);
    if (GetParam().core >= 0) {
      // The first core that we may use at all.
      for (std::size_t core = 0; core < CPU_SETSIZE && core_ < 0; ++core) {
        core_ = CPU_ISSET(core, &before_) ? static_cast<int>(core) : -1;
      }
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(static_cast<std::size_t>(core_), &one);
      ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    }
  }
  void TearDown() override { (void)sched_setaffinity(0, sizeof(before_), &before_); }
  cpu_set_t before_{};
  int core_ = -1;
};

TEST_P(Idle, CarriesAMixedWorkload) {
  BrokerSetup setup;
  setup.args = {"--idle", GetParam().idle, "--stall-timeout", "30s"};
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  setup.core = core_;
  const Broker broker(setup);
  const SleepingServant on_futex(broker, "on-futex", shm::SleepOn::futex);
  const SleepingServant on_socket(broker, "on-socket", shm::SleepOn::socket);
  broker.wait_for_counter("servants", 3);
  const bool spins_on_one = core_ >= 0 && std::string(GetParam().idle) == "spin";
  std::vector<std::thread> clients;
  for (std::uint32_t i = 0; i < 3; ++i) {
    clients.emplace_back([&broker, i, spins_on_one] {
      ClientOptions options;
      options.idle = i == 0 ? shm::IdleStrategy::park : shm::IdleStrategy::automatic;
      Client client = broker.client(options);
      // Spinners that share one core give it up by the tick alone.
      const std::uint32_t rounds = spins_on_one ? 6 : 12;
      for (std::uint32_t round = 0; round < rounds && !HasFailure(); ++round) {
        // Mostly small ones; each client meets every size.
        const std::size_t size = round % 3 == 2 ? kSizes[(round / 3 + i) % 4] : kSizes[0] + round;
        expect_echo(client, pattern(size, i * 100 + round));
      }
    });
  }
  for (std::thread& client : clients) {
    client.join();
  }
  EXPECT_EQ(broker.counter("closed_total"), 0U);
}

std::string placement_name(const ::testing::TestParamInfo<Placement>& test) {
  return std::string(test.param.idle) + (test.param.core < 0 ? "" : "OnOneCore");
}
INSTANTIATE_TEST_SUITE_P(Strategies, Idle,
                         ::testing::Values(Placement{"spin", -1}, Placement{"yield", -1},
                                           Placement{"park", -1}, Placement{"auto", -1},
                                           Placement{"spin", 0}, Placement{"yield", 0},
                                           Placement{"park", 0}, Placement{"auto", 0}),
                         placement_name);

TEST(IdleBroker, ThatParksWakesForASingleRequestAgainAndAgain) {
  BrokerSetup setup;
  setup.args = {"--idle", "park", "--cool", "1ms"};
  setup.servants = 1;
  setup.servant_args = "--rows 0 --idle park";
  const Broker broker(setup);
  ClientOptions options;
  options.idle = shm::IdleStrategy::park;
  Client client = broker.client(options);
  for (int i = 0; i < 20; ++i) {
    const std::uint64_t sleeps = broker.counter("sleeps").value_or(0);
    EXPECT_TRUE(wait_until([&] { return broker.counter("sleeps").value_or(0) > sleeps; },
                           "the broker to sleep"));
    expect_echo(client, pattern(64));
  }
}

TEST(IdleBroker, ThatSpinsWakesPeersThroughItsWaker) {
  BrokerSetup setup;
  setup.args = {"--idle", "spin"};
  setup.servants = 1;
  setup.servant_args = "--rows 0 --idle park";
  const Broker broker(setup);
  ClientOptions options;
  options.idle = shm::IdleStrategy::park;
  Client client = broker.client(options);
  for (int i = 0; i < 20; ++i) {
    expect_echo(client, pattern(64));
  }
  EXPECT_EQ(broker.counter("sleeps"), 0U);
}

}  // namespace
}  // namespace mserve::test
