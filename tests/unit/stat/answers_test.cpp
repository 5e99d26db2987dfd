// SPDX-License-Identifier: Apache-2.0
// What `mserve-stat serve` says to requests, while no broker is there. With one:
// system/serve_test.cpp.
#include "stat/serve/answers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "support/temp_dir.hpp"

namespace mserve::stat {
namespace {

std::string header(const Answer& answer, const std::string& name) {
  const auto found = std::find_if(answer.headers.begin(), answer.headers.end(),
                                  [&](const auto& one) { return name == one.first; });
  return found != answer.headers.end() ? found->second : "";
}

class ServedAlone : public ::testing::Test {
 protected:
  ServedAlone() { watch_.look(); }
  Answer get(const std::string& target, const std::string& host = "127.0.0.1:8080") {
    return answers_.answer({.method = "GET", .target = target, .host = host});
  }
  test::TempDir dir_;
  Watch watch_{BrokerName{.name = "nobody", .directory = dir_.path()}};
  Answers answers_{watch_, {.server_names = {"status.desk.example"}}};
};

TEST(ServedHost, IsOursByAddressOrByAGivenName) {
  const std::vector<std::string> names{"Desk7", "status.desk.example"};
  for (const char* const ours :
       {"127.0.0.1", "127.0.0.1:8080", "10.1.2.3:1", "[::1]", "[::1]:8080", "localhost",
        "LOCALHOST:80", "desk7:8080", "status.desk.example", "localhost:"}) {
    EXPECT_TRUE(is_our_host(ours, names)) << ours;
  }
  for (const char* const other :
       {"", "evil.example", "localhost.evil.example", "desk7.evil.example",
        "127.0.0.1.evil.example", "[::1", "[::1]x", "::1", "localhost:80x", "localhost:123456",
        "user@localhost", "127.0.0.1:80:90", "[evil.example]", "localhost "}) {
    EXPECT_FALSE(is_our_host(other, names)) << other;
  }
  EXPECT_FALSE(is_our_host("desk7", {}));
}

TEST_F(ServedAlone, TellsThatNoBrokerIsThere) {
  EXPECT_EQ(get("/healthz").status, 503U);
  EXPECT_NE(get("/healthz").body.find("\"status\":\"no_broker\""), std::string::npos);
  EXPECT_EQ(get("/metrics").status, 200U);
  EXPECT_NE(get("/metrics").body.find("mserve_up 0\n"), std::string::npos);
  EXPECT_EQ(header(get("/metrics"), "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  for (const char* const name :
       {"servants", "clients", "routes", "latency", "events", "queries", "counters", "top"}) {
    const Answer answer = get("/api/" + std::string(name) + ".json");
    EXPECT_EQ(answer.status, 503U) << name;
    EXPECT_TRUE(answer.body.starts_with("{\"error\":\"no_broker\"")) << answer.body;
  }
  const Answer page = get("/api/page.json?after=0");
  EXPECT_EQ(page.status, 200U);
  EXPECT_NE(page.body.find("\"look\":null"), std::string::npos) << page.body;
}

TEST_F(ServedAlone, ThePageHasItsOwnScriptAndStyleAndNothingElse) {
  const Answer page = get("/");
  EXPECT_EQ(page.status, 200U);
  const std::string policy = header(page, "Content-Security-Policy");
  const std::size_t at = policy.find("script-src 'nonce-");
  ASSERT_NE(at, std::string::npos) << policy;
  EXPECT_TRUE(policy.starts_with("default-src 'none'; "));
  const std::string nonce = policy.substr(at + 18, 32);
  EXPECT_NE(page.body.find("<script nonce=\"" + nonce + "\">"), std::string::npos);
  EXPECT_NE(page.body.find("<style nonce=\"" + nonce + "\">"), std::string::npos);
  EXPECT_NE(page.body.find("prefers-color-scheme"), std::string::npos);
  EXPECT_NE(page.body.find("aria-live"), std::string::npos);
  for (const char* const word : {"@NONCE@", "@STYLE@", "@SCRIPT@", "innerHTML", "https:"}) {
    EXPECT_EQ(page.body.find(word), std::string::npos) << word;
  }
  EXPECT_NE(header(get("/"), "Content-Security-Policy"), policy) << "guessable";
}

TEST_F(ServedAlone, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(get("/favicon.ico").status, 404U);
  EXPECT_EQ(get("/api/").status, 404U);
  EXPECT_EQ(get("/api/.json").status, 404U);
  EXPECT_EQ(get("/api/secrets.json").status, 404U);
  EXPECT_EQ(get("/../etc/passwd").status, 404U);
  EXPECT_EQ(get("*").status, 400U);
  EXPECT_EQ(get("http://127.0.0.1/").status, 400U);
  EXPECT_EQ(get("").status, 400U);
  EXPECT_EQ(get("/", "evil.example").status, 421U);
  EXPECT_EQ(get("/", "status.desk.example:1").status, 200U);
  EXPECT_EQ(get("/", "").status, 200U) << "as HTTP/1.0 may";
  for (const char* const method : {"POST", "PUT", "DELETE", "TRACE", "get", ""}) {
    const Answer answer = answers_.answer({.method = method, .target = "/", .host = "localhost"});
    EXPECT_EQ(answer.status, 405U) << method;
    EXPECT_EQ(header(answer, "Allow"), "GET, HEAD");
  }
  for (const char* const query :
       {"?n=", "?n=x", "?n=-1", "?n=1x", "?after=99999999999999999999", "?n", "?a=1&servant=0x1"}) {
    const Answer answer = get("/api/routes.json" + std::string(query));
    EXPECT_EQ(answer.status, 400U) << query;
    EXPECT_NE(answer.body.find("whole numbers"), std::string::npos) << answer.body;
  }
  EXPECT_EQ(get("/api/routes.json?n=5&other=x&").status, 503U);
}

TEST(ServedQueries, AreNotShownWhenTurnedOff) {
  const test::TempDir dir;
  Watch watch(BrokerName{.name = "nobody", .directory = dir.path()});
  Answers answers(watch, {.no_queries = true});
  EXPECT_EQ(
      answers.answer({.method = "GET", .target = "/api/queries.json", .host = "localhost"}).status,
      404U);
}

}  // namespace
}  // namespace mserve::stat
