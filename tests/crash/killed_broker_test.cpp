// SPDX-License-Identifier: Apache-2.0
// The broker is killed with SIGKILL when it has come to a certain step, as its peers, which are
// this test, can tell. Each request ends once, the next broker serves the same client, and nothing
// is left over here, in its directory or in shared memory.
#include <gtest/gtest.h>

#include <csignal>
#include <iostream>
#include <map>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>

#include "crash/victim.hpp"
#include "support/requests.hpp"
#include "support/seed.hpp"

namespace mserve::test {
namespace {

/// The parts of a scene: the client stays from row to row, the servant is made anew.
struct Scene {
  Broker& broker;
  Client& client;
  std::optional<RawPeer> servant;
};

struct BrokerStep {
  const char* step;
  Errc status;  ///< Of the client's request.
  /// Brings the broker to that step and kills it there. @return what the request came to.
  Errc (*kill_there)(Scene& scene);
};

Errc kill_while_attaching(Scene& scene, AttachStep step) {
  const std::uint64_t id = send_opaque(scene.client, pattern(10));
  EXPECT_TRUE(scene.servant->take());
  try {
    const RawPeer peer(scene.broker, RawSetup{.at = [&](AttachStep now) {
                         if (now == step) {
                           scene.broker.kill();
                         }
                       }});
    ADD_FAILURE() << "attached to a dead broker";
  } catch (const std::runtime_error&) {
    // Its peer learned of it at once, in the middle of the handshake.
  }
  return await(scene.client, id).status;
}

/// A broker that stands still takes nothing that is committed meanwhile.
Errc kill_with_untaken_request(Scene& scene) {
  scene.broker.process().signal(SIGSTOP);
  const std::uint64_t id = send_opaque(scene.client, pattern(10));
  scene.broker.kill();
  return await(scene.client, id).status;
}

Errc kill_with_queued_request(Scene& scene) {
  const std::uint64_t first = send_opaque(scene.client, pattern(10));
  const std::uint64_t id = send_opaque(scene.client, pattern(10));
  scene.broker.wait_for_counter("queued", 1);
  scene.broker.kill();
  EXPECT_EQ(await(scene.client, first).status, Errc::disconnected);
  return await(scene.client, id).status;
}

Errc kill_with_running_request(Scene& scene) {
  const std::uint64_t id = send_opaque(scene.client, pattern(10));
  EXPECT_TRUE(scene.servant->take());
  scene.broker.kill();
  return await(scene.client, id).status;
}

Errc kill_in_large_request(Scene& scene) {
  Errc status = Errc::ok;
  std::thread caller([&] { status = status_of(call_opaque(scene.client, pattern(16U << 20))); });
  EXPECT_TRUE(scene.servant->take());
  EXPECT_TRUE(scene.servant->take());
  scene.broker.kill();
  caller.join();
  return status;
}

Errc kill_with_untaken_answer(Scene& scene) {
  const std::uint64_t id = send_opaque(scene.client, pattern(10));
  const auto request = scene.servant->take();
  scene.broker.process().signal(SIGSTOP);
  EXPECT_TRUE(request && scene.servant->reply(request->header.id, pattern(10)));
  scene.broker.kill();
  return await(scene.client, id).status;
}

Errc kill_in_large_answer(Scene& scene) {
  const std::uint64_t id = send_opaque(scene.client, pattern(10));
  const auto request = scene.servant->take();
  shm::FrameHeader head;
  head.kind = shm::Kind::reply;
  head.flags = shm::kFlagOpaque;
  head.id = request ? request->header.id : 0;
  EXPECT_TRUE(scene.servant->fragment(head, 0, 1'000'000, pattern(1000)));
  scene.broker.wait_for_counter("fragments_out", 1);
  scene.broker.kill();
  return await(scene.client, id).status;
}

/// What had arrived before is delivered.
Errc kill_behind_unread_answer(Scene& scene) {
  const std::uint64_t id = send_opaque(scene.client, pattern(10));
  const auto request = scene.servant->take();
  EXPECT_TRUE(request && scene.servant->reply(request->header.id, pattern(10)));
  // Answers of one servant are passed on in turn: behind the next one, this one was.
  RawPeer other = raw_client(scene.broker);
  EXPECT_TRUE(other.request(1, pattern(10)));
  const auto next = scene.servant->take();
  EXPECT_TRUE(next && scene.servant->reply(next->header.id, pattern(10)));
  EXPECT_TRUE(other.take());
  scene.broker.kill();
  return await(scene.client, id).status;
}

Errc kill_while_others_leave(Scene& scene) {
  const std::uint64_t id = send_opaque(scene.client, pattern(10));
  EXPECT_TRUE(scene.servant->take());
  std::vector<RawPeer> leaving;
  for (int i = 0; i < 10; ++i) {
    leaving.push_back(raw_client(scene.broker));
  }
  leaving.clear();
  scene.broker.kill();
  return await(scene.client, id).status;
}

Errc kill_while_it_drains(Scene& scene) {
  const std::uint64_t id = send_opaque(scene.client, pattern(10));
  EXPECT_TRUE(scene.servant->take());
  scene.broker.process().signal(SIGTERM);
  (void)scene.broker.wait_for_log("draining");
  scene.broker.kill();
  return await(scene.client, id).status;
}

// clang-format off
const BrokerStep kBrokerSteps[] = {
    {"attach: connected",        Errc::disconnected, [](Scene& s) { return kill_while_attaching(s, AttachStep::connected); }},
    {"attach: hello",            Errc::disconnected, [](Scene& s) { return kill_while_attaching(s, AttachStep::said_hello); }},
    {"attach: welcomed",         Errc::disconnected, [](Scene& s) { return kill_while_attaching(s, AttachStep::welcomed); }},
    {"attach: mapped",           Errc::disconnected, [](Scene& s) { return kill_while_attaching(s, AttachStep::mapped); }},
    {"commit, not taken",        Errc::disconnected, kill_with_untaken_request},
    {"queued",                   Errc::disconnected, kill_with_queued_request},
    {"dispatch",                 Errc::disconnected, kill_with_running_request},
    {"mid-fragment",             Errc::disconnected, kill_in_large_request},
    {"answer, not taken",        Errc::disconnected, kill_with_untaken_answer},
    {"reply, mid-fragment",      Errc::disconnected, kill_in_large_answer},
    {"reply, not read",          Errc::ok,           kill_behind_unread_answer},
    {"detach of others",         Errc::disconnected, kill_while_others_leave},
    {"draining, after SIGTERM",  Errc::disconnected, kill_while_it_drains},
};
// clang-format on

TEST(KilledBrokerAt, EveryStepEndsEachRequestOnceAndTheNextBrokerServesTheSameClient) {
  Broker broker;
  Client client = broker.client({.retry_ns_max = 20'000'000});
  const std::size_t files = count_entries(broker.directory());
  const Holdings before = holdings_of(getpid());
  for (const BrokerStep& row : kBrokerSteps) {
    SCOPED_TRACE(row.step);
    {
      Scene scene{broker, client, raw_servant(broker, "servant")};
      broker.wait_for_counter("servants", 1);
      EXPECT_EQ(row.kill_there(scene), row.status);
      EXPECT_EQ(client.in_flight() + client.unread(), 0U) << "ended twice";
      EXPECT_EQ(scene.servant->wait_closed().status, Errc::disconnected);
    }
    EXPECT_EQ(broker.shared_objects(), Broker::kSharedObjects)
        << "its counters and monitor, which the next one replaces";
    broker.start();
    EXPECT_EQ(broker.shared_objects(), Broker::kSharedObjects);
    EXPECT_EQ(client.reconnect(watchdog()), Errc::ok);
    (void)expect_holdings(getpid(), before, "what its peers hold");
    EXPECT_EQ(count_entries(broker.directory()), files);
    ASSERT_FALSE(HasFailure());
  }
  broker.stop();
  EXPECT_EQ(broker.shared_objects(), 0U);
}

/// Where requests were when their broker died, by its own counters, which outlive it.
struct Hit {
  std::uint64_t not_taken = 0;
  std::uint64_t queued = 0;
  std::uint64_t running = 0;
  std::uint64_t answered = 0;
};

TEST(KilledBrokerAt, RandomMomentsUnderLoadEndEachRequestOnce) {
  std::mt19937_64 random(seed());
  BrokerSetup setup;
  setup.servants = 2;
  setup.servant_args = "--rows 0";
  Broker broker(setup);
  Client client = broker.client({.retry_ns_max = 20'000'000});
  Hit hit;
  std::map<Errc, std::uint64_t> ends;
  for (int round = 0; round < 6; ++round) {
    std::map<std::uint64_t, Bytes> in_flight;
    std::uint64_t sent = 0;
    std::uint64_t ended = 0;
    const auto take = [&](const mserve::Reply& reply) {
      const auto found = in_flight.find(reply.id);
      ASSERT_NE(found, in_flight.end()) << "ended twice";
      if (reply.status == Errc::ok) {
        EXPECT_EQ(Bytes(reply.payload.begin(), reply.payload.end()), found->second);
      }
      ++ends[reply.status];
      ++ended;
      in_flight.erase(found);
    };
    std::thread killer([&broker, pause = random() % 15'000'000] {
      let_pass(pause);
      broker.process().signal(SIGKILL);
    });
    for (;;) {
      Bytes payload = pattern(random() % 30'000, static_cast<std::uint32_t>(random()));
      const auto id = client.send(payload, {.opaque = true}, watchdog());
      if (!id) {
        break;
      }
      ++sent;
      in_flight.emplace(id.value(), std::move(payload));
      while (in_flight.size() > 15 && client.attached()) {
        (void)client.wait(watchdog());
        client.poll_each(take);
      }
    }
    killer.join();
    (void)broker.process().wait();
    EXPECT_TRUE(wait_until(
        [&] {
          client.poll_each(take);
          return in_flight.empty();
        },
        "every request to end"));
    EXPECT_EQ(sent, ended);
    const std::uint64_t taken = broker.counter("requests").value_or(0);
    hit.not_taken += sent - std::min(sent, taken);
    hit.queued += broker.counter("queued").value_or(0);
    hit.running += broker.counter("running").value_or(0);
    hit.answered += broker.counter("replies").value_or(0);
    broker.start();
    EXPECT_EQ(client.reconnect(watchdog()), Errc::ok);
    expect_echo(client, pattern(100));
    ASSERT_FALSE(HasFailure());
  }
  std::cout << "when brokers died, requests were: not taken " << hit.not_taken << ", queued "
            << hit.queued << ", running " << hit.running << ", answered " << hit.answered
            << "; they ended: ";
  for (const auto& [status, count] : ends) {
    std::cout << to_string(status) << ' ' << count << ' ';
    EXPECT_TRUE(status == Errc::ok || status == Errc::disconnected) << to_string(status);
  }
  std::cout << '\n';
}

}  // namespace
}  // namespace mserve::test
