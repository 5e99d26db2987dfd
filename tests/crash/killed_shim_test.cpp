// SPDX-License-Identifier: Apache-2.0
// A shim, or the q process behind it (the stand-in), is killed with SIGKILL at a certain step. The
// request that it had ends once; the survivor of the two goes on with a successor of the other; and
// neither broker nor survivor holds anything that it did not hold before.
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "crash/victim.hpp"
#include "standin/standin.hpp"
#include "support/requests.hpp"
#include "support/shim_process.hpp"
#include "support/test_gateway.hpp"

namespace mserve::test {
namespace {

std::uint64_t begin_query(Client& client, const std::string& text) {
  const auto id = client.send(make_query(text, client).object, {}, watchdog());
  EXPECT_TRUE(id);
  return id ? id.value() : 0;
}

/// How a request ended that another thread sends, because it is larger than rings are.
class LargeRequest {
 public:
  explicit LargeRequest(Client& client)
      : thread_([this, &client] {
          const Bytes query =
              make_query("echo \"" + std::string(16'000'000, 'x') + '"', client).object;
          status_ = status_of(client.call(query, {}, watchdog()));
        }) {}
  LargeRequest(const LargeRequest&) = delete;
  LargeRequest& operator=(const LargeRequest&) = delete;
  /// To be called once, at the end.
  [[nodiscard]] Errc end() {
    thread_.join();
    return status_;
  }

 private:
  Errc status_ = Errc::ok;
  std::thread thread_;
};

class KilledAt : public ::testing::Test {
 protected:
  KilledAt()
      : broker_({.args = {"--stall-timeout", "60s"}}),
        client_(broker_.client()),
        before_(holdings_of(broker_.pid())),
        files_(count_entries(broker_.directory())) {}

  /// What a new pair answers, and that nothing is left once it is gone too.
  void expect_as_before() {
    EXPECT_EQ(client_.in_flight() + client_.unread(), 0U) << "answered twice";
    broker_.wait_for_counter("servants", 0);
    broker_.wait_for_counter("running", 0);
    broker_.wait_for_counter("queued", 0);
    (void)expect_holdings(broker_.pid(), before_, "what the broker holds");
    EXPECT_EQ(count_entries(broker_.directory()), files_);
    EXPECT_EQ(broker_.counter("closed_total"), 0U);
  }
  void expect_answer() {
    broker_.wait_for_counter("servants", 1);
    EXPECT_EQ(await(client_, begin_query(client_, "echo 42")).status, Errc::ok);
  }
  void wait_for_more(const char* counter, std::uint64_t than) {
    EXPECT_TRUE(wait_until([&] { return broker_.counter(counter).value_or(0) > than; }, counter));
  }
  [[nodiscard]] std::uint64_t now(const char* counter) const {
    return broker_.counter(counter).value_or(0);
  }

  Broker broker_;
  Client client_;
  Holdings before_;
  std::size_t files_;
};

class KilledShimAt : public KilledAt {
 protected:
  struct Row {
    const char* step;
    Reply reply;  ///< How q answers.
    Errc status;  ///< Of the request under way; ok when there was none, or it was answered.
    Errc (*kill_there)(KilledShimAt& test, Standin& q, ShimProcess& shim);
  };

  /// A query that q has and does not answer.
  std::uint64_t ask_and_hold(Standin& q) {
    broker_.wait_for_counter("servants", 1);
    q.hold();
    const std::uint64_t before = q.messages();
    const std::uint64_t id = begin_query(client_, "echo 1");
    EXPECT_TRUE(wait_until([&] { return q.messages() > before; }, "q to have the query"));
    return id;
  }

  static Errc idle(KilledShimAt& t, Standin& /*q*/, ShimProcess& shim) {
    t.broker_.wait_for_counter("servants", 1);
    shim.process().end();
    return Errc::ok;
  }
  static Errc dispatched(KilledShimAt& t, Standin& q, ShimProcess& shim) {
    const std::uint64_t id = t.ask_and_hold(q);
    shim.process().end();
    q.release();
    return await(t.client_, id).status;
  }
  static Errc queued(KilledShimAt& t, Standin& q, ShimProcess& shim) {
    const std::uint64_t running = t.ask_and_hold(q);
    const std::uint64_t id = begin_query(t.client_, "echo 2");
    t.broker_.wait_for_counter("queued", 1);
    shim.process().end();
    q.release();
    EXPECT_EQ(await(t.client_, running).status, Errc::servant_died);
    return await(t.client_, id).status;
  }
  static Errc in_large_request(KilledShimAt& t, Standin& q, ShimProcess& shim) {
    // What the query before it holds up, q does not read, and so neither does the shim.
    t.broker_.wait_for_counter("servants", 1);
    const std::uint64_t before = t.now("fragments_in");
    q.hold();
    LargeRequest large(t.client_);
    t.wait_for_more("fragments_in", before + 8);
    shim.process().end();
    q.release();
    return large.end();
  }
  /// Once the broker has counted something of the answer to this query.
  static Errc killed_after(KilledShimAt& t, ShimProcess& shim, const std::string& query,
                           const char* counter) {
    t.broker_.wait_for_counter("servants", 1);
    const std::uint64_t before = t.now(counter);
    const std::uint64_t id = begin_query(t.client_, query);
    t.wait_for_more(counter, before);
    shim.process().end();
    return await(t.client_, id).status;
  }
  static Errc in_large_answer(KilledShimAt& t, Standin& /*q*/, ShimProcess& shim) {
    return killed_after(t, shim, "big 3000000", "fragments_out");
  }
  static Errc answered(KilledShimAt& t, Standin& /*q*/, ShimProcess& shim) {
    return killed_after(t, shim, "echo 1", "replies");
  }
  static Errc leaving(KilledShimAt& t, Standin& q, ShimProcess& shim) {
    const std::uint64_t id = t.ask_and_hold(q);
    shim.process().signal(SIGTERM);  // it waits for q's answer then
    shim.process().end();
    q.release();
    return await(t.client_, id).status;
  }

