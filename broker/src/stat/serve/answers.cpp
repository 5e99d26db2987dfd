// SPDX-License-Identifier: Apache-2.0
#include "stat/serve/answers.hpp"

#include <arpa/inet.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "mserve/kdb/json.hpp"
#include "mserve/shm/clock.hpp"
#include "stat/serve/metrics.hpp"
#include "stat/serve/page.hpp"
#include "stat/tables.hpp"
#include "version.hpp"

namespace mserve::stat {

namespace {

using kdb::Value;

constexpr std::uint32_t kRowsShown = 20;
constexpr std::uint32_t kRowsMax = 1000;

enum Status : unsigned {
  kOk = 200,
  kBadRequest = 400,
  kNotFound = 404,
  kMethodNotAllowed = 405,
  kMisdirected = 421,
  kUnavailable = 503
};

char lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
bool same_name(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

bool is_address(std::string_view text) {
  const std::string address(text);
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return inet_pton(AF_INET, address.c_str(), bytes.data()) == 1 ||
         inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1;
}

bool is_port(std::string_view text) noexcept {
  return text.size() <= 5 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Answer json_answer(unsigned status, std::string body) {
  return {status, std::move(body) + "\n", {{"Content-Type", "application/json; charset=utf-8"}}};
}

std::string quoted(const std::string& text) {
  return kdb::to_json(Value::chars(text));
}

Answer fault_answer(const char* word, const std::string& reason) {
  return json_answer(kUnavailable,
                     "{\"error\":" + quoted(word) + ",\"reason\":" + quoted(reason) + "}");
}

/// Puts `value` wherever `key` stands; `value` has no key in it.
void replace_all(std::string& text, std::string_view key, std::string_view value) {
  for (auto at = text.find(key); at != std::string::npos; at = text.find(key, at + value.size())) {
    text.replace(at, key.size(), value);
  }
}

/// What the page's own script and style are known by: nobody can guess it.
std::string nonce() {
  std::array<unsigned char, 16> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return {};  // then the browser runs no script
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text;
}

/// A whole number of ns, or null where JSON has no number.
std::string ns_text(double ns) {
  return std::isfinite(ns) ? std::to_string(std::llround(ns)) : "null";
}

std::string points_json(const std::deque<Point>& points, std::uint64_t after) {
  constexpr double kTenths = 10;
  const auto tenths = [](double rate) {
    const auto whole = static_cast<std::uint64_t>(std::llround(rate * kTenths));
    return std::to_string(whole / 10) + "." + std::to_string(whole % 10);
  };
  std::string text = "[";
  for (const Point& point : points) {
    if (point.number <= after) {
      continue;
    }
    text += text.size() > 1 ? "," : "";
    text += "{\"number\":" + std::to_string(point.number) +
            ",\"at_ms\":" + std::to_string(point.at_ms) +
            ",\"answered\":" + std::to_string(point.answered) + ",\"p50\":" + ns_text(point.p50) +
            ",\"p90\":" + ns_text(point.p90) + ",\"p99\":" + ns_text(point.p99) +
            ",\"max\":" + ns_text(point.max) +
            ",\"requests_per_s\":" + tenths(point.requests_per_s) +
            ",\"errors_per_s\":" + tenths(point.errors_per_s) +
            ",\"queued\":" + std::to_string(point.queued) +
            ",\"running\":" + std::to_string(point.running) + "}";
  }
  return text + "]";
}

}  // namespace

/// What stands behind the `?`.
struct Answers::Query {
  std::uint32_t n = kRowsShown;
  std::uint64_t after = 0;
  std::uint64_t servant = 0;

  /// @return nothing: one of these is no whole number, or too large. Others are passed over.
  [[nodiscard]] static std::optional<Query> parse(std::string_view text) {
    Query query;
    while (!text.empty()) {
      const std::string_view part = text.substr(0, text.find('&'));
      text.remove_prefix(std::min(part.size() + 1, text.size()));
      const std::size_t equals = std::min(part.find('='), part.size());
      const std::string_view key = part.substr(0, equals);
      const bool known = key == "n" || key == "after" || key == "servant";
      if (!known) {
        continue;
      }
      const std::string_view digits = part.substr(std::min(equals + 1, part.size()));
      std::uint64_t value = 0;
      const auto [end, fault] =
          std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (fault != std::errc{} || end != digits.data() + digits.size()) {
        return std::nullopt;
      }
      if (key == "n") {
        query.n = static_cast<std::uint32_t>(std::min<std::uint64_t>(value, kRowsMax));
      } else {
        (key == "after" ? query.after : query.servant) = value;
      }
    }
    return query;
  }
};

Answer plain_answer(unsigned status, std::string text) {
  return {status, std::move(text) + "\n", {{"Content-Type", "text/plain; charset=utf-8"}}};
}

bool is_our_host(std::string_view host, const std::vector<std::string>& names) {
  std::string_view name = host;
  std::string_view port;
  if (host.starts_with('[')) {  // [::1]:8080
    const std::size_t end = host.find(']');
    if (end == std::string_view::npos) {
      return false;
    }
    name = host.substr(1, end - 1);
    port = host.substr(end + 1);
  } else if (const std::size_t colon = host.find(':'); colon != std::string_view::npos) {
    name = host.substr(0, colon);
    port = host.substr(colon);
  }
  if (!port.empty() && (port.front() != ':' || !is_port(port.substr(1)))) {
    return false;
  }
  return is_address(name) || same_name(name, "localhost") ||
         std::any_of(names.begin(), names.end(),
                     [name](const std::string& own) { return same_name(own, name); });
}

Answers::Answers(Watch& watch, ServeOptions options) : watch_(watch), options_(std::move(options)) {
  constexpr std::size_t kNameMax = 256;
  std::array<char, kNameMax> own{};
  if (gethostname(own.data(), own.size() - 1) == 0 && own.front() != '\0') {
    options_.server_names.emplace_back(own.data());
  }
}

Answer Answers::answer(const Ask& ask) {
  if (ask.method != "GET" && ask.method != "HEAD") {
    Answer answer = plain_answer(kMethodNotAllowed, "only GET and HEAD are answered here");
    answer.headers.emplace_back("Allow", "GET, HEAD");
    return answer;
  }
  if (!ask.host.empty() && !is_our_host(ask.host, options_.server_names)) {
    return plain_answer(kMisdirected,
                        "this server does not go by that name; use its address, or start it with "
                        "--server-name");
  }
  const std::size_t mark = std::min(ask.target.find('?'), ask.target.size());
  const std::string_view path = ask.target.substr(0, mark);
  const auto query = Query::parse(ask.target.substr(std::min(mark + 1, ask.target.size())));
  if (!path.starts_with('/')) {
    return plain_answer(kBadRequest, "that is no address of this server");
  }
  if (!query) {
    return plain_answer(kBadRequest, "behind '?', n, after and servant are whole numbers: ?n=20");
  }
  if (path == "/") {
    return page();
  }
  if (path == "/metrics") {
    return metrics();
  }
  if (path == "/healthz") {
    return health();
  }
  constexpr std::string_view kApi = "/api/";
  constexpr std::string_view kJson = ".json";
  if (path.starts_with(kApi) && path.ends_with(kJson) && path.size() > kApi.size() + kJson.size()) {
    return api(path.substr(kApi.size(), path.size() - kApi.size() - kJson.size()), *query);
  }
  return plain_answer(kNotFound, "here are /, /metrics, /healthz and /api/NAME.json");
}

std::string Answers::agent_line() {
  if (watch_.fresh() == nullptr || watch_.presence() != Presence::there) {
    return "down\n";
  }
  // Kept, as only so many events are.
  const auto events = watch_.events();
  if (std::any_of(events.begin(), events.end(), [](const shm::MonitorHappening& event) {
        return event.kind == shm::MonitorEventKind::draining;
      })) {
    drained_epoch_ = watch_.epoch();
  }
  return drained_epoch_ == watch_.epoch() ? "drain\n" : "ready up\n";
}

Answer Answers::page() const {
  const std::string word = nonce();
  std::string html(kPageHtml);
  replace_all(html, "@NONCE@", word);
  // The last, as these are long; neither has a key in it.
  replace_all(html, "@STYLE@", kPageStyle);
  replace_all(html, "@SCRIPT@", kPageScript);
  return {kOk,
          std::move(html),
          {{"Content-Type", "text/html; charset=utf-8"},
           {"Content-Security-Policy",
            "default-src 'none'; script-src 'nonce-" + word + "'; style-src 'nonce-" + word +
                "'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                "frame-ancestors 'none'"}}};
}

std::string Answers::status_json() const {
  constexpr double kNsPerSecond = 1e9;
  double uptime_s = 0;
  double silence_s = 0;
  std::uint64_t servants = 0;
  if (const View* const view = watch_.view()) {
    const std::uint64_t now = shm::steady_now();
    const shm::MonitorTotals& totals = view->now.totals;
    uptime_s = static_cast<double>(now - std::min(now, totals.started_at)) / kNsPerSecond;
    silence_s =
        static_cast<double>(view->now.taken_at - std::min(view->now.taken_at, totals.told_at)) /
        kNsPerSecond;
    servants = watch_.presence() == Presence::gone ? 0 : totals.servants;
  }
  // The epoch is a string: it has more digits than a number of JavaScript.
  return "{\"status\":\"" + std::string(to_string(watch_.presence())) +
         "\",\"reason\":" + quoted(watch_.reason()) + ",\"broker\":" + quoted(watch_.name()) +
         ",\"pid\":" + std::to_string(watch_.pid()) + ",\"epoch\":\"" +
         std::to_string(watch_.epoch()) + "\",\"servants\":" + std::to_string(servants) +
         ",\"uptime_s\":" + std::to_string(uptime_s) +
         ",\"silence_s\":" + std::to_string(silence_s) + ",\"version\":\"" + kVersion + "\"}";
}

Answer Answers::health() {
  (void)watch_.fresh();  // a broker that ended is known at once
  return json_answer(watch_.presence() == Presence::there ? kOk : kUnavailable, status_json());
}

Answer Answers::metrics() {
  MetricsFacts facts{
      .broker = watch_.name(), .pid = watch_.pid(), .looks = ++looks_, .snapshot = watch_.fresh()};
  if (facts.snapshot != nullptr) {
    facts.pid = watch_.pid();  // fresh() may have found another one
    facts.counters = watch_.counters();
  }
  return {kOk, metrics_text(facts), {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}}};
}

/// What the broker's control thread answers, as of `mserve-stat --json`.
Answer Answers::asked(shm::Verb verb, std::uint32_t count) {
  shm::Control request;
  request.verb = verb;
  request.count = count;
  std::string reason;
  const auto got = watch_.ask(request, reason);
  if (!got) {
    return fault_answer(mserve::to_string(got.error().code),
                        reason.empty() ? advice(got.error().code) : reason);
  }
  const ControlAnswer& answer = got.value();
  if (answer.status != Errc::ok || !answer.table) {
    return fault_answer(mserve::to_string(answer.status), answer.text);
  }
  if (verb == shm::Verb::servants) {
    const View view{.now = *watch_.fresh()};
    return json_answer(kOk, kdb::to_json(servants_table(*answer.table, view)));
  }
  return json_answer(kOk, kdb::to_json(*answer.table));
}

Answer Answers::latency(std::uint64_t servant) {
  const shm::MonitorSnapshot& now = *watch_.fresh();
  if (servant == 0) {
    return json_answer(kOk, kdb::to_json(latency_table(now.latency, &now.broker)));
  }
  if (const shm::MonitorSession* const found = servant_of(now, servant);
      found != nullptr && found->latency) {
    return json_answer(kOk, kdb::to_json(latency_table(*found->latency, nullptr)));
  }
  return json_answer(kNotFound,
                     "{\"error\":\"no_servant\",\"reason\":\"no servant with times of "
                     "its own has that number\"}");
}

/// What the page shows, in one answer, so that it all belongs together.
Answer Answers::all(std::uint64_t after) const {
  const View* const view = watch_.view();
  return json_answer(kOk, "{\"status\":" + status_json() +
                              ",\"queries\":" + (options_.no_queries ? "false" : "true") +
                              ",\"look\":" + (view != nullptr ? view_json(*view) : "null") +
                              ",\"points\":" + points_json(watch_.points(), after) + "}");
}

Answer Answers::api(std::string_view name, const Query& query) {
  constexpr std::array<std::string_view, 9> kNames{
      "servants", "clients", "routes", "latency", "events", "queries", "counters", "top", "page"};
  if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) {
    return plain_answer(kNotFound,
                        "of /api/NAME.json there are servants, clients, routes, latency, events, "
                        "queries, counters and top");
  }
  if (name == "page") {
    return all(query.after);
  }
  if (name == "queries" && options_.no_queries) {
    return json_answer(kNotFound,
                       "{\"error\":\"off\",\"reason\":\"this server was started with "
                       "--no-queries\"}");
  }
  const shm::MonitorSnapshot* const now = watch_.fresh();
  if (now == nullptr) {
    return fault_answer(to_string(watch_.presence()), watch_.reason());
  }
  if (name == "servants") {
    return asked(shm::Verb::servants, 0);
  }
  if (name == "queries") {
    return asked(shm::Verb::queries, query.n);
  }
  if (name == "latency") {
    return latency(query.servant);
  }
  if (name == "events") {
    auto events = watch_.events(query.after);
    const std::size_t kept = std::min<std::size_t>(events.size(), query.n);
    events.erase(events.begin(), events.end() - static_cast<std::ptrdiff_t>(kept));
    return json_answer(kOk, kdb::to_json(events_table(events)));
  }
  if (name == "counters") {
    return json_answer(kOk, kdb::to_json(counters_table(watch_.counters())));
  }
  if (name == "top") {
    return json_answer(kOk, view_json(*watch_.view()));
  }
  const View view{.now = *now};
  return json_answer(
      kOk, kdb::to_json(name == "clients" ? clients_table(view) : routes_table(view, query.n)));
}

}  // namespace mserve::stat
