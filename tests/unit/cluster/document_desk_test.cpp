// SPDX-License-Identifier: Apache-2.0
// What operators are answered, before an etcd that says what a test wants.
#include "cluster/document_desk.hpp"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "cluster/base64.hpp"
#include "document.hpp"
#include "mserve/shm/clock.hpp"
#include "stat/cluster_call.hpp"
#include "support/wait.hpp"
#include "unit/cluster/fake_etcd.hpp"
#include "unit/cluster/silent_names.hpp"

namespace mserve::cluster {
namespace {

using stat::DocumentAnswer;
using stat::DocumentOrder;
using test::EtcdPost;
using test::FakeEtcd;
using test::http_ok;

constexpr std::uint64_t kLong = 600'000'000'000;
const std::string kRevision = R"({"header":{"revision":"9"})";

Document document(std::int64_t version, const std::string& text = "") {
  return {.version = version,
          .at = 5,
          .by = "ann@b",
          .text = text.empty() ? "timeout = " + std::to_string(version) + "\n" : text};
}
std::string kv(const std::string& key, const std::string& value) {
  return R"({"key":")" + to_base64(key) + R"(","value":")" + to_base64(value) +
         R"(","mod_revision":"5"})";
}
std::string listing(const std::string& kvs) {
  return http_ok(kRevision + R"(,"kvs":[)" + kvs + "]}");
}

class Desk : public ::testing::Test {
 protected:
  Desk()
      : etcd_([this](const EtcdPost& post) -> FakeEtcd::Answer {
          const std::lock_guard lock(mutex_);
          posts_.push_back(post);
          return {post.path == kTxnPath ? txn_ : range_};
        }),
        store_(context_, "c", nullptr,
               [this] {
                 EtcdEndpoint endpoint = *parse_etcd_url(etcd_.url());
                 endpoint.host = host_.empty() ? endpoint.host : host_;
                 return DocumentStore::Way{.endpoint = std::move(endpoint)};
               }),
        desk_({.watch = watch_,
               .peers = peers_,
               .store = store_,
               .etcd_fault = [this] { return away_; },
               .held = [this] { return held_; },
               .own = [this] { return own_; },
               .check =
                   [](std::string_view text) {
                     return text == "bad"           ? std::vector<std::string>{"line 1: bad"}
                            : text.starts_with('#') ? broker::check_document(text)
                                                    : std::vector<std::string>{};
                   },
               .wall_now = [] { return std::int64_t{77}; },
               .show = [this] { shown_ = true; }}) {
    own_.document.emplace();
    current(document(7));
  }

  void current(const Document& now) {
    (void)watch_.told(
        {.removed = now.version == 0,
         .kv = {.key = document_key("c"), .value = to_value(now), .mod_revision = ++revision_}});
  }
  void peer(const std::string& id, std::optional<DocumentStanding> standing,
            bool draining = false) {
    BrokerRecord record{.id = id, .address = "h:1", .draining = draining};
    record.document = std::move(standing);
    peers_.told(
        {.kv = {.key = broker_key("c", id), .value = to_json(record), .mod_revision = ++revision_}},
        {});
  }
  void ask(const DocumentOrder& order) {
    answered_ = shown_ = false;
    std::string line = stat::order_line(order);
    line.pop_back();
    desk_.take(line, "root@a", shm::steady_now(), [this](const std::string& text) {
      EXPECT_FALSE(answered_) << "once";
      answered_ = true;
      if (text.find(R"("brokers":)") != std::string::npos) {
        EXPECT_TRUE(shown_) << "who looks now sees what was there before: " << text;
      }
      auto read = stat::read_document_answer(std::string_view(text).substr(0, text.size() - 1));
      ASSERT_TRUE(read) << text;
      answer_ = std::move(*read);
    });
  }
  const DocumentAnswer& answer() {
    EXPECT_TRUE(test::wait_until(
        [this] {
          (void)context_.run_one_for(std::chrono::milliseconds(10));
          return answered_;
        },
        "an answer"));
    return answer_;
  }
  /// Runs until etcd was asked so often.
  void run_until_asked(std::size_t times) {
    EXPECT_TRUE(test::wait_until(
        [&] {
          (void)context_.run_one_for(std::chrono::milliseconds(10));
          return posts().size() >= times;
        },
        "etcd to be asked"));
    // And its answer to be looked at.
    EXPECT_TRUE(test::wait_until(
        [&] { return context_.run_one_for(std::chrono::milliseconds(50)) == 0; }, "quiet"));
  }
  std::vector<EtcdPost> posts() {
    const std::lock_guard lock(mutex_);
    return posts_;
  }
  const DocumentAnswer& expect(const std::string& status, const std::string& text) {
    const DocumentAnswer& got = answer();
    EXPECT_EQ(got.status, status) << got.text;
    EXPECT_NE(got.text.find(text), std::string::npos) << got.text;
    return got;
  }

