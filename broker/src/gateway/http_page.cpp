// SPDX-License-Identifier: Apache-2.0
#include "gateway/http_page.hpp"

#include "version.hpp"

namespace mserve::broker {

namespace {

std::string row(const char* what, const std::string& value) {
  return std::string("<tr><th align=\"left\">") + what + "</th><td>" + value + "</td></tr>\n";
}

std::string body_of(const HttpFacts& facts) {
  const std::string port = std::to_string(facts.port);
  // The name is one of --name: letters, digits, dots and dashes, nothing that HTML knows.
  return "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>mserve " +
         facts.name +
         "</title><meta name=\"viewport\" content=\"width=device-width\"><meta "
         "name=\"color-scheme\" content=\"light dark\"></head>\n<body>\n<h1>mserve-broker " +
         facts.name + "</h1>\n<table>\n" + row("version", kVersion) +
         row("kdb+ connections", std::to_string(facts.connections)) +
         row("servants", std::to_string(facts.servants)) +
         row("requests", std::to_string(facts.requests)) +
         "</table>\n<p>More, always up to date: run <code>mserve-stat serve --name " + facts.name +
         "</code> on this host, as the broker's user, and open the address that it prints.</p>\n"
         "<p>Ask from q:</p>\n<pre>h:hopen " +
         port +
         "\nh\"proc1 `IBM\"                      / sync: the result\n"
         "(neg h)\"proc1 `IBM\"; h[]           / async: the bare result comes back\n"
         "(neg h)(\"proc1 `IBM\";`callback)    / async: (callback; qid; query; result)\n"
         "(neg h)(1;\"proc1 `IBM\")            / async: (id; result; info)</pre>\n</body></html>\n";
}

constexpr const char* kPlainText = "Content-Type: text/plain; charset=utf-8\r\n";

/// @param more  headers that only this answer has, each with its end of line.
std::string answer(std::string_view method, const char* status, std::string_view more,
                   const std::string& body) {
  std::string text = std::string("HTTP/1.1 ") + status + "\r\n";
  text += more;
  text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  text += "Cache-Control: no-store\r\nConnection: close\r\n\r\n";
  return method == "HEAD" ? text : text + body;
}

}  // namespace

std::string http_page(std::string_view method, std::string_view target, const HttpFacts& facts) {
  if (method != "GET" && method != "HEAD") {
    return answer(method, "405 Method Not Allowed", "Allow: GET, HEAD\r\n",
                  "only GET and HEAD are answered here\n");
  }
  const std::string_view path = target.substr(0, target.find('?'));
  if (path == "/healthz") {
    if (!facts.draining && !facts.awaits_users) {
      return answer(method, "200 OK", kPlainText, "ok\n");
    }
    return answer(method, "503 Service Unavailable", kPlainText,
                  facts.draining ? "draining\n" : "no users\n");
  }
  // A scraper that has the wrong port is to notice.
  return answer(method, path == "/" ? "200 OK" : "404 Not Found",
                "Content-Type: text/html; charset=utf-8\r\n", body_of(facts));
}

}  // namespace mserve::broker
