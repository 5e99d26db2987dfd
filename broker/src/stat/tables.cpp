// SPDX-License-Identifier: Apache-2.0
#include "stat/tables.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "mserve/kdb/json.hpp"
#include "mserve/kdb/types.hpp"

namespace mserve::stat {

namespace {

using kdb::Value;

std::int64_t number(std::uint64_t count) {
  return static_cast<std::int64_t>(std::min<std::uint64_t>(count, INT64_MAX));
}

/// kdb+ counts from 2000.
std::int64_t timestamp(std::int64_t unix_ns) {
  constexpr std::int64_t kNsPerSecond = 1'000'000'000;
  return unix_ns - kdb::kEpochUnixSeconds * kNsPerSecond;
}

double hundredths(double rate) {
  return std::round(rate * 100) / 100;
}

/// Columns that grow row by row.
class Table {
 public:
  void put(const char* name, std::uint64_t value) { put_long(name, number(value)); }
  void put_long(const char* name, std::int64_t value) { column(name).longs.push_back(value); }
  void put(const char* name, double value) { column(name).floats.push_back(value); }
  /// A time, whole: half a nanosecond says nothing, and 1.277865e+07 is hard to read.
  void put_ns(const char* name, double ns) { put_long(name, std::llround(ns)); }
  void put(const char* name, std::string value) {
    column(name).symbols.push_back(std::move(value));
  }
  void put_time(const char* name, std::int64_t unix_ns) {
    column(name).times.push_back(timestamp(unix_ns));
  }
  /// @param names  those of a table without rows.
  [[nodiscard]] Value value(const std::vector<std::string>& names = {}) {
    std::vector<std::string> titles;
    std::vector<Value> columns;
    for (Column& one : columns_) {
      titles.push_back(one.name);
      columns.push_back(one.value());
    }
    if (columns_.empty()) {
      titles = names;
      columns.resize(names.size(), Value::longs({}));
    }
    return Value::table(std::move(titles), std::move(columns));
  }
  /// Adds its columns to those of another table.
  void add_to(std::vector<std::string>& names, std::vector<Value>& columns) {
    for (Column& one : columns_) {
      names.push_back(one.name);
      columns.push_back(one.value());
    }
  }