  static const Row kTable[];
};

// clang-format off
const KilledShimAt::Row KilledShimAt::kTable[] = {
    {"attached, idle",           Reply::plain,   Errc::ok,           idle},
    {"dispatch",                 Reply::plain,   Errc::servant_died, dispatched},
    {"dispatch, another queued", Reply::plain,   Errc::no_servant,   queued},
    {"mid-fragment of request",  Reply::plain,   Errc::servant_died, in_large_request},
    {"mid-fragment of reply",    Reply::dribble, Errc::servant_died, in_large_answer},
    {"reply",                    Reply::plain,   Errc::ok,           answered},
    {"detach, after SIGTERM",    Reply::plain,   Errc::servant_died, leaving},
};
// clang-format on

TEST_F(KilledShimAt, EveryStepEndsTheRequestOnceAndTheSameQIsServedByTheNextShim) {
  for (const Row& row : kTable) {
    SCOPED_TRACE(row.step);
    StandinOptions options;
    options.reply = row.reply;
    Standin q(options);
    q.start();
    {
      ShimProcess shim(broker_, q.port(), {"--servant-protocol", "auto"});
      EXPECT_EQ(row.kill_there(*this, q, shim), row.status);
    }
    broker_.wait_for_counter("servants", 0);
    EXPECT_TRUE(wait_until([&] { return q.open() == 0; }, "q to see its connection close"));
    {
      const ShimProcess next(broker_, q.port());
      expect_answer();
    }
    expect_as_before();
    EXPECT_TRUE(wait_until([&] { return q.open() == 0; }, "q to see its connection close"));
    ASSERT_FALSE(HasFailure());
  }
}

TEST_F(KilledShimAt, InTheHandshakeWithQAndBeforeThereIsAnyNothingIsLeft) {
  std::atomic<bool> opened{false};
  TestGateway silent([&opened](GatewayConnection& connection, int) {
    (void)connection.take_opening();
    opened.store(true, std::memory_order_release);
    connection.drain();
  });
  ShimProcess shaking_hands(broker_, silent.port());
  EXPECT_TRUE(wait_until([&] { return opened.load(std::memory_order_acquire); }, "a handshake"));
  shaking_hands.process().end();
  ShimProcess waiting(broker_, unused_port());
  waiting.wait_for_log("no q:");
  waiting.process().end();
  expect_as_before();
}

class KilledQAt : public KilledAt {
 protected:
  struct Row {
    const char* step;
    std::vector<std::string> args;  ///< Of the stand-in; what it kills itself at, if it does.
    const char* query;              ///< Null: the row asks by itself.
    Errc status;
  };

  void expect_row(const Row& row) {
    StandinProcess q(row.args);
    const ShimProcess shim(broker_, q.port(), {"--servant-protocol", "plain"});
    if (row.query == nullptr) {
      broker_.wait_for_counter("servants", 1);
      const std::uint64_t before = now("fragments_in");
      q.process().signal(SIGSTOP);
      LargeRequest large(client_);
      wait_for_more("fragments_in", before + 8);
      q.process().end();
      EXPECT_EQ(large.end(), row.status);
    } else if (*row.query == '\0') {
      shim.wait_for_log("no q:");
    } else {
      broker_.wait_for_counter("servants", 1);
      EXPECT_EQ(await(client_, begin_query(client_, row.query)).status, row.status);
    }
    EXPECT_EQ(q.process().wait(), 128 + SIGKILL);
    broker_.wait_for_counter("servants", 0);
    const Holdings alone = holdings_of(shim.pid());
    for (int i = 0; i < 2; ++i) {
      StandinProcess next({}, q.port());
      expect_answer();
      next.process().end();
      broker_.wait_for_counter("servants", 0);
    }
    (void)expect_holdings(shim.pid(), alone, "what the shim holds");
  }
};

TEST_F(KilledQAt, EveryStepEndsTheRequestOnceAndTheSameShimServesTheNextQ) {
  const Row kTable[] = {
      {"handshake", {"--die", "handshake"}, "", Errc::ok},
      {"dispatch", {"--die", "on-query"}, "echo 1", Errc::servant_died},
      {"mid-fragment of request", {}, nullptr, Errc::servant_died},
      {"small reply, half", {"--die", "mid-reply"}, "echo 1", Errc::servant_died},
      {"large reply, half", {"--die", "mid-reply"}, "big 3000000", Errc::servant_died},
      {"reply", {"--die", "after-reply"}, "big 3000000", Errc::ok},
  };
  for (const Row& row : kTable) {
    SCOPED_TRACE(row.step);
    expect_row(row);
    expect_as_before();
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace mserve::test
