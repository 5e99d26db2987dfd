// SPDX-License-Identifier: Apache-2.0
// Membership against servers that lie, break off and forget. With a real etcd: tests/cluster.
#include "cluster/membership.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cluster/base64.hpp"
#include "cluster/broker_record.hpp"
#include "cluster/etcd_connection.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"
#include "unit/cluster/fake_etcd.hpp"
#include "unit/cluster/silent_names.hpp"
#include "unit/cluster/tls_identity.hpp"

namespace mserve::cluster {
namespace {

using test::EtcdPost;
using test::FakeEtcd;
using test::http_lines;
using test::http_ok;
using Answer = FakeEtcd::Answer;

const std::string kKey = broker_key("default", "b");

std::string key_value(const std::string& key, int revision) {
  return R"({"key":")" + to_base64(key) + R"(","value":"dg==","mod_revision":")" +
         std::to_string(revision) + R"("})";
}
std::string listing_of(const std::string& kvs, int revision) {
  return R"({"header":{"revision":")" + std::to_string(revision) + R"("},"kvs":[)" + kvs + "]}";
}
const std::string kCreated = R"({"result":{"header":{"revision":"7"},"created":true}})"
                             "\n";
const std::string kCompacted = R"({"result":{"header":{"revision":"30"},"canceled":true,)"
                               R"("compact_revision":"20"}})"
                               "\n";
std::string event_line(const std::string& kv) {
  return R"({"result":{"header":{"revision":"9"},"events":[{"kv":)" + kv + "}]}}\n";
}

std::string counted(const std::string& kvs, int revision, int count) {
  std::string listing = listing_of(kvs, revision);
  listing.insert(1, R"("count":")" + std::to_string(count) + R"(",)");
  return listing;
}
/// Whether it asks for the newest key alone.
bool is_newest(const EtcdPost& post) {
  return post.body.find("DESCEND") != std::string::npos;
}

/// What an honest etcd says, with one key at revision 7.
Answer honest(const EtcdPost& post) {
  static const std::map<std::string, Answer> kAnswers{
      {kGrantPath, {http_ok(R"({"ID":"5","TTL":"1"})")}},
      {kKeepAlivePath, {http_ok(R"({"result":{"ID":"5","TTL":"1"}})")}},
      {kPutPath, {http_ok(R"({"header":{"revision":"8"}})")}},
      {kRevokePath, {http_ok(R"({"header":{"revision":"9"}})")}},
      {kRangePath, {http_ok(listing_of(key_value(kKey, 7), 7))}},
      {kWatchPath, {http_lines(kCreated), true}}};
  const auto found = kAnswers.find(post.path);
  return found != kAnswers.end() ? found->second : Answer{"HTTP/1.1 404 Not Found\r\n\r\n"};
}

class Member : public ::testing::Test {
 protected:
  void join(std::vector<std::string> urls, const std::string& user = "",
            std::uint64_t ttl_ns = 1'000'000'000) {
    const ClusterOptions options{.endpoints = std::move(urls),
                                 .id = "me",
                                 .advertise = "h:1",
                                 .ttl_ns = ttl_ns,
                                 .ca_file = ca_file_,
                                 .user = user};
    std::string fault;
    const auto tls = ca_file_.empty() ? nullptr : TlsContext::load(options, fault);
    ASSERT_EQ(fault, "");
    member_ = std::make_unique<Membership>(
        context_, options, "s3cret", tls,
        Membership::Events{.listed = [this](const Listing& all) { listings_.push_back(all); },
                           .changed = [this](const WatchEvent& event) { events_.push_back(event); },
                           .status =
                               [this] {
                                 if (!member_->status().fault.empty()) {
                                   faults_.push_back(member_->status().fault);
                                 }
                               },
                           .contested = [this](const KeyValue&) { ++contests_; }},
        patience_);
    member_->start();
  }
  void run_until(const std::function<bool()>& condition, const std::string& what) {
    EXPECT_TRUE(test::wait_until(
        [&] {
          (void)context_.run_one_for(std::chrono::milliseconds(10));
          return condition();
        },
        what));
  }
  /// Requests for a path so far.
  std::size_t count(const std::string& path) {
    const std::lock_guard lock(mutex_);
    std::size_t count = 0;
    for (const EtcdPost& post : posts_) {
      count += post.path == path ? 1 : 0;
    }
    return count;
  }
  void note(const EtcdPost& post) {
    const std::lock_guard lock(mutex_);
    posts_.push_back(post);
  }
  std::vector<EtcdPost> posts() {
    const std::lock_guard lock(mutex_);
    return posts_;
  }

