// SPDX-License-Identifier: Apache-2.0
// A servant is a process that kills itself with SIGKILL at a certain step. The table says how the
// request ends that it had, sent once as not to be repeated and once as to be; another servant goes
// on, and nothing is left over.
#include <gtest/gtest.h>

#include "crash/victim.hpp"
#include "support/requests.hpp"

namespace mserve::test {
namespace {

struct ServantStep {
  const char* step;
  bool has_request;   ///< It dies of a request; else before it could get any.
  std::size_t bytes;  ///< Of that request.
  Errc once;          ///< How it ends when it is not to be repeated,
  Errc again;         ///< and when it is.
  /// In the victim.
  void (*die_there)(const Broker& broker);
};

constexpr std::size_t kSmall = 3'000;
constexpr std::size_t kLarge = 4'000'000;  // streams, so it is never sent again
constexpr Errc kOk = Errc::ok;
constexpr Errc kDied = Errc::servant_died;

RawPeer attached_servant(const Broker& broker) {
  return raw_servant(broker, "victim");
}

/// Attached, and with its request in hand.
RawPeer asked(const Broker& broker, std::uint64_t& id) {
  RawPeer peer = attached_servant(broker);
  const auto request = peer.take();
  if (!request) {
    _exit(1);
  }
  id = request->header.id;
  return peer;
}

void begin_answer(RawPeer& peer, std::uint64_t id) {
  shm::FrameHeader reply;
  reply.kind = shm::Kind::reply;
  reply.flags = shm::kFlagOpaque;
  reply.id = id;
  (void)peer.fragment(reply, 0, 1'000'000, pattern(1000));
}

void die_claiming(const Broker& b) {
  std::uint64_t id = 0;
  RawPeer p = asked(b, id);
  claim_half(p);
  die();
}

void die_committed(const Broker& b) {
  std::uint64_t id = 0;
  RawPeer p = asked(b, id);
  commit_silently(p, shm::Kind::reply, id);
  die();
}

void die_answering(const Broker& b) {
  std::uint64_t id = 0;
  RawPeer p = asked(b, id);
  begin_answer(p, id);
  die();
}

void die_answered(const Broker& b) {
  std::uint64_t id = 0;
  const std::uint64_t before = b.counter("replies").value_or(0);
  RawPeer p = asked(b, id);
  (void)p.reply(id, pattern(10));
  b.wait_for_counter("replies", before + 1);
  die();
}

void die_detached(const Broker& b) {
  std::uint64_t id = 0;
  RawPeer p = asked(b, id);
  p.vanish();
  die();
}

// clang-format off
const ServantStep kServantSteps[] = {
    // step                    request        not to be repeated | to be    until then
    {"attach: connected",      false, kSmall, kOk,   kOk, [](const Broker& b) { die_attaching(b, shm::Role::servant, AttachStep::connected); }},
    {"attach: hello",          false, kSmall, kOk,   kOk, [](const Broker& b) { die_attaching(b, shm::Role::servant, AttachStep::said_hello); }},
    {"attach: welcomed",       false, kSmall, kOk,   kOk, [](const Broker& b) { die_attaching(b, shm::Role::servant, AttachStep::welcomed); }},
    {"attach: mapped",         false, kSmall, kOk,   kOk, [](const Broker& b) { die_attaching(b, shm::Role::servant, AttachStep::mapped); }},
    {"attach: attached",       false, kSmall, kOk,   kOk, [](const Broker& b) { const RawPeer p = attached_servant(b); die(); }},
    {"dispatch, unread",       true,  kSmall, kDied, kOk, [](const Broker& b) { RawPeer p = attached_servant(b); await_ready(p); die(); }},
    {"dispatch, read",         true,  kSmall, kDied, kOk, [](const Broker& b) { RawPeer p = attached_servant(b); await_front(p); die(); }},
    {"mid-fragment",           true,  kLarge, kDied, kDied, [](const Broker& b) { RawPeer p = attached_servant(b); (void)p.take(); die(); }},
    {"claim",                  true,  kSmall, kDied, kOk, die_claiming},
    {"commit",                 true,  kSmall, kOk,   kOk, die_committed},
    {"reply, mid-fragment",    true,  kSmall, kDied, kDied, die_answering},
    {"reply",                  true,  kSmall, kOk,   kOk, die_answered},
    {"detach, idle",           false, kSmall, kOk,   kOk, [](const Broker& b) { RawPeer p = attached_servant(b); p.vanish(); die(); }},
    {"detach, mid-request",    true,  kSmall, kDied, kOk, die_detached},
};
// clang-format on

BrokerSetup with_another_servant() {
  BrokerSetup setup;
  setup.args = {"--policy", "even"};  // in turn: after the other one comes the victim
  setup.servants = 1;
  setup.servant_args = "--rows 0";
  return setup;
}

class KilledServantAt : public ::testing::TestWithParam<bool> {
 protected:
  KilledServantAt() : broker_(with_another_servant()), client_(broker_.client()) {
    broker_.wait_for_counter("sessions", 2);
  }

