// SPDX-License-Identifier: Apache-2.0
// Goal: the first bytes of a connection are told apart however they arrive. Method: recorded and
// hand-made openings, whole, byte by byte, and cut short.
#include "gateway/opening.hpp"

#include <gtest/gtest.h>

#include <string>

namespace mserve::broker {
namespace {

using Kind = Opening::Kind;
using namespace std::string_literals;

Opening opening_of(std::string_view text, bool ended = false) {
  return parse_opening(std::as_bytes(std::span(text)), ended);
}

/// Every shorter beginning asks for more, and is refused when no more can come.
void expect_more_until_the_end(std::string_view text) {
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_EQ(opening_of(text.substr(0, size)).kind, Kind::more) << "after " << size << " bytes";
    const Opening cut = opening_of(text.substr(0, size), true);
    EXPECT_EQ(cut.kind, Kind::refused) << "cut after " << size << " bytes";
    EXPECT_FALSE(cut.reason.empty());
  }
}

TEST(Opening, ReadsCredentialsAndCapability) {
  const std::string text = "joe:secret:too\3\0"s;
  expect_more_until_the_end(text);
  const Opening opening = opening_of(text);
  EXPECT_EQ(opening.kind, Kind::kdb);
  EXPECT_EQ(opening.user, "joe");
  EXPECT_EQ(opening.password, "secret:too");
  EXPECT_EQ(opening.capability, 3);
  EXPECT_EQ(opening.consumed, text.size());
}

TEST(Opening, TakesClientsWithoutCredentials) {
  const Opening bare = opening_of("\6\0"s);
  EXPECT_EQ(bare.kind, Kind::kdb);
  EXPECT_EQ(bare.capability, 6);
  EXPECT_EQ(bare.user + bare.password, "");
  const Opening name_only = opening_of("anonymous\3\0"s);
  EXPECT_EQ(name_only.user, "anonymous");
  EXPECT_EQ(name_only.password, "");
  EXPECT_EQ(opening_of("\0"s).kind, Kind::kdb);
  EXPECT_EQ(opening_of("\0"s).consumed, 1U);
}

TEST(Opening, TakesOldClientsWithoutCapability) {
  const Opening opening = opening_of("joe:pw\0"s);
  EXPECT_EQ(opening.kind, Kind::kdb);
  EXPECT_EQ(opening.capability, 0);
  EXPECT_EQ(opening.password, "pw");
  EXPECT_EQ(opening_of("joe:p\xc3\xa4\0"s).capability, 0) << "a byte above ASCII is no capability";
}

TEST(Opening, LeavesTheMessageBehindTheHandshake) {
  const std::string message = "\1\1\0\0\x0e\0\0\0\x0a\0\0\0\0\0"s;
  EXPECT_EQ(opening_of("joe:pw\3\0"s + message).consumed, 8U);
  EXPECT_EQ(opening_of("joe:pw\3\0"s + message, true).kind, Kind::kdb) << "a half-close is legal";
}

// An old client that does not wait for its answer is not taken for a console.
TEST(Opening, TellsAMessageOfAnOldClientFromAConsoleLine) {
  const std::string little = "joe:pw\0\1\1\0\0\x0e\0\0\0\x0a\0\0\0\0\0"s;
  const std::string big = "joe:pw\0\0\1\0\0\0\0\0\x0e\x0a\0\0\0\0\0"s;
  for (const std::string& text : {little, big}) {
    EXPECT_EQ(opening_of(text).kind, Kind::kdb);
    EXPECT_EQ(opening_of(text).consumed, 7U);
  }
  EXPECT_EQ(opening_of(big.substr(0, 8)).kind, Kind::more)
      << "may still become an empty console line";
}

TEST(Opening, ReadsAConsoleLine) {
  const std::string text = "joe:pw\0select from t\0"s;
  const Opening opening = opening_of(text);
  EXPECT_EQ(opening.kind, Kind::qcon);
  EXPECT_EQ(opening.user, "joe");
  EXPECT_EQ(opening.password, "pw");
  EXPECT_EQ(opening.text, "select from t");
  EXPECT_EQ(opening.consumed, text.size());
  EXPECT_EQ(opening_of(text, true).kind, Kind::qcon);
  for (std::size_t size = 8; size < text.size(); ++size) {
    EXPECT_EQ(opening_of(text.substr(0, size)).kind, Kind::more);
    EXPECT_EQ(opening_of(text.substr(0, size), true).kind, Kind::refused);
  }
}

TEST(Opening, ReadsAnEmptyConsoleLineOnceItEnded) {
  EXPECT_EQ(opening_of("joe:pw\0\0"s).kind, Kind::more);
  const Opening opening = opening_of("joe:pw\0\0"s, true);
  EXPECT_EQ(opening.kind, Kind::qcon);
  EXPECT_EQ(opening.text, "");
  EXPECT_EQ(opening.consumed, 8U);
}

TEST(Opening, ReadsHttpRequestsOfEveryMethod) {
  for (const std::string method :
       {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}) {
    const std::string text = method + " /status?a=b HTTP/1.1\r\nHost: x\r\n\r\n";
    expect_more_until_the_end(text.substr(0, text.find('\n')));
    EXPECT_EQ(opening_of(text.substr(0, text.size() - 1)).kind, Kind::more) << "no blank line yet";
    const Opening opening = opening_of(text + "body");
    EXPECT_EQ(opening.kind, Kind::http);
    EXPECT_EQ(opening.method, method);
    EXPECT_EQ(opening.text, "/status?a=b");
    EXPECT_EQ(opening.consumed, text.size());
  }
}

TEST(Opening, ReadsSloppyHttpRequests) {
  EXPECT_EQ(opening_of("GET /x\n\n").text, "/x");
  EXPECT_EQ(opening_of("GET /x HTTP/1.0\n\nmore\r\n\r\n").consumed, 17U);
  EXPECT_EQ(opening_of("GET / HTTP/1.1\r\nHost: x\r\n", true).kind, Kind::http);
  EXPECT_EQ(opening_of("GET  / HTTP/1.1\r\n\r\n").kind, Kind::refused);
  EXPECT_EQ(opening_of("GET \r\n\r\n").kind, Kind::refused);
  EXPECT_EQ(opening_of("GET /\0 HTTP/1.1\r\n\r\n"s).kind, Kind::refused);
}

TEST(Opening, TakesAUserWhoseNameStartsLikeAMethod) {
  const Opening opening = opening_of("GETTY:pw\3\0"s);
  EXPECT_EQ(opening.kind, Kind::kdb);
  EXPECT_EQ(opening.user, "GETTY");
}

TEST(Opening, RefusesTlsAtOnce) {
  EXPECT_EQ(opening_of("\x16").kind, Kind::more);
  const Opening opening = opening_of("\x16\x03\x01");
  EXPECT_EQ(opening.kind, Kind::refused);
  EXPECT_NE(opening.reason.find("TLS"), std::string_view::npos);
}

TEST(Opening, RefusesWhatIsTooLong) {
  const std::string long_name(kOpeningBytesMax - 1, 'a');
  EXPECT_EQ(opening_of(long_name).kind, Kind::more);
  EXPECT_EQ(opening_of(long_name + "a").kind, Kind::refused);
  EXPECT_EQ(opening_of(long_name + "\0"s).kind, Kind::kdb);
  EXPECT_EQ(opening_of(long_name + "a\3\0"s).kind, Kind::refused);
  EXPECT_EQ(opening_of("u\0"s + long_name).kind, Kind::refused);
  EXPECT_EQ(opening_of("GET /" + long_name).kind, Kind::refused);
}

// Browsers send more than we want to read; the request line is all that counts.
TEST(Opening, TakesAnHttpRequestWithALongHead) {
  const Opening opening =
      opening_of("GET / HTTP/1.1\r\nCookie: " + std::string(kOpeningBytesMax, 'c'));
  EXPECT_EQ(opening.kind, Kind::http);
  EXPECT_EQ(opening.consumed, kOpeningBytesMax);
}

TEST(Opening, AnswersTheSmallerCapability) {
  EXPECT_EQ(answer_capability(0), 0);
  EXPECT_EQ(answer_capability(3), 3);
  EXPECT_EQ(answer_capability(6), 6);
  EXPECT_EQ(answer_capability(31), 6);
}

}  // namespace
}  // namespace mserve::broker