  boost::asio::io_context context_{1};
  Membership::Patience patience_{
      .backoff_min_ns = 1'000'000, .backoff_max_ns = 5'000'000, .check_ns = 3'600'000'000'000};
  std::string ca_file_;  // given: what a https:// endpoint shows
  std::unique_ptr<Membership> member_;
  std::vector<Listing> listings_;
  std::vector<WatchEvent> events_;
  std::vector<std::string> faults_;
  int contests_ = 0;
  std::mutex mutex_;
  std::vector<EtcdPost> posts_;
};

TEST_F(Member, HostileAnswersEndInAnotherTry) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::vector<std::string> hostile{
      "",
      "SSH-2.0-x\r\n",
      ok + "X: " + std::string(20000, 'x') + "\r\n\r\n",
      ok + "Content-Length: 999999999999\r\n\r\n{",
      ok + "Content-Length: -1\r\n\r\n",
      ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
      http_ok(""),
      http_ok("[]"),
      http_ok(R"({"header":{"revision":"-7"}})"),
      http_ok(listing_of("7", 7)),
      "HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 2\r\n\r\n\x1b[",
      "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + std::string(100000, '[')};
  std::size_t served = 0;
  FakeEtcd etcd([&](const EtcdPost& post) {
    return served < hostile.size() ? Answer{hostile[served++]} : honest(post);
  });
  join({etcd.url()});
  run_until([&] { return member_->status().reached; }, "an honest answer");
  EXPECT_EQ(faults_.size(), hostile.size() - 1) << "of one that is too long less is asked for";
  for (const std::string& fault : faults_) {
    EXPECT_LT(fault.size(), 400U) << fault;
    EXPECT_EQ(fault.find('\x1b'), std::string::npos);
  }
  ASSERT_EQ(listings_.size(), 1U);
  EXPECT_EQ(listings_[0].all[0].key, kKey);
  EXPECT_EQ(member_->status().stale_since, 0);
  EXPECT_EQ(member_->status().fault, "");
}

TEST_F(Member, AnEndpointThatIsGoneIsPassedOver) {
  std::string gone;
  {
    FakeEtcd short_lived(honest);
    gone = short_lived.url();
  }
  FakeEtcd etcd(honest);
  join({gone, etcd.url()});
  run_until([&] { return member_->status().reached; }, "the second endpoint");
  EXPECT_EQ(member_->status().endpoint, etcd.url());
  EXPECT_EQ(faults_.size(), 1U);
}

// The second call used to begin TLS anew on what was shut down, which fails.
TEST_F(Member, WithTlsACallAfterOneThatClosedTheConnectionHasAnother) {
  const test::TempDir dir;
  ca_file_ = dir.file("cert.pem");
  const test::TlsIdentity identity(ca_file_);
  FakeEtcd etcd(
      [&](const EtcdPost& post) {
        note(post);
        return honest(post);
      },
      identity.context());
  ASSERT_NO_FATAL_FAILURE(join({etcd.url()}));
  member_->publish("mine");
  run_until([&] { return count(kPutPath) == 1 && count(kKeepAlivePath) >= 1; }, "four calls");
  EXPECT_TRUE(faults_.empty()) << faults_[0];
}