  std::mutex mutex_;
  std::string range_ = listing("");
  std::string txn_ = http_ok(kRevision + R"(,"succeeded":true})");
  std::vector<EtcdPost> posts_;
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      context_.get_executor()};
  std::string away_;
  std::string host_;  // given: what etcd's is called
  Document held_;
  BrokerRecord own_{.id = "a"};
  std::int64_t revision_ = 0;
  DocumentWatch watch_{"c"};
  PeerTable peers_{brokers_prefix("c"), "a", "", ""};
  FakeEtcd etcd_;
  DocumentStore store_;
  DocumentDesk desk_;
  DocumentAnswer answer_;
  bool answered_ = false;
  bool shown_ = false;  // since it was asked
};

TEST_F(Desk, ApplyWritesTheNextVersionAndWaitsForAllBrokers) {
  range_ = listing(kv(history_key("c", 7), ""));
  peer("b", DocumentStanding{.version = 7});
  peer("old", std::nullopt, true);
  ask({.verb = "apply", .text = "timeout = 1\n", .note = "why", .wait_ns = kLong});
  run_until_asked(2);
  const auto asked = posts();
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_NE(asked[0].body.find(R"("keys_only":true)"), std::string::npos);
  EXPECT_NE(asked[1].body.find(to_base64(history_key("c", 8))), std::string::npos);
  EXPECT_NE(asked[1].body.find(R"("mod_revision":"1")"), std::string::npos);
  const Document wanted{
      .version = 8, .at = 77, .by = "root@a", .note = "why", .text = "timeout = 1\n"};
  EXPECT_NE(asked[1].body.find(to_base64(to_value(wanted))), std::string::npos);
  EXPECT_FALSE(answered_) << "nobody has it yet";
  own_.document = {.version = 8};
  desk_.tick(shm::steady_now());
  EXPECT_FALSE(answered_) << "b has not said";
  peer("b", DocumentStanding{.version = 7, .refused = 8, .fault = "rule: no"});
  desk_.tick(shm::steady_now());
  const DocumentAnswer& got = expect("refused", "version 8 is written, but 2 of 3 brokers");
  EXPECT_NE(got.text.find("take it back with rollback"), std::string::npos);
  ASSERT_EQ(got.brokers.size(), 3U);
  EXPECT_EQ(got.brokers[0].state, "applied");
  EXPECT_EQ(got.brokers[1].state, "refused");
  EXPECT_EQ(got.brokers[1].fault, "rule: no");
  EXPECT_EQ(got.brokers[2].state, "unable");
}

// One that nothing can be behind ended all writing.
TEST_F(Desk, KeysThatSomebodyPutIntoTheHistoryStopNobody) {
  range_ = listing(kv(history_key("c", kVersionMax), "x"));
  ask({.verb = "apply", .text = "x = 1"});
  (void)expect("timed_out", "version 8 is written");
  EXPECT_EQ(posts().back().body.find(to_base64(history_key("c", kVersionMax))), std::string::npos);
  current(document(8));
  range_ = listing(kv(history_key("c", 7), to_value(document(7))) + "," +
                   kv(history_key("c", 6), to_value(document(7))));
  ask({.verb = "rollback"});
  (void)expect("timed_out", "version 9 is written");
  ask({.verb = "history"});
  EXPECT_EQ(expect("ok", "").history.size(), 1U) << "6 has 7 in it";
  EXPECT_NE(posts().back().body.find(to_base64(history_key("c", 8) + '\0')), std::string::npos)
      << "what is beyond 8 is not asked for";
}

TEST_F(Desk, WhatWasTakenAwayHasHadItsVersion) {
  range_ = listing(kv(history_key("c", kVersionMax), "") + "," + kv(history_key("c", 11), "") +
                   "," + kv(history_key("c", 10), ""));
  current({});
  ask({.verb = "apply", .text = "x = 1"});
  (void)expect("timed_out", "version 12 is written");
}

