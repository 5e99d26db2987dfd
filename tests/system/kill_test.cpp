// SPDX-License-Identifier: Apache-2.0
// kill -9 of clients and servants: others go on, and what the dead left behind is put right.
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <thread>

#include "support/requests.hpp"

namespace mserve::test {
namespace {

/// A process that attaches as a client, does `what`, tells this test so and waits for its death.
class ClientProcess {
 public:
  ClientProcess(const Broker& broker, const std::function<void(RawPeer&)>& what) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(pipe(ends), 0);
    process_ = Process([&] {
      RawPeer peer = raw_client(broker);
      what(peer);
      (void)!write(ends[1], "x", 1);
      for (;;) {
        pause();
      }
      return 0;
    });
    close(ends[1]);
    char byte = 0;
    EXPECT_EQ(read(ends[0], &byte, 1), 1);
    close(ends[0]);
  }
  void kill() { process_.end(); }

 private:
  Process process_;
};

/// The same for a servant that takes one request and holds it for ever; held() waits for that.
class HoldingServant {
 public:
  HoldingServant(const Broker& broker, const std::string& name, bool begin_answer = false) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(pipe(ends), 0);
    process_ = Process([&] {
      RawPeer peer = raw_servant(broker, name);
      (void)!write(ends[1], "a", 1);
      const auto request = peer.take();
      if (begin_answer && request) {
        shm::FrameHeader reply;
        reply.kind = shm::Kind::reply;
        reply.flags = shm::kFlagOpaque;
        reply.id = request->header.id;
        (void)peer.fragment(reply, 0, 1'000'000, pattern(1000));
      }
      (void)!write(ends[1], "h", 1);
      for (;;) {
        pause();
      }
      return 0;
    });
    close(ends[1]);
    fd_ = shm::UniqueFd(ends[0]);
    expect('a');
  }
  void held() { expect('h'); }
  void kill() { process_.end(); }

 private:
  void expect(char wanted) {
    char byte = 0;
    EXPECT_EQ(read(fd_.get(), &byte, 1), 1);
    EXPECT_EQ(byte, wanted);
  }
  Process process_;
  shm::UniqueFd fd_;
};

TEST(KilledClient, IdleOneIsForgottenAndOthersGoOn) {
  const Broker broker(broker_with({}, 1));
  Client other = broker.client();
  broker.wait_for_counter("sessions", 2);
  ClientProcess victim(broker, [](RawPeer&) {});
  broker.wait_for_counter("sessions", 3);
  const std::size_t descriptors = broker.descriptors();
  victim.kill();
  broker.wait_for_counter("sessions", 2);
  (void)broker.wait_for_log("detached client=raw");
  EXPECT_LT(broker.descriptors(), descriptors);
  expect_echo(other, pattern(100));
}

TEST(KilledClient, WhoseChildKeepsTheSocketOpenIsForgottenToo) {
  // The hang-up does not come then; the pidfd tells.
  const Broker broker;
  int ends[2] = {-1, -1};
  ASSERT_EQ(pipe(ends), 0);
  ClientProcess victim(broker, [&ends](RawPeer&) {
    const pid_t child = fork();
    if (child == 0) {
      char byte = 0;
      close(ends[1]);
      (void)!read(ends[0], &byte, 1);  // until the test is done
      _exit(0);
    }
  });
  broker.wait_for_counter("sessions", 1);
  victim.kill();
  broker.wait_for_counter("sessions", 0);
  close(ends[0]);
  close(ends[1]);
}

TEST(KilledClient, ItsQueuedRequestsVanish) {
  const Broker broker;
  RawPeer servant = raw_servant(broker, "slow");
  broker.wait_for_counter("servants", 1);
  ClientProcess victim(broker, [](RawPeer& peer) {
    for (std::uint64_t id = 1; id <= 50; ++id) {
      (void)peer.request(id, pattern(1000));
    }
  });
  broker.wait_for_counter("queued", 49);
  const auto running = servant.take();
  ASSERT_TRUE(running);
  victim.kill();
  broker.wait_for_counter("queued", 0);
  // What runs is let finish, and its answer is dropped; then the servant serves the next client.
  Client other = broker.client();
  const std::uint64_t id = send_opaque(other, pattern(8));
  EXPECT_TRUE(servant.reply(running->header.id, pattern(1000)));
  const auto next = servant.take();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->payload, pattern(8));
  EXPECT_TRUE(servant.reply(next->header.id, next->payload));
  EXPECT_EQ(await(other, id).status, Errc::ok);
  broker.wait_for_counter("running", 0);
}