// Asio's resolver has one thread, behind which the name of the next endpoint waited, and which the
// end of the context joined.
TEST_F(Member, ANameThatIsNotAnsweredHoldsUpNeitherTheNextEndpointNorTheEnd) {
  test::SilentNames names;
  FakeEtcd etcd(honest);
  std::string by_name = etcd.url();
  by_name.replace(by_name.find("127.0.0.1"), 9, "answered");
  patience_.call_ns = 300'000'000;
  patience_.resolver = names.resolver();
  {
    boost::asio::io_context context{1};
    const ClusterOptions options{
        .endpoints = {"http://silent:1", by_name}, .id = "me", .advertise = "h:1"};
    std::vector<std::string> faults;
    Membership* self = nullptr;
    bool reached = false;
    Membership member(context, options, "", nullptr,
                      {.listed = [&](const Listing&) { reached = true; },
                       .changed = [](const WatchEvent&) {},
                       .status =
                           [&] {
                             if (!self->status().fault.empty()) {
                               faults.push_back(self->status().fault);
                             }
                           },
                       .contested = [](const KeyValue&) {}},
                      patience_);
    self = &member;
    member.start();
    EXPECT_TRUE(test::wait_until(
        [&] {
          (void)context.run_one_for(std::chrono::milliseconds(10));
          return reached;
        },
        "the second endpoint"));
    ASSERT_FALSE(faults.empty());
    EXPECT_EQ(faults[0], "no answer within its time");
    EXPECT_EQ(member.status().endpoint, by_name);
  }
  EXPECT_GE(names.asked(), 1) << "and none has been answered yet";
}

TEST_F(Member, AWatchThatBreaksOffGoesOnWithTheNextRevision) {
  int watches = 0;
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    if (post.path == kWatchPath) {
      note(post);
      // Cut in the middle of a line, which is then told by the next one.
      return watches++ == 0 ? Answer{http_lines(kCreated + event_line(key_value(kKey, 9)) +
                                                "{\"result\":{\"ev")}
                            : Answer{http_lines(kCreated + event_line(key_value(kKey, 11))), true};
    }
    return honest(post);
  });
  join({etcd.url()});
  run_until([&] { return events_.size() == 2; }, "both events");
  EXPECT_EQ(events_[0].kv.mod_revision, 9);
  EXPECT_EQ(events_[1].kv.mod_revision, 11);
  const auto asked = posts();
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_NE(asked[0].body.find(R"("start_revision":"8")"), std::string::npos) << asked[0].body;
  EXPECT_NE(asked[1].body.find(R"("start_revision":"10")"), std::string::npos) << asked[1].body;
  EXPECT_EQ(listings_.size(), 1U) << "what was known stays so";
  EXPECT_TRUE(faults_.empty());
  EXPECT_EQ(member_->status().resumes, 1U);
}

TEST_F(Member, ACompactedRevisionIsListedAnew) {
  int watches = 0;
  int lists = 0;
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    if (post.path == kWatchPath && watches++ == 0) {
      return {http_lines(kCompacted)};
    }
    if (post.path == kWatchPath) {
      note(post);
    }
    return post.path == kRangePath && lists++ > 0 ? Answer{http_ok(listing_of("", 30))}
                                                  : honest(post);
  });
  join({etcd.url()});
  run_until([&] { return count(kWatchPath) == 1; }, "the second watch");
  EXPECT_EQ(member_->status().relists, 1U);
  ASSERT_EQ(listings_.size(), 2U);
  EXPECT_TRUE(listings_[1].all.empty());
  EXPECT_NE(posts()[0].body.find(R"("start_revision":"31")"), std::string::npos);
  EXPECT_TRUE(faults_.empty());
}

// What a watch without a fault did not tell used to stay unknown for ever.
TEST_F(Member, AWatchThatIsSilentIsNoticedAndAllListedAnew) {
  int step = 0;  // 0: nothing has changed, 1: a key was written, 2: one was deleted
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    note(post);
    if (post.path != kRangePath) {
      return honest(post);
    }
    const bool newest = is_newest(post);
    const std::lock_guard lock(mutex_);
    const std::string one = key_value(kKey, 7);
    const std::string other = key_value(broker_key("default", "c"), 20);
    if (newest) {
      return {http_ok(counted(step == 1 ? other : one, 25, step == 1 ? 2 : 1))};
    }
    return {http_ok(counted(step == 1 ? one + "," + other : one, 21 + step, step == 1 ? 2 : 1))};
  });
  const auto set = [&](int to) {
    const std::lock_guard lock(mutex_);
    step = to;
  };
  patience_.check_ns = patience_.late_ns = 1'000'000;
  join({etcd.url()});
  const auto looks = [this] {
    const auto all = posts();
    return std::count_if(all.begin(), all.end(), is_newest);
  };
  run_until([&] { return looks() >= 5; }, "some looks");
  EXPECT_EQ(listings_.size(), 1U) << "nothing was missed";
  set(1);
  run_until([&] { return listings_.size() == 2; }, "the count to be seen");
  EXPECT_EQ(listings_[1].all.size(), 2U);
  set(2);
  run_until([&] { return listings_.size() == 3; }, "the one that is gone to be seen");
  EXPECT_EQ(listings_[2].all.size(), 1U);
  EXPECT_EQ(member_->status().silences, 2U);
  EXPECT_TRUE(faults_.empty());
}