TEST_F(Desk, ApplyEndsWithItsTimeAndWithSomebodyElsesVersion) {
  peer("b", DocumentStanding{});
  peer("ends", DocumentStanding{}, true);
  ask({.verb = "apply", .text = "x = 1"});
  EXPECT_EQ(expect("timed_out", "version 8 is written, but 2 of 3 brokers").brokers[2].state,
            "draining");
  ask({.verb = "apply", .text = "x = 1", .wait_ns = kLong});
  run_until_asked(4);
  current(document(9));
  desk_.tick(shm::steady_now());
  (void)expect("conflict", "version 8 is written, and version 9 by ann@b after it");
  own_.id.clear();  // its broker is not there
  own_.document.reset();
  peer("b", DocumentStanding{.version = 10});
  ask({.verb = "apply", .text = "x = 1"});
  EXPECT_EQ(expect("ok", "version 10 is written and holds at 1 broker").brokers.size(), 2U);
}

TEST_F(Desk, WhoLeavesMeanwhileIsNamed) {
  peer("b", DocumentStanding{.version = 7});
  peer("c", DocumentStanding{.version = 7}, /*draining=*/true);
  txn_ = http_ok(kRevision + R"(,"succeeded":true})");
  ask({.verb = "apply", .text = "timeout = 9\n", .wait_ns = kLong});
  run_until_asked(2);
  EXPECT_FALSE(answered_);
  for (const char* const id : {"b", "c"}) {
    peers_.told({.removed = true, .kv = {.key = broker_key("c", id), .mod_revision = ++revision_}},
                {});
  }
  own_.document->version = 8;
  desk_.tick(shm::steady_now());
  expect("timed_out", "version 8 is written, but 1 of 2 brokers left before");
  ASSERT_EQ(answer().brokers.size(), 2U);
  EXPECT_EQ(answer().brokers[0].id, "b");
  EXPECT_EQ(answer().brokers[0].state, "gone");
}

TEST_F(Desk, WhatIsNotValidIsNotWritten) {
  ask({.verb = "apply", .text = "bad"});
  EXPECT_EQ(expect("refused", "not valid; nothing was written").faults,
            std::vector<std::string>{"line 1: bad"});
  ask({.verb = "apply", .text = "# first\n# caf\xe9\n"});
  EXPECT_EQ(expect("refused", "not valid; nothing was written").faults,
            std::vector<std::string>{"line 2: not valid UTF-8"});
  ask({.verb = "apply", .text = std::string(kDocumentBytesMax + 1, '#')});
  (void)expect("refused", "at most 256 KiB");
  ask({.verb = "apply", .text = "x", .note = "a\nb"});
  (void)expect("invalid", "the note");
  ask({.verb = "apply", .text = "x", .note = std::string(kNoteBytesMax + 1, 'x')});
  (void)expect("invalid", "the note");
  ask({.verb = "apply", .text = "x", .version = 6});
  (void)expect("conflict", "the current one is version 7 by ann@b, not 6");
  EXPECT_TRUE(posts().empty());
}

TEST_F(Desk, TheSameTextIsNotWrittenAgain) {
  range_ = listing(kv(document_key("c"), to_value(document(7))));
  own_.document = {.version = 7};
  ask({.verb = "apply", .text = document(7).text});
  (void)expect("ok", "version 7 has that text already and holds at 1 broker");
  ASSERT_EQ(posts().size(), 1U);
  EXPECT_EQ(posts()[0].path, kRangePath);
  own_.document = {.version = 6, .refused = 7};
  ask({.verb = "apply", .text = document(7).text});  // it may do now
  run_until_asked(3);
  EXPECT_EQ(posts()[2].path, kTxnPath);
}

// A broker whose watch is behind said that the text holds, of which there was another one already.
TEST_F(Desk, WhetherTheTextIsTheSameEtcdSays) {
  own_.document = {.version = 7};
  range_ = listing(kv(document_key("c"), to_value(document(8))));
  ask({.verb = "apply", .text = document(7).text});
  (void)expect("conflict", "another version was written meanwhile (8 by ann@b)");
  range_ = listing("");
  ask({.verb = "apply", .text = document(7).text});
  (void)expect("conflict", "the document was taken away meanwhile");
  range_ = listing(kv(document_key("c"), "rubbish"));
  ask({.verb = "apply", .text = document(7).text});
  (void)expect("conflict",
               "what etcd has meanwhile cannot be read (it is no line with a text): apply again, "
               "and it is written over; nothing was written");
  range_ = "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
  ask({.verb = "apply", .text = document(7).text});
  (void)expect("no_etcd", "status 503: ; nothing was written");
}

