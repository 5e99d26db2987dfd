// SPDX-License-Identifier: Apache-2.0
#include "stat/serve/metrics.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <utility>
#include <vector>

#include "stat/tables.hpp"
#include "version.hpp"

namespace mserve::stat {

namespace {

double seconds(std::uint64_t ns) noexcept {
  constexpr double kNsPerSecond = 1e9;
  return static_cast<double>(ns) / kNsPerSecond;
}

/// Labels of one sample, as they are written.
using Labels = std::vector<std::pair<const char*, std::string>>;

/// Which powers of two, in ns, a histogram shows. They are edges of the segment's buckets, so what
/// is shown is what was counted.
struct Edges {
  std::uint32_t first;
  std::uint32_t last;
  std::uint32_t step;
};
constexpr Edges kFine{7, 36, 1};    // 128 ns, ... 69 s
constexpr Edges kCoarse{8, 36, 2};  // 256 ns, ... 69 s by 4: of these there are many

class Text {
 public:
  void family(const char* name, const char* type, const char* help) {
    name_ = name;
    text_ += "# HELP " + name_ + " " + help + "\n# TYPE " + name_ + " " + type + "\n";
  }
  void sample(const Labels& labels, std::uint64_t value) { put("", labels, std::to_string(value)); }
  void sample(const Labels& labels, double value) { put("", labels, number(value)); }
  void histogram(const Labels& labels, const shm::MonitorHistogram& histogram, Edges edges) {
    Labels own = labels;
    own.emplace_back("le", "");
    std::uint64_t below = 0;
    std::uint32_t bucket = 0;
    for (std::uint32_t power = edges.first; power <= edges.last; power += edges.step) {
      const std::uint64_t edge = std::uint64_t{1} << power;
      for (; bucket < shm::monitor_bucket_of(edge); ++bucket) {
        below += histogram.counts[bucket];
      }
      own.back().second = number(seconds(edge));
      put("_bucket", own, std::to_string(below));
    }
    const std::string count = std::to_string(histogram.count());
    own.back().second = "+Inf";
    put("_bucket", own, count);
    put("_sum", labels, number(seconds(histogram.sum_ns)));
    put("_count", labels, count);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  static std::string number(double value) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    return {digits.data(), end};
  }
  void put(const char* suffix, const Labels& labels, const std::string& value) {
    text_ += name_ + suffix;
    char mark = '{';
    for (const auto& [key, word] : labels) {
      text_ += mark;
      text_ += std::string(key) + "=\"" + label_text(word) + "\"";
      mark = ',';
    }
    text_ += (labels.empty() ? " " : "} ") + value + "\n";
  }