// Goal: what the watch tells a little later is no silence, and what it does not is.
TEST_F(Member, AWatchMayBeBehindForAWhile) {
  std::atomic<bool> told{false};
  int looks = 0;
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    note(post);
    if (post.path != kRangePath || !is_newest(post)) {
      return honest(post);
    }
    if (++looks == 2) {
      etcd.go_on(event_line(key_value(kKey, 9)));
      EXPECT_TRUE(test::wait_until([&] { return told.load(std::memory_order_acquire); },
                                   "the event to be told"));
    }
    return {http_ok(listing_of(key_value(kKey, looks < 4 ? 9 : 12), 12))};
  });
  patience_.check_ns = patience_.late_ns = 1'000'000;
  join({etcd.url()});
  run_until([&] { return events_.size() == 1; }, "the event");
  EXPECT_EQ(member_->status().silences, 0U);
  told = true;
  run_until([&] { return listings_.size() == 2; }, "what is not told to be listed");
  EXPECT_EQ(member_->status().silences, 1U);
  EXPECT_GE(count(kRangePath), 2U + 5U);
}

// Behind a proxy that tries again its connections outlive the etcd.
TEST_F(Member, AnEtcdThatWasSetBackIsListedAnew) {
  std::atomic<bool> back{false};
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    if (post.path == kRangePath) {
      const int revision = back.load(std::memory_order_acquire) ? 4 : 300;
      return {http_ok(counted(key_value(kKey, revision - 1), revision, 1))};
    }
    return honest(post);
  });
  patience_.check_ns = patience_.late_ns = 1'000'000;
  join({etcd.url()});
  run_until([&] { return member_->status().reached; }, "it to be listed");
  EXPECT_EQ(member_->status().revision, 300);
  back = true;
  run_until([&] { return listings_.size() == 2 && member_->status().reached; }, "the other one");
  EXPECT_EQ(member_->status().revision, 4);
  ASSERT_EQ(faults_.size(), 1U);
  EXPECT_NE(faults_[0].find("was at revision 300 and is at 4"), std::string::npos) << faults_[0];
}

// Five thousand leases a second were asked for.
TEST_F(Member, AnEtcdThatForgetsEachLeaseIsLeftAloneForAWhile) {
  const std::string refusal = R"({"code":5,"message":"etcdserver: requested lease not found"})";
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    note(post);
    if (post.path == kPutPath) {
      return {"HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: " +
              std::to_string(refusal.size()) + "\r\n\r\n" + refusal};
    }
    return honest(post);
  });
  join({etcd.url()});
  member_->publish("mine");
  run_until([&] { return !faults_.empty(); }, "it to be given up for a while");
  EXPECT_NE(faults_[0].find("gone at once"), std::string::npos) << faults_[0];
  EXPECT_LE(count(kPutPath), 6U);
}

// The same of listings, each of which is compacted before it is watched.
TEST_F(Member, AnEtcdThatCompactsAllTheTimeIsLeftAloneForAWhile) {
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    note(post);
    return post.path == kWatchPath ? Answer{http_lines(kCompacted), true} : honest(post);
  });
  join({etcd.url()});
  run_until([&] { return !faults_.empty(); }, "it to be given up for a while");
  EXPECT_NE(faults_[0].find("compacted"), std::string::npos) << faults_[0];
  EXPECT_LE(count(kWatchPath), 6U);
}