TEST_F(Desk, TheLoserOfTwoIsTold) {
  const std::string found = R"(,"responses":[{"response_range":{"kvs":[)";
  txn_ = http_ok(kRevision + found + kv(document_key("c"), to_value(document(8))) + "]}}]}");
  ask({.verb = "apply", .text = "x"});
  (void)expect("conflict",
               "another version was written meanwhile (8 by ann@b): look at it with "
               "show, and apply again; nothing was written");
  txn_ = http_ok(kRevision + found + kv(document_key("c"), "rubbish") + "]}}]}");
  ask({.verb = "apply", .text = "x"});
  (void)expect("conflict", "what etcd has meanwhile cannot be read");
  txn_ = http_ok(kRevision + found + "]}}]}");
  ask({.verb = "apply", .text = "x"});
  (void)expect("conflict", "the document was taken away meanwhile");
}

TEST_F(Desk, FaultsOfEtcdSayWhetherItMayBeWritten) {
  away_ = "cannot connect";
  for (const char* const verb : {"apply", "rollback", "history"}) {
    ask({.verb = verb});
    (void)expect("no_etcd", "etcd is not reached: cannot connect");
  }
  away_.clear();
  range_ = "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
  ask({.verb = "apply", .text = "x"});
  (void)expect("no_etcd", "status 503: ; nothing was written");
  range_ = listing("");
  for (const auto& [reply, words] : std::vector<std::pair<std::string, std::string>>{
           {"", "whether it was written nobody knows"},
           {http_ok("{}"), "whether it was written nobody knows"},
           {"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            "whether it was written nobody knows"},
           {"HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
            "status 403: no; nothing was written"}}) {
    txn_ = reply;
    ask({.verb = "apply", .text = "x"});
    (void)expect("no_etcd", words);
  }
}

// Those of the membership hung, and who asked for a document was told that its host was not found.
TEST_F(Desk, LooksUpItsHostWhateverTheMembershipLooksUp) {
  test::SilentNames names;
  std::vector<std::unique_ptr<HostLookup>> theirs;
  for (std::uint32_t i = 0; i < kLookupsPerHostMax; ++i) {
    theirs.push_back(HostLookup::begin(
        "localhost", [silent = names.resolver()](const std::string&) { return silent("silent"); },
        [](const HostAnswer&) {}));
    ASSERT_NE(theirs.back(), nullptr);
  }
  host_ = "localhost";
  ask({.verb = "history"});
  (void)expect("ok", "");
  theirs.clear();
  names.answer();
  names.wait_until_over();
}

TEST_F(Desk, RollbackIsANewVersionWithAnOldText) {
  range_ = listing(kv(history_key("c", 6), to_value(document(6))));
  ask({.verb = "rollback", .wait_ns = kLong});
  run_until_asked(3);
  const auto asked = posts();
  ASSERT_EQ(asked.size(), 3U);
  EXPECT_NE(asked[0].body.find(to_base64(history_key("c", 6))), std::string::npos);
  const Document wanted{.version = 8,
                        .at = 77,
                        .by = "root@a",
                        .note = "rollback to version 6",
                        .text = document(6).text};
  EXPECT_NE(asked[2].body.find(to_base64(to_value(wanted))), std::string::npos);
  own_.document = {.version = 7, .refused = 8, .fault = "no"};
  desk_.tick(shm::steady_now());
  EXPECT_EQ(expect("refused", "1 of 1 broker does not").text.find("rollback"), std::string::npos);
  range_ = listing("");
  ask({.verb = "rollback", .version = 3});
  (void)expect("refused", "version 3 is not kept: see history; nothing was written");
  ask({.verb = "rollback", .version = 7});
  (void)expect("refused", "version 7 is the current one");
  // Whatever is there under that number, somebody else wrote it.
  range_ = listing(kv(history_key("c", 9), to_value(document(9))));
  ask({.verb = "rollback", .version = 9});
  (void)expect("refused", "version 9 is beyond the current one (7): see history");
  current({});
  ask({.verb = "rollback"});
  (void)expect("refused", "there is no document; see history");
  current(document(1));
  ask({.verb = "rollback"});
  (void)expect("timed_out", "version 2 is written");
  const Document nothing{.version = 2, .at = 77, .by = "root@a", .note = "rollback to nothing"};
  EXPECT_NE(posts().back().body.find(to_base64(to_value(nothing))), std::string::npos);
}

TEST_F(Desk, RollbackOfWhatCannotBeReadGivesWhatBrokersHold) {
  range_ = listing(kv(history_key("c", 7), to_value(document(7))));
  (void)watch_.told(
      {.kv = {.key = document_key("c"), .value = "no document", .mod_revision = ++revision_}});
  ASSERT_NE(watch_.fault(), "");
  ask({.verb = "rollback", .wait_ns = kLong});
  run_until_asked(3);
  const auto asked = posts();
  EXPECT_NE(asked[0].body.find(to_base64(history_key("c", 7))), std::string::npos);
  const Document wanted{.version = 8,
                        .at = 77,
                        .by = "root@a",
                        .note = "rollback to version 7",
                        .text = document(7).text};
  EXPECT_NE(asked[2].body.find(to_base64(to_value(wanted))), std::string::npos);
}

TEST_F(Desk, ShowsVersionsAndTheirHistory) {
  ask({.verb = "show"});
  EXPECT_EQ(expect("ok", "").document_text, document(7).text);
  EXPECT_EQ(answer_.document.by, "ann@b");
  range_ = listing(kv(history_key("c", 6), to_value(document(6))) + "," +
                   kv(history_key("c", 5), "garbage"));
  ask({.verb = "show", .version = 6});
  EXPECT_EQ(expect("ok", "").document_text, document(6).text);
  ask({.verb = "history"});
  ASSERT_EQ(expect("ok", "").history.size(), 1U);
  EXPECT_EQ(answer_.history[0].bytes, static_cast<std::int64_t>(document(6).text.size()));
  away_ = "gone";
  ask({.verb = "show"});
  EXPECT_EQ(expect("ok", "it may be old: gone").document.version, 7);
  (void)watch_.told(
      {.kv = {.key = document_key("c"), .value = "garbage", .mod_revision = ++revision_}});
  away_.clear();
  ask({.verb = "show"});
  EXPECT_EQ(expect("ok", "cannot be read").document.version, 7);
  current({});
  ask({.verb = "show"});
  (void)expect("refused", "there is no document");
}

// An etcd that was set up anew has none, and brokers keep theirs.
TEST_F(Desk, WhatEtcdHasLostIsShownAndCanBeAppliedAgain) {
  current({});
  held_ = document(7);
  ask({.verb = "show"});
  EXPECT_EQ(expect("ok", "etcd has none any more").document_text, document(7).text);
  // A number that another broker holds another text by is none to give away.
  own_.document = {.version = 7};
  peer("b", DocumentStanding{.version = 9});
  peer("x", DocumentStanding{.version = kVersionMax});
  ask({.verb = "apply", .text = document(7).text});
  (void)expect("timed_out", "version 10 is written");
  const std::size_t before = posts().size();
  ask({.verb = "rollback"});
  (void)expect("refused", "there is no document; see history");
  EXPECT_EQ(posts().size(), before);
  ask({.verb = "rollback", .version = 0});
  (void)expect("timed_out", "version 10 is written");
  const Document nothing{.version = 10, .at = 77, .by = "root@a", .note = "rollback to nothing"};
  EXPECT_NE(posts().back().body.find(to_base64(to_value(nothing))), std::string::npos);
  held_ = {};
  ask({.verb = "rollback", .version = 0});
  (void)expect("refused", "there is no document");
}

TEST_F(Desk, WhatIsNoRequestIsRefused) {
  for (const char* const line :
       {"", "[]", "{}", R"({"format":2,"verb":"show"})", R"({"format":1,"verb":"drop"})",
        R"({"format":1,"verb":7})", R"({"format":1,"verb":"show","version":"x"})",
        R"({"format":1,"verb":"show","version":-1})",
        R"({"format":1,"verb":"show","version":10000000000})",
        R"({"format":1,"verb":"apply","text":"x","note":7})"}) {
    int answers = 0;
    desk_.take(line, "root@a", 0, [&](const std::string& text) {
      ++answers;
      EXPECT_NE(text.find(R"("status":"invalid")"), std::string::npos) << text;
      EXPECT_EQ(text.find('\n'), text.size() - 1);
    });
    EXPECT_EQ(answers, 1) << line;
  }
  EXPECT_TRUE(posts().empty());
}

}  // namespace
}  // namespace mserve::cluster