TEST(KilledClient, InTheMiddleOfALargeRequestFreesTheServant) {
  const Broker broker(broker_with({}, 1));
  ClientProcess victim(broker, [](RawPeer& peer) {
    shm::FrameHeader request;
    request.id = 1;
    request.flags = shm::kFlagOpaque;
    (void)peer.fragment(request, 0, 10'000'000, pattern(4000));
    (void)peer.fragment(request, 4000, 10'000'000, pattern(4000));
  });
  broker.wait_for_counter("running", 1);
  victim.kill();
  Client other = broker.client();
  expect_echo(other, pattern(100));
  broker.wait_for_counter("running", 0);
}

TEST(KilledClient, InTheMiddleOfALargeAnswerFreesTheServant) {
  const Broker broker(broker_with({}, 1));
  ClientProcess victim(broker, [](RawPeer& peer) {
    shm::FrameHeader request;
    request.id = 1;
    request.flags = shm::kFlagOpaque;
    const Bytes payload = pattern(4000);
    for (std::uint64_t offset = 0; offset < 400'000; offset += payload.size()) {
      (void)peer.fragment(request, offset, 400'000, payload);
    }
    (void)peer.take();  // the answer has begun; from here on nobody reads it
  });
  victim.kill();
  Client other = broker.client();
  expect_echo(other, pattern(100));
  broker.wait_for_counter("running", 0);
}

TEST(KilledServant, ItsRepeatableRequestIsAnsweredByAnother) {
  const Broker broker;
  HoldingServant victim(broker, "victim");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const Bytes payload = pattern(3000);
  const std::uint64_t id = send_opaque(client, payload, {.want_info = true, .repeatable = true});
  victim.held();
  const Process other = broker.spawn_servant("other", {"--rows", "0"});
  broker.wait_for_counter("servants", 2);
  victim.kill();
  const mserve::Reply reply = await(client, id);
  EXPECT_EQ(reply.status, Errc::ok) << to_string(reply.status);
  EXPECT_TRUE(
      std::equal(reply.payload.begin(), reply.payload.end(), payload.begin(), payload.end()));
  EXPECT_EQ(servant_of(reply), "other");
  broker.wait_for_counter("retried", 1);
}

TEST(KilledServant, ItsOtherRequestFailsWithServantDied) {
  const Broker broker;
  HoldingServant victim(broker, "victim");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t id = send_opaque(client, pattern(3000), {.repeatable = false});
  victim.held();
  const Process other = broker.spawn_servant("other", {"--rows", "0"});
  broker.wait_for_counter("servants", 2);
  victim.kill();
  EXPECT_EQ(await(client, id).status, Errc::servant_died);
  expect_echo(client, pattern(10));
}

TEST(KilledServant, TwiceInARowTheRequestFailsInsteadOfKillingAThird) {
  const Broker broker;
  HoldingServant first(broker, "first");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t id = send_opaque(client, pattern(3000), {.repeatable = true});
  first.held();
  HoldingServant second(broker, "second");
  broker.wait_for_counter("servants", 2);
  first.kill();
  second.held();
  RawPeer third = raw_servant(broker, "third");
  broker.wait_for_counter("servants", 2);
  second.kill();
  EXPECT_EQ(await(client, id).status, Errc::servant_died);
  EXPECT_FALSE(third.poll().has_value());
}

TEST(KilledServant, AfterItsAnswerBeganTheRequestIsNotRepeated) {
  const Broker broker;
  HoldingServant victim(broker, "victim", /*begin_answer=*/true);
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t id = send_opaque(client, pattern(100), {.repeatable = true});
  victim.held();
  broker.wait_for_counter("fragments_out", 1);
  const Process other = broker.spawn_servant("other", {"--rows", "0"});
  broker.wait_for_counter("servants", 2);
  victim.kill();
  EXPECT_EQ(await(client, id).status, Errc::servant_died);
  expect_echo(client, pattern(10));
}

TEST(KilledServant, InTheMiddleOfALargeRequestThatFailsWithServantDied) {
  const Broker broker;
  HoldingServant victim(broker, "victim");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  std::thread killer([&] {
    victim.held();
    victim.kill();
  });
  const auto reply = call_opaque(client, pattern(8U << 20), {.repeatable = true});
  killer.join();
  EXPECT_EQ(status_of(reply), Errc::servant_died);
}

TEST(KilledServant, LaunchedOneIsRestartedAndAttachesAgain) {
  const Broker broker(broker_with({}, 2));
  const std::vector<pid_t> before = broker.launched();
  ASSERT_EQ(before.size(), 2U);
  ASSERT_EQ(::kill(before[0], SIGKILL), 0);
  (void)broker.wait_for_log("servant_ended launched=");
  EXPECT_TRUE(wait_until([&] { return broker.log_lines("attached servant=").size() == 3; },
                         "the restarted servant to attach"));
  const std::vector<pid_t> after = broker.launched();
  ASSERT_EQ(after.size(), 2U);
  EXPECT_TRUE(gone(before[0]));
  EXPECT_FALSE(gone(before[1]));
  broker.wait_for_counter("servants", 2);
  Client client = broker.client();
  for (int i = 0; i < 10; ++i) {
    expect_echo(client, pattern(100));
  }
}

// The broker waited for it without end, and for its servants.
TEST(StoppedLauncher, KeepsNoBrokerFromEnding) {
  Broker broker(broker_with({}, 2));
  const std::vector<pid_t> servants = broker.launched();
  const pid_t launcher = broker.launcher();
  ASSERT_GT(launcher, 0);
  ASSERT_EQ(::kill(launcher, SIGSTOP), 0);
  broker.stop();
  for (const pid_t servant : servants) {
    EXPECT_TRUE(wait_until([&] { return gone(servant); }, "its servants to end"));
  }
}

TEST(KilledServant, WithManyRequestsInHandEachIsRepeatedWithItsOwnBytes) {
  // Goal: what is retained in the ring, what found no room there, and answers out of order. Twenty
  // requests of 6 kB for a ring of 64 KiB, which has wrapped before.
  BrokerSetup setup;
  setup.args = {"--servant-ring", "64k", "--gather-max", "16k", "--retain-max", "16k"};
  const Broker broker(setup);
  RawPeer victim = raw_servant(broker, "victim", 20);
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const auto ask = [&](std::uint32_t i) {
    return send_opaque(client, pattern(6000 + i, i), {.repeatable = true});
  };
  for (std::uint32_t i = 0; i < 25; ++i) {
    const std::uint64_t id = ask(i);
    const auto request = victim.take();
    ASSERT_TRUE(request);
    EXPECT_TRUE(victim.reply(request->header.id, request->payload));
    EXPECT_EQ(await(client, id).status, Errc::ok);
  }
  std::map<std::uint64_t, std::uint32_t> sent;
  for (std::uint32_t i = 0; i < 20; ++i) {
    sent[ask(i)] = i;
  }
  broker.wait_for_counter("running", 20);
  std::vector<Frame> held;
  while (held.size() < 5) {
    auto request = victim.take();
    ASSERT_TRUE(request);
    held.push_back(std::move(*request));
  }
  for (const std::size_t i : {3U, 1U}) {
    EXPECT_TRUE(victim.reply(held[i].header.id, held[i].payload));
  }
  broker.wait_for_counter("running", 18);
  const Process other = broker.spawn_servant("other", {"--rows", "0"});
  broker.wait_for_counter("servants", 2);
  victim.vanish();
  while (!sent.empty() && !HasFailure()) {
    ASSERT_EQ(client.wait(watchdog()), Errc::ok);
    client.poll_each([&](const mserve::Reply& reply) {
      ASSERT_EQ(sent.count(reply.id), 1U);
      const std::uint32_t i = sent[reply.id];
      EXPECT_EQ(reply.status, Errc::ok);
      EXPECT_EQ(Bytes(reply.payload.begin(), reply.payload.end()), pattern(6000 + i, i));
      sent.erase(reply.id);
    });
  }
  broker.wait_for_counter("retried", 18);
}

TEST(KilledServant, RealOneMidRequestLeavesTheAnswerToAnother) {
  // The only servant computes for a long time; a second one, with a small table, then answers
  // instead.
  const Broker broker;
  Process victim = broker.spawn_servant("victim", {"--rows", "20000000"});
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const auto id = send_query(client, make_query("proc2 `IBM", client), {}, watchdog());
  ASSERT_TRUE(id);
  broker.wait_for_counter("running", 1);
  const Process other = broker.spawn_servant("other", {"--rows", "100"});
  broker.wait_for_counter("servants", 2);
  victim.end();
  const mserve::Reply reply = await(client, id.value());
  const auto answer = answer_of(reply, "IBM");
  ASSERT_TRUE(answer) << to_string(answer.error().code);
  EXPECT_FALSE(answer.value().is_error());
  EXPECT_EQ(servant_of(reply), "other");
}

TEST(KilledServant, TheLastOneAndNoneToComeFailsWhatIsQueued) {
  const Broker broker;
  HoldingServant victim(broker, "victim");
  broker.wait_for_counter("servants", 1);
  Client client = broker.client();
  const std::uint64_t running = send_opaque(client, pattern(10));
  const std::uint64_t queued = send_opaque(client, pattern(10));
  victim.held();
  broker.wait_for_counter("queued", 1);
  victim.kill();
  EXPECT_EQ(await(client, running).status, Errc::servant_died);
  EXPECT_EQ(await(client, queued).status, Errc::no_servant);
}

}  // namespace
}  // namespace mserve::test