// It was written as often as somebody took it away.
TEST_F(Member, AKeyThatIsTakenAwayAgainAndAgainIsWrittenOnceASecond) {
  constexpr int kTimes = 100;
  std::string lines;
  for (int i = 0; i < kTimes; ++i) {
    lines += R"({"result":{"header":{"revision":"9"},"events":[{"type":"DELETE","kv":{"key":")" +
             to_base64(broker_key("default", "me")) + R"(","mod_revision":")" +
             std::to_string(9 + i) + "\"}}]}}\n";
  }
  lines += event_line(key_value(kKey, 9 + kTimes));
  bool told = false;
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    note(post);
    if (post.path == kPutPath && !std::exchange(told, true)) {
      etcd.go_on(lines);
    }
    return honest(post);
  });
  join({etcd.url()}, "", 600'000'000'000);
  run_until([&] { return count(kWatchPath) == 1; }, "the watch");
  member_->publish("mine");
  run_until([&] { return !events_.empty(); }, "what comes behind");
  EXPECT_LE(count(kPutPath), 2U);
}

TEST_F(Member, ALeaseThatIsLostIsAskedForAgainAndTheKeyWritten) {
  int beats = 0;
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    note(post);
    if (post.path == kKeepAlivePath && beats++ == 0) {
      return {http_ok(R"({"result":{"ID":"5"}})")};
    }
    return honest(post);
  });
  join({etcd.url()});
  member_->publish("first");
  run_until([&] { return count(kPutPath) == 1; }, "the first put");
  run_until([&] { return count(kPutPath) == 2; }, "the put with another lease");
  EXPECT_EQ(count(kGrantPath), 2U);
  run_until([&] { return count(kKeepAlivePath) >= 3; }, "it to be kept alive");
  EXPECT_EQ(count(kPutPath), 2U);
  member_->publish("second");
  run_until([&] { return count(kPutPath) == 3; }, "what is new to be written");
  member_->withdraw();
  run_until([&] { return count(kRevokePath) == 1; }, "the lease to be revoked");
  member_->publish("third");
  run_until([&] { return count(kPutPath) == 4; }, "it to be written again");
  bool left = false;
  member_->leave([&left] { left = true; });
  run_until([&] { return left; }, "the end");
  EXPECT_EQ(count(kRevokePath), 2U);
  EXPECT_TRUE(faults_.empty());
}

// Goal: the lease does not hang on how much else there is to say. One call is held back while a
// put waits behind it, until the time of a keep-alive has come.
TEST_F(Member, KeepingTheLeaseAliveGoesBeforeWhatWaits) {
  std::atomic<bool> held{false};
  std::atomic<bool> go_on{false};
  int watches = 0;
  int lists = 0;
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    if (post.path == kWatchPath) {
      return {http_lines(watches++ == 0 ? kCreated + kCompacted : kCreated), true};
    }
    note(post);
    if (post.path == kRangePath && ++lists == 2) {
      held = true;
      EXPECT_TRUE(test::wait_until([&] { return go_on.load(std::memory_order_acquire); },
                                   "the test to go on"));
    }
    return honest(post);
  });
  patience_.call_ns = 60'000'000'000;
  join({etcd.url()}, "", 120'000'000'000);
  member_->publish("first");
  run_until([&] { return held.load(std::memory_order_acquire); }, "the second listing");
  member_->publish("second");
  // Timers of one context end in their order: once this one has, that of the keep-alive has, too.
  bool due = false;
  boost::asio::steady_timer later(context_, std::chrono::milliseconds(700));  // of a lease of 1 s
  later.async_wait([&due](const auto&) { due = true; });
  run_until([&] { return due; }, "a third of the lease to pass");
  go_on = true;
  const auto behind = [this] {
    const auto all = posts();
    const auto list = std::find_if(all.rbegin(), all.rend(),
                                   [](const EtcdPost& post) { return post.path == kRangePath; });
    return list != all.rbegin() ? std::prev(list)->path : "";
  };
  run_until([&] { return !behind().empty(); }, "what waited");
  EXPECT_EQ(behind(), kKeepAlivePath);
  EXPECT_TRUE(faults_.empty());
}

TEST_F(Member, WhoeverHasToLogInShowsHisTokenAndGetsAnother) {
  int tokens = 0;
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    note(post);
    if (post.path == kAuthenticatePath) {
      return {http_ok(R"({"token":"t)" + std::to_string(++tokens) + R"("})")};
    }
    if (post.head.find("Authorization: t2") == std::string::npos) {
      const std::string body = R"({"error":"etcdserver: invalid auth token","code":16})";
      return {"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body};
    }
    return honest(post);
  });
  join({etcd.url()}, "desk");
  run_until([&] { return member_->status().reached; }, "the second token to do");
  EXPECT_EQ(posts()[0].body, R"({"name":"desk","password":"s3cret"})");
  ASSERT_EQ(faults_.size(), 1U);
  EXPECT_NE(faults_[0].find("status 401: etcdserver: invalid auth token"), std::string::npos)
      << faults_[0];
}

