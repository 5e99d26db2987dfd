// SPDX-License-Identifier: Apache-2.0
// A client is a process that kills itself with SIGKILL at a certain step. The table below says what
// becomes of its requests; whatever the step, others go on and nothing is left over.
#include <gtest/gtest.h>

#include "crash/victim.hpp"
#include "support/requests.hpp"

namespace mserve::test {
namespace {

/// What the servant, which is this test, does with the victim's request.
enum class Serving : std::uint8_t {
  later,  ///< Nothing until the victim is dead.
  whole,  ///< Answers it at once.
  part,   ///< Sends the first fragment of the answer at once, the others when the victim is dead.
};

struct ClientStep {
  const char* step;
  Serving serving;
  Books books;  ///< What the broker counts because of it.
  /// In the victim, which attaches by itself and never returns from here.
  void (*die_there)(const Broker& broker);
};

constexpr std::uint64_t kAnswerBytes = 400'000;
constexpr std::uint64_t kPartBytes = 4'000;

RawPeer attached_client(const Broker& broker) {
  return raw_client(broker);
}

void ask(RawPeer& peer, std::uint64_t id = 1) {
  (void)peer.request(id, pattern(1000));
}

void send_first_of(RawPeer& peer, std::uint64_t total) {
  shm::FrameHeader head;
  head.id = 1;
  head.flags = shm::kFlagOpaque;
  (void)peer.fragment(head, 0, total, pattern(4000));
  (void)peer.fragment(head, 4000, total, pattern(4000));
}

void die_while_it_is_gathered(const Broker& broker) {
  RawPeer peer = attached_client(broker);
  const std::uint64_t before = broker.counter("fragments_in").value_or(0);
  send_first_of(peer, 100'000);
  broker.wait_for_counter("fragments_in", before + 2);
  die();
}

// clang-format off
const ClientStep kClientSteps[] = {
    // step                 servant          what is counted                         until then
    {"attach: connected",   Serving::later, {},                                      [](const Broker& b) { die_attaching(b, shm::Role::client, AttachStep::connected); }},
    {"attach: hello",       Serving::later, {},                                      [](const Broker& b) { die_attaching(b, shm::Role::client, AttachStep::said_hello); }},
    {"attach: welcomed",    Serving::later, {},                                      [](const Broker& b) { die_attaching(b, shm::Role::client, AttachStep::welcomed); }},
    {"attach: mapped",      Serving::later, {},                                      [](const Broker& b) { die_attaching(b, shm::Role::client, AttachStep::mapped); }},
    {"attach: attached",    Serving::later, {},                                      [](const Broker& b) { const RawPeer p = attached_client(b); die(); }},
    {"claim",               Serving::later, {},                                      [](const Broker& b) { RawPeer p = attached_client(b); claim_half(p); die(); }},
    {"commit",              Serving::later, {.requests = kEither, .discarded = kEither}, [](const Broker& b) { RawPeer p = attached_client(b); commit_silently(p, shm::Kind::request, 1); die(); }},
    {"queued",              Serving::later, {.requests = 2, .discarded = 2},         [](const Broker& b) { RawPeer p = attached_client(b); ask(p, 1); ask(p, 2); b.wait_for_counter("queued", 1); die(); }},
    {"dispatch",            Serving::later, {.requests = 1, .discarded = 1},         [](const Broker& b) { RawPeer p = attached_client(b); ask(p); b.wait_for_counter("running", 1); die(); }},
    {"cancel",              Serving::later, {.requests = 1, .discarded = 1},         [](const Broker& b) { RawPeer p = attached_client(b); ask(p); b.wait_for_counter("running", 1); say_cancel(p, 1); die(); }},
    {"mid-fragment, small", Serving::later, {},                                      die_while_it_is_gathered},
    {"mid-fragment, large", Serving::later, {.requests = 1, .discarded = 1},         [](const Broker& b) { RawPeer p = attached_client(b); send_first_of(p, 10'000'000); b.wait_for_counter("running", 1); die(); }},
    {"reply, unread",       Serving::whole, {.requests = 1, .replies = 1},           [](const Broker& b) { RawPeer p = attached_client(b); ask(p); await_front(p); die(); }},
    {"reply, read",         Serving::whole, {.requests = 1, .replies = 1},           [](const Broker& b) { RawPeer p = attached_client(b); ask(p); (void)p.take(); die(); }},
    {"reply, mid-fragment", Serving::part,  {.requests = 1, .discarded = 1},         [](const Broker& b) { RawPeer p = attached_client(b); ask(p); (void)p.take(); die(); }},
    {"detach, idle",        Serving::later, {},                                      [](const Broker& b) { RawPeer p = attached_client(b); p.vanish(); die(); }},
    {"detach, mid-request", Serving::later, {.requests = 1, .discarded = 1},         [](const Broker& b) { RawPeer p = attached_client(b); ask(p); b.wait_for_counter("running", 1); p.vanish(); die(); }},
};
// clang-format on

class KilledClientAt : public ::testing::Test {
 protected:
  KilledClientAt() : servant_(raw_servant(broker_, "servant")), other_(broker_.client()) {
    broker_.wait_for_counter("sessions", 2);
  }

  void send_part(std::uint64_t id, std::uint64_t offset) {
    shm::FrameHeader head;
    head.kind = shm::Kind::reply;
    head.flags = shm::kFlagOpaque;
    head.id = id;
    EXPECT_TRUE(servant_.fragment(head, offset, kAnswerBytes, pattern(kPartBytes)));
  }
  void abort(std::uint64_t id) {
    shm::FrameHeader head;
    head.kind = shm::Kind::abort;
    head.id = id;
    EXPECT_TRUE(servant_.send(head, {}, {}));
  }

  /// While the victim lives.
  void serve_at_once(Serving how, Process& victim) {
    EXPECT_TRUE(wait_until(
        [&] {
          if (how != Serving::later) {
            if (const auto frame = servant_.poll()) {
              begun_ = frame->header.id;
              how == Serving::whole ? (void)servant_.reply(begun_, pattern(10))
                                    : send_part(begun_, 0);
            }
          }
          return victim.ended();
        },
        "the victim to kill itself"));
    EXPECT_EQ(victim.exit_code(), 128 + SIGKILL);
  }

  /// When it is dead: whatever the broker still has for us gets its answer, until each request is
  /// found again.
  void serve_the_rest(Serving how, const Books& before) {
    broker_.wait_for_counter("sessions", 2);
    if (how == Serving::part) {
      for (std::uint64_t at = kPartBytes; at < kAnswerBytes; at += kPartBytes) {
        send_part(begun_, at);
      }
    }
    EXPECT_TRUE(wait_until(
        [&] {
          while (const auto frame = servant_.poll()) {
            if (frame->header.kind == shm::Kind::abort) {
              abort(frame->header.id);
            } else if (!frame->extensions.has_flow) {
              EXPECT_TRUE(servant_.reply(frame->header.id, pattern(10)));
            }
          }
          return (Books::of(broker_) - before).closed() && broker_.counter("running") == 0U &&
                 broker_.counter("queued") == 0U;
        },
        "the books to be closed"));
  }

  void expect_others_go_on() {
    const std::uint64_t id = send_opaque(other_, pattern(77));
    auto next = servant_.take();
    while (next && (next->header.kind != shm::Kind::request || next->extensions.has_flow)) {
      next = servant_.take();  // what was left of a large request, and that it was given up
    }
    ASSERT_TRUE(next);
    EXPECT_EQ(next->payload, pattern(77));
    EXPECT_TRUE(servant_.reply(next->header.id, next->payload));
    EXPECT_EQ(await(other_, id).status, Errc::ok);
  }

  Broker broker_;
  RawPeer servant_;
  Client other_;
  std::uint64_t begun_ = 0;
};

TEST_F(KilledClientAt, EveryStepLeavesOthersAloneAndNothingBehind) {
  expect_others_go_on();
  const Holdings before = holdings_of(broker_.pid());
  const std::size_t files = count_entries(broker_.directory());
  for (const ClientStep& row : kClientSteps) {
    SCOPED_TRACE(row.step);
    const Books books_before = Books::of(broker_);
    Process victim([&] {
      row.die_there(broker_);
      return 1;
    });
    serve_at_once(row.serving, victim);
    serve_the_rest(row.serving, books_before);
    (Books::of(broker_) - books_before).expect(row.books);
    expect_others_go_on();
    (void)expect_holdings(broker_.pid(), before, "what the broker holds");
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_EQ(count_entries(broker_.directory()), files);
  EXPECT_EQ(broker_.shared_objects(), Broker::kSharedObjects);
  EXPECT_TRUE(other_.attached());
  EXPECT_EQ(broker_.counter("closed_total"), 0U);
}

}  // namespace
}  // namespace mserve::test
