// SPDX-License-Identifier: Apache-2.0
// Goal: whatever the sizes, the chunks and the order in which things happen, each request gets
// exactly one reply, its own. Method: a broker and a q that do something legal at random, both
// forms, several credits, rings from the smallest on; a thousand requests per seed.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>

#include "mserve/kdb/compress.hpp"
#include "support/seed.hpp"
#include "unit/shim/desk.hpp"

namespace mserve::shim {
namespace {

using kdb::MessageKind;
using kdb::Value;

const Value kMemDict = Value::dict(Value::symbols({"mem"}), Value::list({Value::long_atom(1)}));

class RandomDesk {
 public:
  RandomDesk(std::uint64_t seed, Form form)
      : random_(seed),
        form_(form),
        credit_(1 + below(4)),
        desk_({.form = form,
               .ring_bytes = std::uint64_t{4096} << below(5),
               .credit = credit_,
               .max_gathered = 4 << 20}) {}

  void play(std::uint64_t requests) {
    for (std::uint64_t turn = 0; answered_ < requests && !::testing::Test::HasFailure(); ++turn) {
      ASSERT_LT(turn, requests * 100'000) << "no progress";
      switch (below(5)) {
        case 0:
          if (begun_ < requests && running() < credit_) {
            begin_request();
          }
          break;
        case 1:
          send_something();
          break;
        case 2:
          desk_.q.bytes_per_receive = below(3) == 0 ? 1 + below(50) : ~std::size_t{0};
          desk_.q.room = below(3) == 0 ? below(2000) : ~std::size_t{0};
          (void)step();
          break;
        case 3:
          q_answers();
          break;
        default:
          (void)step();
          if (below(2) == 0) {
            read_replies();
          }
      }
    }
    EXPECT_TRUE(desk_.exchange.idle());
    EXPECT_TRUE(desk_.aborts.empty());
  }

 private:
  struct Request {
    std::uint64_t id = 0;
    std::vector<std::byte> payload;
    std::uint8_t flags = 0;
    std::size_t sent = 0;
  };

  std::uint32_t below(std::uint32_t bound) {
    return std::uniform_int_distribution<std::uint32_t>(0, bound - 1)(random_);
  }
  std::size_t size() {
    const std::uint32_t bits = below(18);
    return below(1U << bits);
  }
  [[nodiscard]] std::uint64_t running() const { return begun_ - answered_; }

  Progress step() {
    const Progress progress = desk_.step(below(2) == 0);
    EXPECT_TRUE(progress != Progress::q_lost && progress != Progress::broker_broken &&
                progress != Progress::q_cut)
        << static_cast<int>(progress) << desk_.exchange.fault_text();
    return progress;
  }

  void begin_request() {
    Request request;
    request.id = ++begun_;
    const Value query =
        Value::list({Value::long_atom(static_cast<std::int64_t>(request.id)), blob(size())});
    queries_[request.id] = query;
    request.payload = kdb::encode(query);
    if (below(4) == 0) {
      request.payload = Desk::pair(query, kMemDict);
      request.flags = shm::kFlagPair;
    }
    arriving_.push_back(std::move(request));
  }

  /// A whole request, or the next fragment of any that is under way.
  void send_something() {
    if (arriving_.empty()) {
      return;
    }
    const std::size_t index = below(static_cast<std::uint32_t>(arriving_.size()));
    Request& request = arriving_[index];
    const std::span<const std::byte> rest = std::span(request.payload).subspan(request.sent);
    const bool whole =
        request.sent == 0 && rest.size() <= shm::whole_payload_bytes_max(desk_.to.capacity());
    std::size_t now = rest.size();
    bool sent = false;
    if (whole) {
      sent = desk_.send(request.id, rest, request.flags);
    } else {
      now = std::min<std::size_t>(
          now,
          1 + below(static_cast<std::uint32_t>(shm::fragment_payload_bytes(desk_.to.capacity()))));
      sent = desk_.send_fragment(request.id, request.sent, request.payload.size(), rest.first(now),
                                 request.flags);
    }
    if (sent) {
      request.sent += now;
      if (request.sent == request.payload.size()) {
        arriving_.erase(arriving_.begin() + static_cast<std::ptrdiff_t>(index));
      }
    }
  }

  /// Reads what the shim asked, and answers some of it: in order, or in any order.
  void q_answers() {
    while (const auto message = desk_.q.next()) {
      const std::span<const Value> items = message->value.list_items();
      ASSERT_EQ(message->header.kind,
                form_ == Form::plain ? MessageKind::sync : MessageKind::async);
      const Value& query = form_ == Form::plain ? message->value : items[1];
      const std::int64_t qid = form_ == Form::plain ? 0 : items[0].integer().value_or(-1);
      const auto id = static_cast<std::uint64_t>(query.list_items()[0].integer().value_or(0));
      ASSERT_EQ(query, queries_[id]);
      asked_.emplace_back(id, qid);
    }
    if (asked_.empty() || !desk_.q.heard()) {
      return;
    }
    const std::size_t index =
        form_ == Form::plain ? 0 : below(static_cast<std::uint32_t>(asked_.size()));
    const auto [id, qid] = asked_[index];
    asked_.erase(asked_.begin() + static_cast<std::ptrdiff_t>(index));
    answer(id, qid);
  }

  void answer(std::uint64_t id, std::int64_t qid) {
    const Value result =
        below(8) == 0
            ? Value::long_atom(static_cast<std::int64_t>(id))
            : Value::list({Value::long_atom(static_cast<std::int64_t>(id)), blob(size())});
    std::vector<std::byte>& wanted = wanted_[id];
    Value body = result;
    wanted = kdb::encode(result);
    if (form_ == Form::lbt) {
      std::vector<Value> items = {Value::long_atom(qid), result};
      if (below(3) == 0) {
        items.push_back(kMemDict);
        wanted = Desk::pair(result, kMemDict);
      }
      body = below(2) == 0 ? Value::enlist_all(std::move(items)) : Value::list(std::move(items));
    }
    const auto order = below(4) == 0 ? kdb::ByteOrder::big : kdb::ByteOrder::little;
    const auto kind = form_ == Form::plain ? MessageKind::response : MessageKind::async;
    const std::vector<std::byte> message = kdb::encode_message(body, kind, order);
    const auto packed = below(4) == 0 ? kdb::compress(message) : std::nullopt;
    desk_.q.say(packed ? *packed : message);
  }

  void read_replies() {
    desk_.read();
    for (const Reply& reply : desk_.replies) {
      ++answered_;
      const auto wanted = wanted_.find(reply.id);
      ASSERT_TRUE(wanted != wanted_.end()) << "a reply too many, or too early: " << reply.id;
      EXPECT_EQ(reply.payload, wanted->second);
      wanted_.erase(wanted);
      queries_.erase(reply.id);
    }
    desk_.replies.clear();
  }

  std::mt19937_64 random_;
  Form form_;
  std::uint32_t credit_;
  Desk desk_;
  std::uint64_t begun_ = 0;
  std::uint64_t answered_ = 0;
  std::vector<Request> arriving_;
  std::deque<std::pair<std::uint64_t, std::int64_t>> asked_;
  std::map<std::uint64_t, Value> queries_;
  std::map<std::uint64_t, std::vector<std::byte>> wanted_;
};

TEST(ExchangeRandom, EveryRequestGetsItsOwnReplyOnce) {
  const std::uint64_t seed = test::seed();
  for (std::uint64_t round = 0; round < 4 && !HasFailure(); ++round) {
    for (const Form form : {Form::plain, Form::lbt}) {
      RandomDesk desk(seed + round, form);
      desk.play(200);
    }
  }
}

}  // namespace
}  // namespace mserve::shim