 private:
  struct Column {
    std::string name;
    std::vector<std::int64_t> longs{};
    std::vector<double> floats{};
    std::vector<std::string> symbols{};
    std::vector<std::int64_t> times{};
    [[nodiscard]] Value value() {
      return !floats.empty()    ? Value::floats(std::move(floats))
             : !symbols.empty() ? Value::symbols(std::move(symbols))
             : !times.empty()   ? Value::timestamps(std::move(times))
                                : Value::longs(std::move(longs));
    }
  };
  Column& column(const char* name) {
    const auto found = std::find_if(columns_.begin(), columns_.end(),
                                    [name](const Column& one) { return one.name == name; });
    return found != columns_.end() ? *found : columns_.emplace_back(Column{.name = name});
  }
  std::vector<Column> columns_;
};

void put_latency(Table& table, const shm::MonitorHistogram& histogram) {
  table.put("count", histogram.count());
  table.put_ns("mean", histogram.mean_ns());
  table.put_ns("p50", histogram.percentile_ns(50));
  table.put_ns("p90", histogram.percentile_ns(90));
  table.put_ns("p99", histogram.percentile_ns(99));
  table.put_ns("p999", histogram.percentile_ns(99.9));
  table.put("max", histogram.max_ns());
}

void put_busy(Table& table, const View& view, const shm::MonitorSession& session) {
  const shm::MonitorSession* const then = view.before_of(session);
  const shm::MonitorBusyCounts before = then != nullptr ? then->busy : shm::MonitorBusyCounts{};
  table.put("requests", session.busy.requests);
  table.put("answered", session.busy.answered);
  table.put("errors", session.busy.errors);
  if (view.before) {
    table.put("requests_per_s", hundredths(view.rate(session.busy.requests, before.requests)));
  }
}

void put_rings(Table& table, const shm::MonitorSession& session) {
  table.put("in_bytes", session.now.in_bytes);
  table.put("in_capacity", std::uint64_t{session.identity.ring_in_bytes});
  table.put("out_bytes", session.now.out_bytes);
  table.put("out_capacity", std::uint64_t{session.identity.ring_out_bytes});
}

void put_servant(Table& table, const View& view, const shm::MonitorSession& session) {
  put_busy(table, view, session);
  table.put("hits", session.busy.hits);
  table.put("overruns", session.busy.overruns);
  table.put("interrupts", session.busy.interrupts);
  const auto latency = view.latency_of(session).value_or(shm::MonitorLatency{});
  table.put_ns("queue_p50", latency.queue.percentile_ns(50));
  table.put_ns("execution_p50", latency.execution.percentile_ns(50));
  table.put_ns("execution_p99", latency.execution.percentile_ns(99));
  if (view.before) {
    constexpr double kNsPerSecond = 1e9;
    table.put("busy", static_cast<double>(latency.execution.sum_ns) /
                          (view.seconds() * kNsPerSecond *
                           std::max<std::uint32_t>(session.identity.credit, 1)));
  }
  put_rings(table, session);
}

Value servants_alone(const View& view) {
  Table table;
  for (const shm::MonitorSession& session : view.now.sessions) {
    if (session.is(shm::Role::servant)) {
      table.put("number", std::uint64_t{session.identity.number});
      table.put("name", session.name());
      table.put_long("pid", session.identity.pid);
      table.put("state", state_of(session));
      table.put("running", session.now.running);
      table.put("credit", std::uint64_t{session.identity.credit});
      table.put("tier", std::uint64_t{session.identity.tier});
      table.put("tags", session.tags());
      table.put("uid", std::uint64_t{session.identity.uid});
      table.put_time("since", session.identity.attached_at);
      put_servant(table, view, session);
    }
  }
  return table.value({"number", "name"});
}

}  // namespace

std::vector<std::pair<std::string, std::uint64_t>> totals_of(const shm::MonitorTotals& t) {
  return {{"told_at", t.told_at},
          {"started_at", t.started_at},
          {"policy", t.policy},
          {"queued", t.queued},
          {"running", t.running},
          {"queue_age_ns", t.queue_age_ns},
          {"sessions", t.sessions},
          {"servants", t.servants},
          {"requests", t.requests},
          {"refused", t.refused},
          {"replies", t.replies},
          {"errors", t.errors},
          {"dispatched", t.dispatched},
          {"hits", t.hits},
          {"claims", t.claims},
          {"steals", t.steals},
          {"spills", t.spills},
          {"unrouted", t.unrouted},
          {"remote", t.remote},
          {"bound", t.bound},
          {"retried", t.retried},
          {"queue_timeouts", t.queue_timeouts},
          {"overruns", t.overruns},
          {"died", t.died},
          {"cancelled", t.cancelled},
          {"poisoned", t.poisoned},
          {"slow", t.slow},
          {"stalled", t.stalled},
          {"kept", t.kept},
          {"kept_bytes", t.kept_bytes},
          {"wakes", t.wakes},
          {"sleeps", t.sleeps},
          {"asleep_ns", t.asleep_ns},
          {"passes", t.passes},
          {"worked", t.worked}};
}

const char* policy_name(std::uint64_t policy) noexcept {
  // As Policy of the broker's dispatch/types.hpp numbers them.
  constexpr std::array kNames{"orig", "even", "match", "least", "weighted", "plugin"};
  return policy < kNames.size() ? kNames[policy] : "unknown";
}

std::string state_of(const shm::MonitorSession& session) {
  if (!session.attached()) {
    return "closed";
  }
  std::string state;
  const auto add = [&](std::uint64_t bit, const char* word) {
    if ((session.held & bit) != 0) {
      state += (state.empty() ? "" : "+") + std::string(word);
    }
  };
  add(shm::kMonitorStopped, "stopped");
  if ((session.held & shm::kMonitorDraining) != 0) {
    add(shm::kMonitorDraining, "draining");
  } else {
    add(shm::kMonitorPaused, "paused");
  }
  add(shm::kMonitorSpare, "ending");
  return state.empty() ? "attached" : state;
}

std::string route_text(const shm::MonitorRoute& route) {
  if (!route.name.empty()) {
    return route.name;
  }
  return "0x" + hash_text(route);
}

std::string hash_text(const shm::MonitorRoute& route) {
  std::array<char, 32> text{};
  (void)std::snprintf(text.data(), text.size(), "%016llx",
                      static_cast<unsigned long long>(route.hash));
  return text.data();
}

Value servants_table(const Value& states, const View& view) {
  const Value* const column = states.column("number");
  const auto numbers =
      column != nullptr ? column->items<std::int64_t>() : std::span<const std::int64_t>{};
  Table added;
  for (const std::int64_t wanted : numbers) {
    const shm::MonitorSession* const servant =
        servant_of(view.now, static_cast<std::uint64_t>(wanted));
    put_servant(added, view, servant != nullptr ? *servant : shm::MonitorSession{});
  }
  std::vector<std::string> names(states.names().begin(), states.names().end());
  std::vector<Value> columns(states.columns().begin(), states.columns().end());
  added.add_to(names, columns);
  return Value::table(std::move(names), std::move(columns));
}

Value clients_table(const View& view) {
  Table table;
  for (const shm::MonitorSession& session : view.now.sessions) {
    if (session.is(shm::Role::servant)) {
      continue;
    }
    table.put("number", std::uint64_t{session.identity.number});
    table.put("name", session.name());
    table.put("role", std::string(session.is(shm::Role::gateway) ? "gateway" : "client"));
    table.put_long("pid", session.identity.pid);
    table.put("uid", std::uint64_t{session.identity.uid});
    table.put_time("since", session.identity.attached_at);
    put_busy(table, view, session);
    table.put("kept", session.busy.kept);
    table.put("kept_bytes", session.now.kept_bytes);
    put_rings(table, session);
  }
  return table.value({"number", "name", "role", "pid", "uid", "since", "requests", "answered",
                      "errors", "kept", "kept_bytes", "in_bytes", "in_capacity", "out_bytes",
                      "out_capacity"});
}

Value routes_table(const View& view, std::size_t count) {
  Table table;
  for (std::size_t i = 0; i < std::min(count, view.now.routes.size()); ++i) {
    const shm::MonitorRoute& route = view.now.routes[i];
    table.put("route", route_text(route));
    table.put("hash", hash_text(route));
    table.put("answered", route.answered);
    table.put("error", route.error);
    table.put("hits", route.hits);
    const std::uint64_t own = std::max<std::uint64_t>(route.answered - route.error, 1);
    table.put_ns("execution_mean",
                 static_cast<double>(route.execution_ns) / static_cast<double>(own));
  }
  return table.value({"route", "hash", "answered", "error", "hits", "execution_mean"});
}

Value latency_table(const shm::MonitorLatency& latency, const shm::MonitorBrokerTimes* broker) {
  Table table;
  const auto add = [&](const char* name, const shm::MonitorHistogram& histogram) {
    table.put("time", std::string(name));
    put_latency(table, histogram);
  };
  add("queue", latency.queue);
  add("execution", latency.execution);
  add("round_trip", latency.whole);
  if (broker != nullptr) {
    add("broker_in", broker->in);
    add("broker_out", broker->out);
  }
  return table.value();
}

Value events_table(const std::vector<shm::MonitorHappening>& events) {
  Table table;
  for (const shm::MonitorHappening& event : events) {
    table.put("number", event.number);
    table.put_time("time", event.at);
    table.put("event", std::string(to_string(event.kind)));
    table.put("session", std::uint64_t{event.session});
    table.put_long("pid", event.pid);
    table.put("code", std::string(event.code == Errc::ok ? "" : mserve::to_string(event.code)));
    table.put("text", event.text);
  }
  return table.value({"number", "time", "event", "session", "pid", "code", "text"});
}

std::string view_json(const View& view) {
  std::vector<std::string> names;
  std::vector<std::int64_t> values;
  for (auto& [name, value] : totals_of(view.now.totals)) {
    names.push_back(name);
    values.push_back(number(value));
  }
  const shm::MonitorBrokerTimes broker = view.broker_times();
  return "{\"policy\":\"" + std::string(policy_name(view.now.totals.policy)) +
         "\",\"stale\":" + (stale(view.now) ? "true" : "false") + ",\"totals\":" +
         kdb::to_json(
             Value::dict(Value::symbols(std::move(names)), Value::longs(std::move(values)))) +
         ",\"servants\":" + kdb::to_json(servants_alone(view)) +
         ",\"clients\":" + kdb::to_json(clients_table(view)) +
         ",\"routes\":" + kdb::to_json(routes_table(view, view.now.routes.size())) +
         ",\"latency\":" + kdb::to_json(latency_table(view.latency(), &broker)) + "}";
}

}  // namespace mserve::stat