/// The own key as another broker, or a former life of this one, has it.
std::string own_key(const std::string& address, int revision, int lease, std::uint64_t epoch = 7) {
  const BrokerRecord record{.id = "me", .address = address, .epoch = epoch};
  return R"({"key":")" + to_base64(broker_key("default", "me")) + R"(","value":")" +
         to_base64(to_json(record)) + R"(","mod_revision":")" + std::to_string(revision) +
         R"(","lease":")" + std::to_string(lease) + R"("})";
}
std::string mine(std::uint64_t queued) {
  return to_json({.id = "me", .address = "h:1", .epoch = 1, .queued = queued});
}

TEST_F(Member, AKeyThatAnotherBrokerTakesIsLeftToItUntilItIsFree) {
  FakeEtcd etcd([&](const EtcdPost& post) {
    note(post);
    return honest(post);
  });
  join({etcd.url()});
  member_->publish(mine(1));
  run_until([&] { return count(kPutPath) == 1 && count(kWatchPath) == 1; }, "put and watch");
  etcd.go_on(event_line(own_key("h:1", 8, 5)));
  etcd.go_on(event_line(own_key("other:2", 12, 77)));
  run_until([&] { return contests_ > 0; }, "the other one to be seen");
  EXPECT_EQ(member_->status().contested_by, "other:2");
  etcd.go_on(event_line(own_key("other:2", 14, 77)));
  member_->publish(mine(2));
  const std::size_t beats = count(kKeepAlivePath);
  run_until([&] { return count(kKeepAlivePath) >= beats + 2; }, "some time to pass");
  EXPECT_EQ(count(kPutPath), 1U);
  EXPECT_EQ(contests_, 1) << "once";
  EXPECT_EQ(member_->status().revision, 14);
  std::string gone = own_key("", 15, 0);
  gone = R"({"result":{"events":[{"type":"DELETE","kv":)" + gone + "}]}}\n";
  etcd.go_on(gone);
  run_until([&] { return count(kPutPath) == 2; }, "the key to be written again");
  EXPECT_EQ(member_->status().contested_by, "");
  const auto all = posts();
  const auto put = std::find_if(all.rbegin(), all.rend(),
                                [](const EtcdPost& post) { return post.path == kPutPath; });
  EXPECT_NE(put->body.find(to_base64(mine(2))), std::string::npos) << put->body;
  EXPECT_TRUE(events_.empty()) << "it is no peer";
  EXPECT_TRUE(faults_.empty());
}

TEST_F(Member, AKeyThatAnotherBrokerHasIsNotTakenAndThatOfAFormerLifeIs) {
  std::string there;
  FakeEtcd etcd([&](const EtcdPost& post) -> Answer {
    note(post);
    return post.path == kRangePath ? Answer{http_ok(listing_of(there, 7))} : honest(post);
  });
  const auto set = [&](const std::string& key) {
    const std::lock_guard lock(mutex_);
    there = key;
  };
  set(own_key("other:2", 6, 77));
  join({etcd.url()});
  member_->publish(mine(1));
  run_until([&] { return contests_ > 0; }, "the other one to be seen");
  run_until([&] { return count(kKeepAlivePath) >= 1; }, "some time to pass");
  EXPECT_EQ(count(kPutPath), 0U);
  member_.reset();
  set(own_key("h:1", 6, 77));  // it was killed, and its lease lives
  join({etcd.url()});
  member_->publish(mine(1));
  run_until([&] { return count(kPutPath) == 1; }, "the same address to be taken");
  member_.reset();
  set(own_key("old:1", 6, 77, 1));
  join({etcd.url()});
  member_->publish(mine(1));
  run_until([&] { return count(kPutPath) == 2; }, "the same epoch to be taken");
  EXPECT_EQ(contests_, 1);
}

}  // namespace
}  // namespace mserve::cluster