  /// The request of one row, from before its servant is there until the servant is dead.
  Errc run(const ServantStep& row) {
    Process victim([&] {
      row.die_there(broker_);
      return 1;
    });
    Errc status = Errc::ok;
    if (row.has_request) {
      broker_.wait_for_counter("servants", 2);
      status = status_of(call_opaque(client_, pattern(row.bytes), {.repeatable = GetParam()}));
      EXPECT_EQ(victim.wait(), 128 + SIGKILL);
    } else {
      EXPECT_EQ(victim.wait(), 128 + SIGKILL);
      broker_.wait_for_counter("sessions", 2);
      status = status_of(call_opaque(client_, pattern(row.bytes), {.repeatable = GetParam()}));
    }
    broker_.wait_for_counter("sessions", 2);
    return status;
  }

  [[nodiscard]] static Books books_of(const ServantStep& row) {
    const bool ok = (GetParam() ? row.again : row.once) == Errc::ok;
    const bool retried = GetParam() && row.once != row.again;
    return {.requests = 1,
            .replies = ok ? 1 : 0,
            .errors = ok ? 0 : 1,
            .discarded = 0,
            .retried = retried ? 1 : 0};
  }

  Broker broker_;
  Client client_;
};

INSTANTIATE_TEST_SUITE_P(Requests, KilledServantAt, ::testing::Values(false, true),
                         [](const auto& kind) {
                           return kind.param ? std::string("Repeatable") : std::string("Once");
                         });

TEST_P(KilledServantAt, EveryStepEndsTheRequestOnceAndLeavesNothingBehind) {
  expect_echo(client_, pattern(77));
  const Holdings before = holdings_of(broker_.pid());
  const std::size_t files = count_entries(broker_.directory());
  for (const ServantStep& row : kServantSteps) {
    SCOPED_TRACE(row.step);
    expect_echo(client_, pattern(77));  // by the other one
    const Books books_before = Books::of(broker_);
    EXPECT_EQ(run(row), GetParam() ? row.again : row.once);
    const Books wanted = books_of(row);
    EXPECT_TRUE(wait_until(
        [&] {
          const Books books = Books::of(broker_) - books_before;
          // Some counters are told once a millisecond.
          return books.closed() && broker_.counter("running") == 0U &&
                 (wanted.retried == kEither || books.retried >= wanted.retried);
        },
        "the books to be closed"));
    (Books::of(broker_) - books_before).expect(wanted);
    EXPECT_EQ(client_.in_flight() + client_.unread(), 0U) << "answered twice";
    expect_echo(client_, pattern(77));
    (void)expect_holdings(broker_.pid(), before, "what the broker holds");
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_EQ(broker_.counter("servants"), 1U);
  EXPECT_EQ(count_entries(broker_.directory()), files);
  EXPECT_EQ(broker_.shared_objects(), Broker::kSharedObjects);
  EXPECT_EQ(broker_.counter("closed_total"), 0U);
}

}  // namespace
}  // namespace mserve::test