  std::string name_;
  std::string text_;
};

/// One family whose samples differ in a label, or that has one sample.
struct Labelled {
  const char* label;
  std::uint64_t value;
};
void counters(Text& text, const char* name, const char* help, const char* label,
              std::initializer_list<Labelled> parts) {
  text.family(name, "counter", help);
  for (const Labelled& part : parts) {
    text.sample({{label, part.label}}, part.value);
  }
}
void counter(Text& text, const char* name, const char* help, std::uint64_t value) {
  text.family(name, "counter", help);
  text.sample({}, value);
}
void counter_seconds(Text& text, const char* name, const char* help, std::uint64_t ns) {
  text.family(name, "counter", help);
  text.sample({}, seconds(ns));
}
void gauge(Text& text, const char* name, const char* help, std::uint64_t value) {
  text.family(name, "gauge", help);
  text.sample({}, value);
}
void gauge_seconds(Text& text, const char* name, const char* help, std::uint64_t ns) {
  text.family(name, "gauge", help);
  text.sample({}, seconds(ns));
}

void put_now(Text& text, const shm::MonitorSnapshot& now) {
  const shm::MonitorTotals& t = now.totals;
  gauge_seconds(text, "mserve_uptime_seconds", "Since the broker made its data plane.",
                now.taken_at - std::min(now.taken_at, t.started_at));
  gauge_seconds(text, "mserve_data_thread_silence_seconds",
                "Since the data thread last showed something, which it does each millisecond; "
                "seconds mean that it is stopped or hangs.",
                now.taken_at - std::min(now.taken_at, t.told_at));
  gauge(text, "mserve_requests_queued", "Requests that wait for a servant.", t.queued);
  gauge(text, "mserve_requests_running", "Requests with a servant.", t.running);
  gauge_seconds(text, "mserve_queue_age_seconds",
                "How long the oldest queued request has waited, of one looked at each millisecond.",
                t.queue_age_ns);
  gauge(text, "mserve_sessions", "Clients, servants and gateways that are attached.", t.sessions);
  gauge(text, "mserve_servants", "Servants that are attached.", t.servants);
  gauge(text, "mserve_kept_bytes", "Answers that wait for slow clients.", t.kept_bytes);
}

void put_requests(Text& text, const shm::MonitorTotals& t) {
  counter(text, "mserve_requests_total", "Requests accepted from clients.", t.requests);
  counter(text, "mserve_replies_total", "Answers of servants, handed to clients or kept for them.",
          t.replies);
  counter(text, "mserve_errors_total",
          "Accepted requests that ended with a status of the broker's.", t.errors);
  counter(text, "mserve_refused_total",
          "Requests that were not accepted: busy, no servant and the like.", t.refused);
  counters(text, "mserve_dispatched_total",
           "Requests sent to servants, repeats included, by how the servant was chosen: hit (it "
           "held the route), claim (nobody did), steal (it gave up a route for it), spill (a "
           "holder lives, but was not taken), unrouted, remote (tiers 1 to 3), bound (sticky "
           "client, broadcast).",
           "way",
           {{"hit", t.hits},
            {"claim", t.claims},
            {"steal", t.steals},
            {"spill", t.spills},
            {"unrouted", t.unrouted},
            {"remote", t.remote},
            {"bound", t.bound}});
  counter(text, "mserve_retries_total", "Requests put back because their servant left.", t.retried);
  counter(text, "mserve_queue_timeouts_total", "Requests that waited too long for a servant.",
          t.queue_timeouts);
  counter(text, "mserve_overruns_total", "Requests that ran too long.", t.overruns);
  counter(text, "mserve_died_total", "Requests that failed because their servant left.", t.died);
  counter(text, "mserve_cancelled_total",
          "Requests that vanished with their client or by its wish.", t.cancelled);
  counters(text, "mserve_sessions_closed_total",
           "Sessions that the broker closed: poisoned (the peer broke the protocol), slow (it did "
           "not read), stalled (a message made no progress).",
           "reason", {{"poisoned", t.poisoned}, {"slow", t.slow}, {"stalled", t.stalled}});
  counter(text, "mserve_kept_total", "Answers that had to wait for a slow client.", t.kept);
}

void put_data_thread(Text& text, const shm::MonitorTotals& t) {
  counter(text, "mserve_wakes_total", "Peers that were woken.", t.wakes);
  counter(text, "mserve_data_thread_sleeps_total", "Times that the data thread slept.", t.sleeps);
  counter_seconds(text, "mserve_data_thread_asleep_seconds_total",
                  "How long the data thread slept in all.", t.asleep_ns);
  counter(text, "mserve_data_thread_passes_total", "Passes of the data thread.", t.passes);
  counter(text, "mserve_data_thread_passes_worked_total",
          "Passes of the data thread that found work.", t.worked);
}

void put_latency(Text& text, const shm::MonitorSnapshot& now) {
  const auto put = [&](const char* name, const char* help, const shm::MonitorHistogram& times) {
    text.family(name, "histogram", help);
    text.histogram({}, times, kFine);
  };
  put("mserve_queue_time_seconds",
      "From taking a request from its client to giving it to the servant that answered it.",
      now.latency.queue);
  put("mserve_execution_time_seconds", "From there to having the answer.", now.latency.execution);
  put("mserve_round_trip_seconds", "Both together, as the broker sees it.", now.latency.whole);
  put("mserve_broker_in_seconds",
      "What the broker itself takes to pass a request on; one of 64 is measured.", now.broker.in);
  put("mserve_broker_out_seconds",
      "What the broker itself takes to pass an answer on; one of 64 is measured.", now.broker.out);
}

/// Sessions of one kind, at most `most`. @return how many there are more.
struct Chosen {
  std::vector<const shm::MonitorSession*> sessions;
  std::vector<Labels> labels;
  std::uint64_t left_out = 0;
};
Chosen choose(const shm::MonitorSnapshot& now, bool servants, std::size_t most) {
  Chosen chosen;
  for (const shm::MonitorSession& session : now.sessions) {
    if (session.is(shm::Role::servant) != servants) {
      continue;
    }
    if (chosen.sessions.size() == most) {
      ++chosen.left_out;
      continue;
    }
    chosen.sessions.push_back(&session);
    Labels labels{{servants ? "servant" : "client", std::to_string(session.identity.number)},
                  {"name", session.name()}};
    if (servants) {
      labels.emplace_back("group", group_of(session.tags()));
    } else {
      labels.emplace_back("role", session.is(shm::Role::gateway) ? "gateway" : "client");
    }
    chosen.labels.push_back(std::move(labels));
  }
  return chosen;
}

template <class ValueOf>
void each(Text& text, const Chosen& chosen, const char* name, const char* type, const char* help,
          ValueOf value_of) {
  if (chosen.sessions.empty()) {
    return;
  }
  text.family(name, type, help);
  for (std::size_t i = 0; i < chosen.sessions.size(); ++i) {
    text.sample(chosen.labels[i], value_of(*chosen.sessions[i]));
  }
}

/// The requests and rings that every kind of session has.
struct Names {
  const char* requests;
  const char* requests_help;
  const char* answered;
  const char* answered_help;
  const char* errors;
  const char* errors_help;
  const char* ring;
  const char* ring_capacity;
};
void put_common(Text& text, const Chosen& chosen, const Names& names) {
  using Session = shm::MonitorSession;
  each(text, chosen, names.requests, "counter", names.requests_help,
       [](const Session& s) { return s.busy.requests; });
  each(text, chosen, names.answered, "counter", names.answered_help,
       [](const Session& s) { return s.busy.answered; });
  each(text, chosen, names.errors, "counter", names.errors_help,
       [](const Session& s) { return s.busy.errors; });
  if (chosen.sessions.empty()) {
    return;
  }
  const auto rings = [&](const char* name, const char* help, auto in, auto out) {
    text.family(name, "gauge", help);
    for (std::size_t i = 0; i < chosen.sessions.size(); ++i) {
      Labels labels = chosen.labels[i];
      labels.emplace_back("ring", "to_broker");
      text.sample(labels, std::uint64_t{in(*chosen.sessions[i])});
      labels.back().second = "from_broker";
      text.sample(labels, std::uint64_t{out(*chosen.sessions[i])});
    }
  };
  rings(
      names.ring, "Bytes in a ring that were not read yet.",
      [](const Session& s) { return s.now.in_bytes; },
      [](const Session& s) { return s.now.out_bytes; });
  rings(
      names.ring_capacity, "Bytes that a ring takes.",
      [](const Session& s) { return s.identity.ring_in_bytes; },
      [](const Session& s) { return s.identity.ring_out_bytes; });
}

void put_servant_times(Text& text, const Chosen& chosen, const char* name, const char* help,
                       shm::MonitorHistogram shm::MonitorLatency::*times) {
  bool begun = false;
  for (std::size_t i = 0; i < chosen.sessions.size(); ++i) {
    const auto& latency = chosen.sessions[i]->latency;
    if (!latency) {
      continue;  // it has no book of its own
    }
    if (!begun) {
      text.family(name, "histogram", help);
      begun = true;
    }
    text.histogram(chosen.labels[i], (*latency).*times, kCoarse);
  }
}

std::uint64_t put_servants(Text& text, const shm::MonitorSnapshot& now) {
  using Session = shm::MonitorSession;
  const Chosen chosen = choose(now, true, kMetricServantsMax);
  if (!chosen.sessions.empty()) {
    text.family("mserve_servant_info", "gauge",
                "Each servant with its state (attached, paused, draining, stopped, ...), pid, tags "
                "and tier; always 1.");
    for (std::size_t i = 0; i < chosen.sessions.size(); ++i) {
      const Session& session = *chosen.sessions[i];
      Labels labels = chosen.labels[i];
      labels.emplace_back("state", state_of(session));
      labels.emplace_back("pid", std::to_string(session.identity.pid));
      labels.emplace_back("tags", session.tags());
      labels.emplace_back("tier", std::to_string(session.identity.tier));
      text.sample(labels, std::uint64_t{1});
    }
  }
  each(text, chosen, "mserve_servant_serving", "gauge", "1: it gets requests; 0: it is held.",
       [](const Session& s) { return std::uint64_t{state_of(s) == "attached" ? 1U : 0U}; });
  each(text, chosen, "mserve_servant_running", "gauge", "Requests that it runs.",
       [](const Session& s) { return s.now.running; });
  each(text, chosen, "mserve_servant_credit", "gauge", "Requests that it holds at once, at most.",
       [](const Session& s) { return std::uint64_t{s.identity.credit}; });
  put_common(text, chosen,
             {"mserve_servant_requests_total", "Requests sent to it.",
              "mserve_servant_answered_total", "Requests that it answered.",
              "mserve_servant_errors_total", "Requests that it answered with an error.",
              "mserve_servant_ring_bytes", "mserve_servant_ring_capacity_bytes"});
  each(text, chosen, "mserve_servant_hits_total", "counter", "Requests whose route it held.",
       [](const Session& s) { return s.busy.hits; });
  each(text, chosen, "mserve_servant_overruns_total", "counter", "Requests that ran too long.",
       [](const Session& s) { return s.busy.overruns; });
  each(text, chosen, "mserve_servant_interrupts_total", "counter",
       "Times that it was told that nobody waits.",
       [](const Session& s) { return s.busy.interrupts; });
  put_servant_times(text, chosen, "mserve_servant_queue_time_seconds",
                    "mserve_queue_time_seconds of what this servant answered.",
                    &shm::MonitorLatency::queue);
  put_servant_times(text, chosen, "mserve_servant_execution_time_seconds",
                    "mserve_execution_time_seconds of this servant.",
                    &shm::MonitorLatency::execution);
  return chosen.left_out;
}

std::uint64_t put_clients(Text& text, const shm::MonitorSnapshot& now) {
  using Session = shm::MonitorSession;
  const Chosen chosen = choose(now, false, kMetricClientsMax);
  put_common(text, chosen,
             {"mserve_client_requests_total", "Requests accepted from it.",
              "mserve_client_answered_total", "Answers for it.", "mserve_client_errors_total",
              "Its requests that ended with a status of the broker's.", "mserve_client_ring_bytes",
              "mserve_client_ring_capacity_bytes"});
  each(text, chosen, "mserve_client_kept_total", "counter", "Answers that had to wait for it.",
       [](const Session& s) { return s.busy.kept; });
  each(text, chosen, "mserve_client_kept_bytes", "gauge", "Answers that wait for it.",
       [](const Session& s) { return s.now.kept_bytes; });
  return chosen.left_out;
}

std::uint64_t put_routes(Text& text, const std::vector<shm::MonitorRoute>& routes) {
  const std::size_t shown = std::min(routes.size(), kMetricRoutesMax);
  const auto put = [&](const char* name, const char* help, auto value_of) {
    if (shown == 0) {
      return;
    }
    text.family(name, "counter", help);
    for (std::size_t i = 0; i < shown; ++i) {
      text.sample({{"route", route_text(routes[i])}, {"hash", hash_text(routes[i])}},
                  value_of(routes[i]));
    }
  };
  put("mserve_route_answered_total",
      "Requests of a route that were answered, at most; of the routes used most.",
      [](const shm::MonitorRoute& r) { return r.answered; });
  put("mserve_route_hits_total", "Those that went to a servant that held the route.",
      [](const shm::MonitorRoute& r) { return r.hits; });
  put("mserve_route_execution_seconds_total", "How long servants ran them in all.",
      [](const shm::MonitorRoute& r) { return seconds(r.execution_ns); });
  return routes.size() - shown;
}

void put_broker(Text& text, const MetricsFacts& facts) {
  const shm::MonitorSnapshot& now = *facts.snapshot;
  text.family("mserve_broker_info", "gauge",
              "The broker's --name, pid and present policy; always 1.");
  text.sample({{"broker", facts.broker},
               {"pid", std::to_string(facts.pid)},
               {"policy", policy_name(now.totals.policy)}},
              std::uint64_t{1});
  put_now(text, now);
  put_requests(text, now.totals);
  put_data_thread(text, now.totals);
  put_latency(text, now);
  const std::uint64_t servants = put_servants(text, now);
  const std::uint64_t clients = put_clients(text, now);
  const std::uint64_t routes = put_routes(text, now.routes);
  text.family("mserve_left_out", "gauge", "How many there are beyond those with metrics here.");
  text.sample({{"what", "servants"}}, servants);
  text.sample({{"what", "clients"}}, clients);
  text.sample({{"what", "routes"}}, routes);
  if (!facts.counters.empty()) {
    text.family("mserve_broker_value", "untyped",
                "What `mserve-stat counters` shows, by name: counts since the start, and some "
                "numbers of what is there now.");
    for (const auto& one : facts.counters) {
      text.sample({{"name", one.name}}, std::uint64_t{one.value});
    }
  }
}

}  // namespace

std::string label_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') {
      out += '\\';
    }
    out += c >= ' ' && c <= '~' ? c : '?';
  }
  return out;
}

std::string group_of(std::string_view tags) {
  constexpr std::string_view kKey = "group=";
  while (!tags.empty()) {
    const std::string_view tag = tags.substr(0, tags.find_first_of(" ,"));
    if (tag.starts_with(kKey)) {
      return std::string(tag.substr(kKey.size()));
    }
    tags.remove_prefix(std::min(tag.size() + 1, tags.size()));
  }
  return {};
}

std::string metrics_text(const MetricsFacts& facts) {
  Text text;
  text.family("mserve_up", "gauge", "1: a broker is there and shows what it does; 0: none is.");
  text.sample({}, std::uint64_t{facts.snapshot != nullptr ? 1U : 0U});
  text.family("mserve_build_info", "gauge", "The version of mserve-stat; always 1.");
  text.sample({{"version", kVersion}}, std::uint64_t{1});
  counter(text, "mserve_metrics_asked_total", "How often these metrics were asked for.",
          facts.looks);
  if (facts.snapshot != nullptr) {
    put_broker(text, facts);
  }
  return text.take();
}

}  // namespace mserve::stat
