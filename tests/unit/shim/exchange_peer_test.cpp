// SPDX-License-Identifier: Apache-2.0
// --peer: what goes to another broker's gateway, and what comes back.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "mserve/kdb/compress.hpp"
#include "unit/shim/peer_desk.hpp"

namespace mserve::shim {
namespace {

using kdb::MessageKind;
using kdb::Value;

Value info(Errc status) {
  return options(
      {"qsvr", "elapsed", "execution", "route", "backlog", "remaining", "mserve_status", "mem"},
      {Value::symbol("hdb-1"), Value::long_atom(3), Value::long_atom(2), Value::symbol("IBM"),
       Value::long_atom(0), Value::long_atom(0),
       Value::long_atom(static_cast<std::int64_t>(status)), Value::long_atom(99)});
}

TEST(ExchangePeer, TheTermsOfARequestGoWithIt) {
  Desk d(shape());
  const std::vector<std::byte> query = kdb::encode(text("f 1"));
  std::byte terms[shm::ext_bytes_of(sizeof(shm::DeadlineExt))];
  (void)shm::put_extension(terms, shm::ExtType::deadline, 4U | shm::kDeadlineVouched,
                           shm::DeadlineExt{.queue_ns = 500, .run_ns = 0});
  const Value given = options({"user", "role"}, {Value::symbol("ken"), Value::symbol("user")});
  ASSERT_TRUE(shm::try_send_whole(d.to, Desk::header(5, shm::kFlagPair | shm::kFlagRepeatable),
                                  terms, Desk::pair(text("f 1"), given)));
  ASSERT_TRUE(d.send(6, query));
  d.run();
  EXPECT_GT(
      expect_request(d, text("f 1"),
                     options({"user", "role", "hop", "queue_timeout", "priority"},
                             {Value::symbol("ken"), Value::symbol("user"), Value::long_atom(1),
                              Value::timespan(500), Value::long_atom(3)})),
      0);
  EXPECT_GT(expect_request(d, text("f 1"), kHopOnce), 0);
}

TEST(ExchangePeer, ResultsKeepTheInfoOfWhoeverRanThem) {
  Desk d(shape());
  ASSERT_TRUE(d.send(5, text("f 1")));
  d.run();
  d.q.answer(expect_request(d, text("f 1"), kHopOnce), text("Error: just a text"), info(Errc::ok));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(Desk::status(d.reply(5)), Errc::ok);
  EXPECT_EQ(d.reply(5).flags, shm::kFlagPair);
  EXPECT_EQ(d.reply(5).payload,
            Desk::pair(text("Error: just a text"),
                       options({"peer_qsvr", "peer_elapsed", "peer_execution", "mem"},
                               {Value::symbol("hdb-1"), Value::long_atom(3), Value::long_atom(2),
                                Value::long_atom(99)})));
}

TEST(ExchangePeer, ErrorsAreTheSameErrorsHere) {
  Desk d(shape());
  const std::string long_text(1000, 'e');
  struct {
    Errc status;
    std::string text;
    bool never_ran;
  } const kCases[] = {{Errc::failed, "type", false},
                      {Errc::failed, long_text, false},
                      {Errc::servant_died, "servant died", false},
                      {Errc::no_servant, "no servant", true},
                      {Errc::busy, "busy", true},
                      {Errc::queue_timeout, "queue timeout", true},
                      {Errc::shutdown, "shutdown", true}};
  std::uint64_t id = 10;
  for (const auto& each : kCases) {
    d.warnings.clear();
    ASSERT_TRUE(d.send(++id, text("f 1")));
    d.run();
    d.q.answer(expect_request(d, text("f 1"), kHopOnce), text("Error: " + each.text),
               info(each.status));
    EXPECT_EQ(d.run(), Progress::idle);
    // Of what never ran the broker hears why: it may try somebody else.
    EXPECT_EQ(Desk::status(d.reply(id)), each.never_ran ? each.status : Errc::failed);
    EXPECT_EQ(d.reply(id).value(), Value::error(each.text));
    ASSERT_EQ(d.warnings.size(), each.never_ran ? 1U : 0U);
    if (each.never_ran) {
      EXPECT_EQ(d.warnings[0], "the peer did not run a request: " + each.text);
    }
  }
}

TEST(ExchangePeer, WhatNoBrokerAnswersIsAnError) {
  Desk d(shape());
  std::uint64_t id = 20;
  for (const Value& odd :
       {options({"mem"}, {Value::long_atom(1)}), options({"mserve_status"}, {Value::long_atom(-1)}),
        options({"mserve_status"}, {Value::long_atom(70'000)}),
        options({"mserve_status"}, {Value::symbol("0")}), info(Errc::failed)}) {
    ASSERT_TRUE(d.send(++id, text("f 1")));
    d.run();
    d.q.answer(expect_request(d, text("f 1"), kHopOnce), Value::long_atom(1), odd);
    EXPECT_EQ(d.run(), Progress::idle);
    EXPECT_EQ(Desk::status(d.reply(id)), Errc::failed);
  }
}

TEST(ExchangePeer, SignsOfLifeAreNoAnswers) {
  Desk d(shape());
  ASSERT_TRUE(d.send(5, text("f 1")));
  d.run();
  const std::int64_t qid = expect_request(d, text("f 1"), kHopOnce);
  const std::uint64_t before = d.exchange.received_bytes();
  d.q.answer(0, Value::null());
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_GT(d.exchange.received_bytes(), before);
  EXPECT_EQ(d.replies.size(), 0U);
  EXPECT_EQ(d.warnings.size(), 0U);
  d.q.answer(qid, Value::long_atom(1), info(Errc::ok));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(Desk::status(d.reply(5)), Errc::ok);
}

TEST(ExchangePeer, LargeRequestsGoOnceTheyAreWhole) {
  Desk d(shape());
  const Value large = blob(300'000);
  d.send_flow(5, kdb::encode(large), 7000);
  d.run();
  const std::int64_t qid = expect_request(d, large, kHopOnce);
  // What comes back streams.
  d.q.answer(qid, large);
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).value(), large);
  EXPECT_GT(d.fragments, 1);
  // Options of its own are exchanged for those of a link.
  d.send_flow(
      6, Desk::pair(large, options({"user", "x"}, {Value::symbol("root"), Value::long_atom(1)})),
      7000, shm::kFlagPair);
  d.run();
  EXPECT_GT(
      expect_request(d, large,
                     options({"x", "hop", "repeatable"},
                             {Value::long_atom(1), Value::long_atom(1), Value::boolean(false)})),
      qid);
  // Above --max-gathered that cannot be.
  d.send_flow(7, Desk::pair(blob(2 << 20), options({}, {})), 7000, shm::kFlagPair);
  d.run();
  EXPECT_EQ(d.reply(7).value(), Value::error("limit"));
  EXPECT_FALSE(d.q.next());
}

// Goal: a client that dawdles over a large request, or gives up in its middle, costs nobody else
// anything. Method: half of a request comes, then another one, then the first one is aborted.
TEST(ExchangePeer, HalfARequestBlocksNobodyAndItsEndCostsNothing) {
  Desk d(shape());
  const std::vector<std::byte> large = kdb::encode(blob(15'000));
  const auto first = std::span(large).first(5'000);
  ASSERT_TRUE(d.send_fragment(5, 0, large.size(), first));
  ASSERT_TRUE(d.send(6, text("f 1")));
  EXPECT_EQ(d.run(), Progress::idle);
  const std::int64_t qid = expect_request(d, text("f 1"), kHopOnce);
  ASSERT_TRUE(d.send_abort(5));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_TRUE(d.q.received.empty()) << "the peer never heard of it";
  d.q.answer(qid, Value::long_atom(1), info(Errc::ok));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(Desk::status(d.reply(6)), Errc::ok);
  EXPECT_TRUE(d.exchange.idle());
  // Its room is free again: all of the bound is there for the next one.
  d.send_flow(7, kdb::encode(blob((1 << 20) - 6)), 7000);
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_GT(expect_request(d, blob((1 << 20) - 6), kHopOnce), qid);
}

// Goal: what a peer refuses before it has all of it costs nobody the connection. Method: the answer
// comes after the first part of one that streams; the rest goes there, and only then the broker
// hears of it.
TEST(ExchangePeer, AnEarlyAnswerIsToldOnceTheRequestIsSent) {
  Desk d(streaming());
  const std::vector<std::byte> large = kdb::encode(blob(15'000));
  const auto first = std::span(large).first(5'000);
  ASSERT_TRUE(d.send_fragment(5, 0, large.size(), first));
  d.run();
  d.q.answer(1, text("Error: no servant"), info(Errc::no_servant));
  d.q.answer(0, Value::null());
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.replies.size(), 0U);
  ASSERT_TRUE(
      d.send_fragment(5, first.size(), large.size(), std::span(large).subspan(first.size())));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).value(), Value::error("no servant"));
  EXPECT_EQ(expect_request(d, blob(15'000), kHopOnce), 1);
  EXPECT_TRUE(d.exchange.idle());
  ASSERT_TRUE(d.send(6, text("f 1")));
  d.run();
  d.q.answer(expect_request(d, text("f 1"), kHopOnce), Value::long_atom(1), info(Errc::ok));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(Desk::status(d.reply(6)), Errc::ok);
}

/// A message that answers `qid`, compressed.
std::vector<std::byte> compressed(std::int64_t qid, const Value& result, const Value& with) {
  const auto plain =
      kdb::encode_message(Value::list({Value::long_atom(qid), result, with}), MessageKind::async);
  const auto packed = kdb::compress(plain);
  EXPECT_TRUE(packed);
  return packed.value_or(plain);
}

// Goal: in whatever form an early answer comes, it is told once, after the request.
TEST(ExchangePeer, AnEarlyAnswerMayBeLargeOrCompressed) {
  Desk::Shape small = streaming();
  small.ring_bytes = 32 << 10;
  const std::vector<std::byte> large = kdb::encode(blob(15'000));
  const auto first = std::span(large).first(5'000);
  const std::string long_text(5'000, 'e');
  for (const bool packed : {false, true}) {
    Desk d(small);
    ASSERT_TRUE(d.send_fragment(5, 0, large.size(), first));
    d.run();
    if (packed) {
      d.q.say(compressed(1, text("Error: " + long_text), info(Errc::no_servant)));
    } else {
      d.q.answer(1, text(std::string(20'000, 'r')));  // more than a frame holds
    }
    EXPECT_EQ(d.run(), Progress::idle);
    EXPECT_EQ(d.replies.size(), 0U);
    for (std::size_t at = first.size(); at < large.size(); at += 5'000) {
      const auto piece =
          std::span(large).subspan(at, std::min<std::size_t>(5'000, large.size() - at));
      ASSERT_TRUE(d.send_fragment(5, at, large.size(), piece));
      EXPECT_EQ(d.run(), Progress::idle);
    }
    EXPECT_EQ(d.reply(5).value(),
              packed ? Value::error(long_text) : text(std::string(20'000, 'r')));
    EXPECT_FALSE(d.exchange.awaiting());
  }
}

TEST(ExchangePeer, AnEarlyAnswerThatIsTooLargeToBeLookedIntoIsALimit) {
  Desk d(streaming());
  const std::vector<std::byte> large = kdb::encode(blob(15'000));
  const auto first = std::span(large).first(5'000);
  ASSERT_TRUE(d.send_fragment(5, 0, large.size(), first));
  d.run();
  d.q.say(compressed(1, text("Error: " + std::string(100'000, 'e')), info(Errc::failed)));
  EXPECT_EQ(d.run(), Progress::idle);
  ASSERT_TRUE(
      d.send_fragment(5, first.size(), large.size(), std::span(large).subspan(first.size())));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).value(), Value::error("limit"));
  EXPECT_FALSE(d.exchange.awaiting());
}

// Goal: of a request whose session ends while it is being sent nothing is left in the books,
// whenever its answer comes. Method: the answer comes before the end, after it, or half of it
// before.
TEST(ExchangePeer, AnEarlyAnswerThatNobodyWaitsForLeavesNothingBehind) {
  const auto answer =
      kdb::encode_message(Value::list({Value::long_atom(1), text("Error: busy"), info(Errc::busy)}),
                          MessageKind::async);
  for (const std::size_t before : {std::size_t{0}, answer.size() / 2, answer.size()}) {
    Desk d(shape());
    d.q.room = 5'000;
    d.send_flow(5, kdb::encode(blob(15'000)), 7000);
    EXPECT_EQ(d.run(), Progress::waits_for_q);
    d.q.say(std::span(answer).first(before));
    EXPECT_EQ(d.run(), Progress::waits_for_q);
    ASSERT_TRUE(d.exchange.detach()) << "what is held is sent to its end";
    d.q.say(std::span(answer).subspan(before));
    d.q.room = 100'000;
    while (d.step_detached() == Progress::worked) {
    }
    EXPECT_EQ(expect_request(d, blob(15'000), kHopOnce), 1);
    EXPECT_FALSE(d.exchange.awaiting()) << before;
    EXPECT_TRUE(d.exchange.idle());
    d.attach();
    ASSERT_TRUE(d.send(6, text("f 1")));
    d.run();
    d.q.answer(expect_request(d, text("f 1"), kHopOnce), Value::long_atom(1), info(Errc::ok));
    EXPECT_EQ(d.run(), Progress::idle);
    EXPECT_EQ(d.replies.size(), 1U);
    EXPECT_FALSE(d.exchange.awaiting());
  }
}

// What waits behind a large request that streams goes with the terms that it came with.
TEST(ExchangePeer, WhatWaitsKeepsItsTerms) {
  Desk d(streaming());
  const std::vector<std::byte> large = kdb::encode(blob(15'000));
  const auto first = std::span(large).first(5'000);
  ASSERT_TRUE(d.send_fragment(5, 0, large.size(), first));
  d.run();
  std::byte terms[shm::ext_bytes_of(sizeof(shm::DeadlineExt))];
  (void)shm::put_extension(terms, shm::ExtType::deadline, 0,
                           shm::DeadlineExt{.queue_ns = 0, .run_ns = 700});
  ASSERT_TRUE(shm::try_send_whole(d.to, Desk::header(6), terms, kdb::encode(text("f 1"))));
  ASSERT_TRUE(
      d.send_fragment(5, first.size(), large.size(), std::span(large).subspan(first.size())));
  d.run();
  EXPECT_GT(expect_request(d, blob(15'000), kHopOnce), 0);
  EXPECT_GT(expect_request(d, text("f 1"),
                           options({"hop", "timeout", "queue_timeout", "repeatable"},
                                   {Value::long_atom(1), Value::timespan(700), Value::timespan(700),
                                    Value::boolean(false)})),
            0);
}

TEST(ExchangePeer, WhatWasGatheredIsToldWhatIsLeftAtItsEnd) {
  Desk d(shape());
  const std::vector<std::byte> large = kdb::encode(blob(15'000));
  const auto send = [&](std::uint64_t offset, std::size_t bytes, std::uint64_t run_ns) {
    std::byte extensions[shm::ext_bytes_of(sizeof(shm::FlowExt)) +
                         shm::ext_bytes_of(sizeof(shm::DeadlineExt))];
    std::byte* end =
        shm::put_extension(extensions, shm::ExtType::flow, 0, shm::FlowExt{offset, large.size()});
    if (run_ns != 0) {
      end = shm::put_extension(end, shm::ExtType::deadline, 0,
                               shm::DeadlineExt{.queue_ns = 0, .run_ns = run_ns});
    }
    return shm::try_send_whole(d.to, Desk::header(5), {extensions, end},
                               std::span(large).subspan(offset, bytes));
  };
  ASSERT_TRUE(send(0, 5'000, 900));
  ASSERT_TRUE(send(5'000, 5'000, 0));
  ASSERT_TRUE(send(10'000, large.size() - 10'000, 300));
  d.run();
  EXPECT_GT(expect_request(d, blob(15'000),
                           options({"hop", "timeout", "queue_timeout", "repeatable"},
                                   {Value::long_atom(1), Value::timespan(300), Value::timespan(300),
                                    Value::boolean(false)})),
            0);
}

// Goal: what nobody wants any more keeps no place at a link. Method: credit 2, both places taken,
// one of the two requests is cancelled while the peer runs it.
TEST(ExchangePeer, WhatIsCancelledIsAnsweredAtOnceAndItsLateAnswerDropped) {
  Desk::Shape two = shape();
  two.credit = 2;
  Desk d(two);
  ASSERT_TRUE(d.send(5, text("f 1")));
  ASSERT_TRUE(d.send(6, text("f 2")));
  d.run();
  const std::int64_t first = expect_request(d, text("f 1"), kHopOnce);
  const std::int64_t second = expect_request(d, text("f 2"), kHopOnce);
  ASSERT_TRUE(d.send_cancel(5));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).value(), Value::error("stop"));
  EXPECT_FALSE(d.exchange.unwanted()) << "a broker is not interrupted";
  ASSERT_TRUE(d.send(7, text("f 3")));
  EXPECT_EQ(d.run(), Progress::idle) << "its place is free";
  const std::int64_t third = expect_request(d, text("f 3"), kHopOnce);
  ASSERT_TRUE(d.send_cancel(5));  // once more, and of what is unknown: nothing happens
  ASSERT_TRUE(d.send_cancel(99));
  d.run();
  EXPECT_TRUE(d.q.received.empty()) << "this peer did not say that it takes cancels";
  for (const std::int64_t qid : {third, first, second}) {
    d.q.answer(qid, Value::long_atom(qid), info(Errc::ok));
  }
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(Desk::status(d.reply(6)), Errc::ok);
  EXPECT_EQ(Desk::status(d.reply(7)), Errc::ok);
  EXPECT_EQ(d.replies.size(), 3U);
  EXPECT_EQ(d.warnings.size(), 0U);
  EXPECT_FALSE(d.exchange.awaiting()) << "nothing is left in the books";
}

/// The peer is told that nobody waits for `qid`.
void expect_cancel(Desk& d, std::int64_t qid) {
  const auto message = d.q.next();
  ASSERT_TRUE(message) << "no cancel of " << qid;
  EXPECT_EQ(message->header.kind, MessageKind::async);
  EXPECT_EQ(message->value,
            Value::list({Value::long_atom(0), text(".mserve.cancel " + std::to_string(qid)),
                         Value::dict(Value::list({}), Value::list({}))}));
}

TEST(ExchangePeer, WithItsSessionAllThatThePeerWasAskedIsCancelled) {
  Desk d(streaming());
  d.exchange.connect(Form::lbt, 6, /*takes_cancels=*/true);
  std::vector<std::int64_t> asked;
  for (std::uint64_t id = 1; id <= 2; ++id) {
    ASSERT_TRUE(d.send(id, text("f 1")));
    d.run();
    asked.push_back(expect_request(d, text("f 1"), kHopOnce));
  }
  EXPECT_TRUE(d.exchange.detach());
  while (d.step_detached() == Progress::worked) {
  }
  expect_cancel(d, asked[1]);
  expect_cancel(d, asked[0]);
  EXPECT_FALSE(d.q.next());
}

// Goal: a peer that knows it hears of what nobody waits for, once, and never in the middle of
// another message. Method: credit 2, so that the third one that is cancelled keeps its place.
TEST(ExchangePeer, ThePeerIsToldWhatIsCancelled) {
  Desk::Shape two = streaming();
  two.credit = 2;
  Desk d(two);
  d.exchange.connect(Form::lbt, 6, /*takes_cancels=*/true);
  for (std::uint64_t id = 1; id <= 3; ++id) {
    ASSERT_TRUE(d.send(id, text("f 1")));
    d.run();
    const std::int64_t qid = expect_request(d, text("f 1"), kHopOnce);
    ASSERT_TRUE(d.send_cancel(id));
    ASSERT_TRUE(d.send_cancel(id));
    d.run();
    expect_cancel(d, qid);
    EXPECT_FALSE(d.q.next()) << "once";
  }
  EXPECT_EQ(d.replies.size(), 2U);
  for (std::int64_t qid = 1; qid <= 3; ++qid) {
    d.q.answer(qid, text("Error: cancelled"), info(Errc::cancelled));
  }
  d.run();
  EXPECT_EQ(d.reply(3).value(), Value::error("cancelled"));
  EXPECT_EQ(d.replies.size(), 3U);
  EXPECT_FALSE(d.exchange.awaiting()) << "nothing is left in the books";
  // While a large one is being sent the word waits, and what is answered meanwhile needs none.
  for (const bool answered : {false, true}) {
    ASSERT_TRUE(d.send(4, text("f 1")));
    d.run();
    const std::int64_t qid = expect_request(d, text("f 1"), kHopOnce);
    const std::vector<std::byte> large = kdb::encode(blob(15'000));
    const auto first = std::span(large).first(5'000);
    ASSERT_TRUE(d.send_fragment(5, 0, large.size(), first));
    ASSERT_TRUE(d.send_cancel(4));
    d.run();
    if (answered) {
      d.q.answer(qid, Value::long_atom(1), info(Errc::ok));
      d.run();
    }
    ASSERT_TRUE(
        d.send_fragment(5, first.size(), large.size(), std::span(large).subspan(first.size())));
    d.run();
    const std::int64_t of_large = expect_request(d, blob(15'000), kHopOnce);
    if (!answered) {
      expect_cancel(d, qid);
      d.q.answer(qid, Value::long_atom(1), info(Errc::ok));
    }
    d.q.answer(of_large, Value::long_atom(1), info(Errc::ok));
    d.run();
    EXPECT_FALSE(d.q.next());
    EXPECT_FALSE(d.exchange.awaiting());
  }
}

TEST(ExchangePeer, AsManyAnswersAsThereArePlacesMayBeOwedToNobody) {
  Desk::Shape two = shape();
  two.credit = 2;
  Desk d(two);
  for (std::uint64_t id = 1; id <= 3; ++id) {
    ASSERT_TRUE(d.send(id, text("f 1")));
    d.run();
    ASSERT_TRUE(d.send_cancel(id));
    d.run();
  }
  EXPECT_EQ(d.replies.size(), 2U) << "the third one keeps its place";
  EXPECT_FALSE(d.exchange.idle());
  d.q.answer(3, text("Error: timeout"), info(Errc::timed_out));
  d.run();
  EXPECT_EQ(d.reply(3).value(), Value::error("timeout"));
  EXPECT_TRUE(d.exchange.idle()) << "two more would be too many";
  // One that was answered makes room for another.
  d.q.answer(1, Value::long_atom(1), info(Errc::ok));
  ASSERT_TRUE(d.send(4, text("f 1")));
  d.run();
  ASSERT_TRUE(d.send_cancel(4));
  d.run();
  EXPECT_EQ(d.reply(4).value(), Value::error("stop"));
  // What is owed to nobody keeps no session waiting, unless it is more than that.
  ASSERT_TRUE(d.send(5, text("f 1")));
  d.run();
  ASSERT_TRUE(d.exchange.detach());
  EXPECT_FALSE(d.exchange.idle());
  d.q.answer(2, Value::long_atom(1), info(Errc::ok));
  for (int n = 0; n < 10 && !d.exchange.idle(); ++n) {
    (void)d.step_detached();
  }
  EXPECT_TRUE(d.exchange.idle());
}

TEST(ExchangePeer, ARefusalThatFindsNoRoomIsToldLater) {
  Desk::Shape small = shape();
  small.ring_bytes = 4096;
  Desk d(small);
  ASSERT_TRUE(d.send(5, text("f 1")));
  d.run();
  while (shm::try_send_whole(d.shim_out, Desk::header(1, 0, shm::Kind::abort), {}, {})) {
  }
  ASSERT_TRUE(d.send_cancel(5));
  EXPECT_EQ(d.step(), Progress::waits_for_ring);
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).value(), Value::error("stop"));
}

// Goal: one answer and no second one. Method: half of an early answer is there when its request is
// sent and cancelled; its other half makes no sense.
TEST(ExchangePeer, ACancelledRequestIsNotAnsweredAgainWhenItsAnswerMakesNoSense) {
  Desk d(shape());
  auto answer =
      kdb::encode_message(Value::list({Value::long_atom(1), text("Error: busy"), info(Errc::busy)}),
                          MessageKind::async);
  const std::size_t half = answer.size() / 2;
  std::fill(answer.begin() + static_cast<std::ptrdiff_t>(half), answer.end(), std::byte{0x33});
  d.q.room = 5'000;
  d.send_flow(5, kdb::encode(blob(15'000)), 7000);
  EXPECT_EQ(d.run(), Progress::waits_for_q);
  d.q.say(std::span(answer).first(half));
  EXPECT_EQ(d.run(), Progress::waits_for_q);
  d.q.room = 100'000;
  EXPECT_EQ(d.run(), Progress::idle);
  ASSERT_TRUE(d.send_cancel(5));
  EXPECT_EQ(d.run(), Progress::idle);
  EXPECT_EQ(d.reply(5).value(), Value::error("stop"));
  d.q.say(std::span(answer).subspan(half));
  EXPECT_EQ(d.run(), Progress::q_lost);
  d.read();
  EXPECT_EQ(d.replies.size(), 1U);
}

}  // namespace
}  // namespace mserve::shim
