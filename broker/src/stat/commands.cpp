// SPDX-License-Identifier: Apache-2.0
#include "stat/commands.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

#include "mserve/kdb/json.hpp"
#include "mserve/kdb/print.hpp"
#include "mserve/shm/clock.hpp"
#include "stat/cluster_order.hpp"
#include "stat/cluster_view.hpp"
#include "stat/counters_call.hpp"
#include "stat/drain_call.hpp"
#include "stat/fit_table.hpp"
#include "stat/monitor_call.hpp"
#include "stat/serve/serve.hpp"
#include "stat/tables.hpp"
#include "stat/text.hpp"
#include "stat/top.hpp"
#include "usage.hpp"
#include "wall_clock.hpp"
#include "wrap.hpp"

namespace mserve::stat {

namespace {

using kdb::Value;
using shm::Verb;

ExitCode exit_code_of(Errc status) noexcept {
  switch (status) {
    case Errc::ok:
      return ExitCode::ok;
    case Errc::timed_out:
      return ExitCode::timed_out;
    case Errc::access:
      return ExitCode::no_broker;
    default:
      return ExitCode::refused;
  }
}

constexpr std::size_t kWholeLine = 2000;

/// As wide as the terminal; into files and pipes, whole lines.
kdb::Console console(bool wide = false) noexcept {
  kdb::Console console;
  console.height = console.width = kWholeLine;
  winsize size{};
  if (!wide && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    console.width = size.ws_col;
  }
  return console;
}

void print(const std::string& text) {
  (void)std::fwrite(text.data(), 1, text.size(), stdout);
  (void)std::fflush(stdout);
}

void show_table(const Value& table, bool json, bool wide = false) {
  print(json ? kdb::to_json(table) + "\n" : kdb::show(table, console(wide)));
}

/// On a narrow terminal, without the columns that matter least.
void show_fitting(const Value& table, const Settings& settings,
                  FittedTable (*fit)(const Value&, std::size_t) = fit_table) {
  const kdb::Console screen = console(settings.wide);
  if (settings.json || screen.width == kWholeLine) {
    print(settings.json ? kdb::to_json(table) + "\n" : kdb::show(table, screen));
    return;
  }
  const FittedTable fitted = fit(table, screen.width);
  print(kdb::show(fitted.table, screen));
  if (fitted.left_out > 0) {
    print(std::to_string(fitted.left_out) + (fitted.left_out == 1 ? " column" : " columns") +
          " more: --wide or a pipe shows all\n");
  }
}

void show(const ControlAnswer& answer, bool json) {
  if (answer.table) {
    show_table(*answer.table, json);
    if (!answer.text.empty()) {
      (void)std::fprintf(stderr, "mserve-stat: %s\n", answer.text.c_str());
    }
  } else if (json) {
    (void)std::printf("{\"status\":%s,\"count\":%llu,\"text\":%s}\n",
                      kdb::to_json(Value::chars(to_string(answer.status))).c_str(),
                      static_cast<unsigned long long>(answer.count),
                      kdb::to_json(Value::chars(answer.text)).c_str());
  } else if (answer.status == Errc::ok) {
    (void)std::printf("%s\n", answer.text.c_str());
  }
  const bool says_all = answer.status == Errc::invalid || answer.status == Errc::no_servant;
  if (says_all && !answer.text.empty()) {
    (void)std::fprintf(stderr, "mserve-stat: %s\n", answer.text.c_str());  // it says which
  } else if (answer.status != Errc::ok) {
    (void)std::fprintf(stderr, "mserve-stat: %s: %s\n", to_string(answer.status),
                       answer.text.c_str());
  }
}

ExitCode tell_fault(Errc code, const std::string& reason) {
  const bool gone = code == Errc::no_broker && !reason.empty();  // that says the code's words too
  (void)std::fprintf(stderr, "mserve-stat: %s%s%s\n", gone ? "" : to_string(code), gone ? "" : ": ",
                     reason.empty() ? advice(code) : reason.c_str());
  if (gone) {
    (void)std::fprintf(stderr, "%s\n", advice(code));
  }
  return code == Errc::invalid ? ExitCode::usage : ExitCode::no_broker;
}

void sleep_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

ExitCode run_counters(const Settings& settings) {
  std::string reason;
  const auto counters = read_counters(settings.broker, reason);
  if (!counters) {
    return tell_fault(counters.error().code, reason);
  }
  show_table(counters_table(counters.value()), settings.json);
  return ExitCode::ok;
}

ExitCode run_cluster(const Settings& settings) {
  std::string reason;
  const auto view = read_cluster(settings.broker, broker::wall_now(), reason);
  if (!view) {
    (void)std::fprintf(stderr, "mserve-stat: %s\n",
                       reason.empty() ? advice(view.error().code) : reason.c_str());
    return view.error().code == Errc::invalid ? ExitCode::usage : ExitCode::no_broker;
  }
  if (settings.json) {
    print(view.value().json + "\n");
  } else {
    for (const std::string& line : view.value().lines) {
      print(line + "\n");
    }
    show_table(view.value().peers, false);
  }
  if (!view.value().warning.empty()) {
    (void)std::fprintf(stderr, "mserve-stat: %s\n", view.value().warning.c_str());
  }
  return ExitCode::ok;
}

/// One look, or two with the interval in between.
View look(const shm::MonitorReader& reader, double interval_s) {
  View view{.now = reader.snapshot()};
  if (interval_s > 0) {
    view.before = std::move(view.now);
    sleep_for(interval_s);
    view.now = reader.snapshot();
  }
  return view;
}

void warn_if_stale(const View& view) {
  if (stale(view.now)) {
    (void)std::fprintf(
        stderr,
        "mserve-stat: the broker has shown nothing new for %s: it is stopped, or "
        "its data thread hangs\n",
        time_text(static_cast<double>(view.now.taken_at - view.now.totals.told_at)).c_str());
  }
}

/// Of routes that have a hash for a name, why.
void explain_hashes(const View& view, std::size_t shown) {
  const auto end = view.now.routes.begin() +
                   static_cast<std::ptrdiff_t>(std::min(shown, view.now.routes.size()));
  if (std::any_of(view.now.routes.begin(), end,
                  [](const shm::MonitorRoute& route) { return route.name.empty(); })) {
    (void)std::fputs(
        "mserve-stat: 0x... are hashes: programs on rings send nothing else; what comes through "
        "the gateway (mserve-broker -p) has a name\n",
        stderr);
  }
}

ExitCode run_latency(const Settings& settings, const View& view) {
  shm::MonitorLatency latency = view.latency();
  shm::MonitorBrokerTimes broker = view.broker_times();
  if (settings.servant != 0) {
    const shm::MonitorSession* const servant = servant_of(view.now, settings.servant);
    if (servant == nullptr) {
      (void)std::fprintf(stderr, "mserve-stat: no servant has the number %u\n", settings.servant);
      return ExitCode::refused;
    }
    const auto own = view.latency_of(*servant);
    if (!own) {
      (void)std::fprintf(stderr,
                         "mserve-stat: of servant %u no times are kept: 256 others have them\n",
                         settings.servant);
      return ExitCode::refused;
    }
    latency = *own;
  }
  const shm::MonitorBrokerTimes* const times = settings.servant == 0 ? &broker : nullptr;
  if (settings.json) {
    show_table(latency_table(latency, times), true);
    return ExitCode::ok;
  }
  constexpr std::size_t kPlotLines = 24;
  const std::size_t width = std::min<std::size_t>(console().width, 100);
  std::string text;
  for (const std::string& line : latency_lines(latency, times)) {
    text += line + "\n";
  }
  text += "\nround trip\n";
  for (const std::string& line : plot_lines(latency.whole, width, kPlotLines)) {
    text += line + "\n";
  }
  print(text);
  return ExitCode::ok;
}

/// The broker that somebody follows ended, or was killed, which leaves what it showed.
bool gone(const Settings& settings, const shm::MonitorReader& reader) {
  if (!reader.current()) {
    return true;
  }
  const std::uint64_t told_at = reader.totals().told_at;
  const std::uint64_t now = shm::steady_now();
  std::string reason;
  return now > told_at && now - told_at > kStaleNs &&
         !open_monitor(settings.broker, kPatienceNs, reason);
}

void tell_waiting() {
  (void)std::fprintf(stderr, "mserve-stat: the broker went away; waiting for the next one\n");
}

/// A time-out, a restart: not what only a person can mend.
bool passes(Errc code) noexcept {
  return code != Errc::access && code != Errc::version_mismatch && code != Errc::invalid;
}

/// Whoever follows wants the next broker too; it may take as long as it likes.
Result<shm::MonitorReader> wait_for_next(const Settings& settings, std::string& reason) {
  constexpr double kAgain = 0.5;
  tell_waiting();
  for (;;) {
    auto reader = open_monitor(settings.broker, kPatienceNs, reason);
    if (reader || !passes(reader.error().code)) {
      return reader;
    }
    sleep_for(kAgain);
  }
}

/// A line for each: an array of one would be no use to whoever follows.
void print_event(const shm::MonitorHappening& event, const Settings& settings) {
  if (settings.json) {
    const std::string array = kdb::to_json(events_table({event}));
    print(array.substr(1, array.size() - 2) + "\n");
    return;
  }
  const std::string before = date_text(event.at) + "  " + left(to_string(event.kind), 9) +
                             right(event.session != 0 ? std::to_string(event.session) : "", 5) +
                             "  ";
  const std::string code = event.code != Errc::ok ? std::string(to_string(event.code)) + ": " : "";
  constexpr std::size_t kRoomMin = 20;
  const std::size_t width = console(settings.wide).width;
  const std::size_t hang = before.size() + kRoomMin <= width ? before.size() : 0;
  for (const std::string& line : program::wrapped_line(before + code + event.text, width, hang)) {
    print(line + "\n");
  }
}

/// On a terminal what people look for, as on the screen of top.
void show_events(const std::vector<shm::MonitorHappening>& events, const Settings& settings) {
  if (settings.json || settings.wide || console().width == kWholeLine) {
    show_table(events_table(events), settings.json, settings.wide);
    return;
  }
  print("TIME (UTC)           EVENT        #  WHAT\n");
  for (const shm::MonitorHappening& event : events) {
    print_event(event, settings);
  }
}

/// The newest `rows` events, and with --follow those that come, also of the next broker.
ExitCode run_events(const Settings& settings, shm::MonitorReader reader) {
  constexpr double kLook = 0.2;
  std::vector<shm::MonitorHappening> events = reader.events();
  if (events.size() > settings.rows) {
    events.erase(events.begin(), events.end() - static_cast<std::ptrdiff_t>(settings.rows));
  }
  if (!settings.follow) {
    show_events(events, settings);
    return ExitCode::ok;
  }
  std::uint64_t last = 0;
  bool over = false;
  for (;;) {
    for (const shm::MonitorHappening& event : events) {
      last = event.number;
      print_event(event, settings);
    }
    if (over) {  // and its last words are out
      std::string reason;
      auto next = wait_for_next(settings, reason);
      if (!next) {
        return tell_fault(next.error().code, reason);
      }
      last = next.value().broker_epoch() == reader.broker_epoch() ? last : 0;
      reader = std::move(next).value();
    } else {
      sleep_for(kLook);
    }
    over = gone(settings, reader);
    events = reader.events(last);
  }
}

ExitCode run_json_top(const Settings& settings, shm::MonitorReader reader) {
  View view{.now = reader.snapshot()};
  for (std::uint64_t i = 0; settings.count == 0 || i < settings.count; ++i) {
    if (i > 0 || settings.interval_s > 0) {
      sleep_for(settings.interval_s > 0 ? settings.interval_s : 1);
      view.before = std::move(view.now);
      view.now = reader.snapshot();
    }
    print(view_json(view) + "\n");
    if ((settings.count == 0 || i + 1 < settings.count) && gone(settings, reader)) {
      std::string reason;
      auto next = wait_for_next(settings, reason);
      if (!next) {
        return tell_fault(next.error().code, reason);
      }
      reader = std::move(next).value();
      view = {.now = reader.snapshot()};
    }
  }
  return ExitCode::ok;
}

ExitCode run_look(const Settings& settings) {
  if (settings.what == Subcommand::top && !settings.json) {
    const double interval_s = settings.interval_s > 0 ? settings.interval_s : 1;
    return run_top(settings.broker, interval_s) ? ExitCode::ok : ExitCode::usage;
  }
  std::string reason;
  auto reader = open_monitor(settings.broker, kPatienceNs, reason);
  if (!reader) {
    return tell_fault(reader.error().code, reason);
  }
  switch (settings.what) {
    case Subcommand::events:
      return run_events(settings, std::move(reader).value());
    case Subcommand::top:
      return run_json_top(settings, std::move(reader).value());
    default:
      break;
  }
  const View view = look(reader.value(), settings.interval_s);
  warn_if_stale(view);
  if (settings.what == Subcommand::latency) {
    return run_latency(settings, view);
  }
  if (settings.what == Subcommand::clients) {
    show_fitting(clients_table(view), settings);
    return ExitCode::ok;
  }
  show_fitting(routes_table(view, settings.rows), settings);
  if (!settings.json) {
    explain_hashes(view, settings.rows);
  }
  return ExitCode::ok;
}

/// What the broker says of its servants, and what it has counted.
ExitCode show_servants(const Settings& settings, const ControlAnswer& answer) {
  std::string reason;
  const auto reader = open_monitor(settings.broker, kPatienceNs, reason);
  if (!reader) {  // an older broker shows nothing
    show(answer, settings.json);
    return ExitCode::ok;
  }
  const View view = look(reader.value(), settings.interval_s);
  show_fitting(servants_table(*answer.table, view), settings);
  if (!settings.json) {
    (void)std::printf("queued %llu, running %llu, policy %s\n",
                      static_cast<unsigned long long>(view.now.totals.queued),
                      static_cast<unsigned long long>(view.now.totals.running),
                      policy_name(view.now.totals.policy));
  }
  warn_if_stale(view);
  return ExitCode::ok;
}

/// Rows of a table whose qid is above `last`, which becomes the highest of them.
Value newer_rows(const Value& table, std::int64_t& last, std::int64_t& missed) {
  const Value* const qids = table.column("qid");
  std::size_t first = table.count();
  if (qids != nullptr) {
    const auto items = qids->items<std::int64_t>();
    if (!items.empty() && items.back() < last) {
      last = 0;  // another broker, which counts from the beginning
    }
    while (first > 0 && items[first - 1] > last) {
      --first;
    }
    if (first < items.size()) {
      missed = last > 0 && first == 0 ? items[first] - last - 1 : 0;
      last = items.back();
    }
  }
  std::vector<Value> rows;
  for (std::size_t i = first; i < table.count(); ++i) {
    rows.push_back(table.at(i));
  }
  return Value::list(std::move(rows));
}

/// Asks again and again, and prints what is new, a line for each.
ExitCode follow_queries(const Settings& settings) {
  constexpr double kLook = 0.5;
  constexpr std::uint32_t kAtOnce = 1000;  // as many as a broker of few cores shows
  Settings again = settings;
  std::int64_t last = 0;
  bool answered = false;
  for (;;) {
    std::string reason;
    const auto answer = call_control(settings.broker, again.request, reason);
    const Errc fault = answer ? answer.value().status : answer.error().code;
    const bool ends = answer ? fault == Errc::shutdown : passes(fault);
    if (ends && again.request.count == kAtOnce) {
      if (answered) {
        tell_waiting();
      }
      answered = false;
      last = 0;
      sleep_for(kLook);
      continue;
    }
    if (!answer) {
      return tell_fault(fault, reason);  // there was none from the start, or it is none of ours
    }
    answered = true;
    if (answer.value().status != Errc::ok || !answer.value().table) {
      show(answer.value(), settings.json);
      return exit_code_of(answer.value().status);
    }
    std::int64_t missed = 0;
    const Value rows = newer_rows(*answer.value().table, last, missed);
    if (missed > 0) {
      (void)std::fprintf(stderr, "mserve-stat: missed some; they came too fast\n");
    }
    for (const Value& row : rows.list_items()) {
      if (settings.json) {
        print(kdb::to_json(row) + "\n");
        continue;
      }
      std::string line;
      for (const char* const name : {"time_returned", "qid", "user", "slave_handle", "elapsed",
                                     "status", "route", "query"}) {
        const auto value = row.find(name);
        line.append(line.empty() ? "" : "  ").append(value ? kdb::text(*value, 100) : "-");
      }
      print(line + "\n");
    }
    again.request.count = kAtOnce;
    sleep_for(kLook);
  }
}

/// What changed, or why nothing did: a line for each.
ExitCode show_reload(const ControlAnswer& answer, bool json) {
  const std::vector<std::string> faults = reload_faults(answer);
  if (json) {
    print("{\"status\":" + kdb::to_json(Value::chars(to_string(answer.status))) + ",\"count\":" +
          std::to_string(answer.count) + ",\"text\":" + kdb::to_json(Value::chars(answer.text)) +
          ",\"rows\":" + (answer.table ? kdb::to_json(*answer.table) : "[]") + "}\n");
  } else if (faults.empty()) {
    print(answer.text + "\n");
    for (const auto& [key, value, fault] : reload_rows(answer)) {
      print("  " + key + (value.empty() ? " is not set any more" : " = " + value) + "\n");
    }
  }
  for (const std::string& fault : faults) {
    (void)std::fprintf(stderr, "mserve-stat: %s\n", fault.c_str());
  }
  return exit_code_of(answer.status);
}

void tell(const std::string& text) {
  (void)std::fprintf(stderr, "mserve-stat: %s\n", text.c_str());
}

/// A word as a shell takes it, in quotes only where they are needed.
std::string plain_word(const std::string& word) {
  constexpr std::string_view kPlain = "_-./:=@";
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [&](unsigned char c) {
    return std::isalnum(c) != 0 || kPlain.find(static_cast<char>(c)) != std::string_view::npos;
  });
  return plain ? word : program::shell_word(word);
}

/// The command that takes an order back, at the same broker.
std::string resume_line(const Settings& settings) {
  const auto& [name, directory] = settings.broker;
  return "mserve-stat " + (name == "default" ? "" : "--name " + plain_word(name) + " ") +
         (directory.empty() ? "" : "--dir " + plain_word(directory) + " ") + "ctl resume " +
         plain_word(settings.target);
}

/// Drain and retire: they may take their time, and whoever waits may lose patience.
ExitCode run_drain(const Settings& settings) {
  const DrainOutcome outcome = call_drain(
      settings.broker, settings.request,
      [](const std::string& silence) { tell(silence + " Waiting on; Ctrl-C ends it."); });
  const std::string undo = "to undo: " + resume_line(settings);
  if (outcome.signal != 0) {
    tell("interrupted; " + settings.target +
         (outcome.silent ? " stays paused if the broker has read the order, which it has not "
                           "answered; "
                         : " stays paused, what runs there goes on; ") +
         undo);
    constexpr int kOfShells = 128;
    return static_cast<ExitCode>(kOfShells + outcome.signal);
  }
  if (!outcome.answer) {
    return tell_fault(outcome.answer.error().code, outcome.reason);
  }
  show(outcome.answer.value(), settings.json);
  if (outcome.answer.value().status == Errc::timed_out) {
    tell(undo);
  }
  return exit_code_of(outcome.answer.value().status);
}

}  // namespace

ExitCode run(const Settings& settings) {
  if (settings.what == Subcommand::serve) {
    const Served served = run_serve(settings.broker, settings.serve);
    return served == Served::stopped       ? ExitCode::ok
           : served == Served::wrong_usage ? ExitCode::usage
                                           : ExitCode::refused;
  }
  if (settings.what == Subcommand::counters) {
    return run_counters(settings);
  }
  if (settings.what == Subcommand::cluster) {
    return run_cluster(settings);
  }
  if (settings.what == Subcommand::document) {
    return run_cluster_order(settings);
  }
  if (settings.what != Subcommand::control) {
    return run_look(settings);
  }
  if (settings.request.verb == Verb::queries && settings.follow) {
    return follow_queries(settings);
  }
  if (settings.request.verb == Verb::drain || settings.request.verb == Verb::retire) {
    return run_drain(settings);
  }
  std::string reason;
  const bool reloads = settings.request.verb == Verb::reload;
  const auto answer = call_control(settings.broker, settings.request, reason,
                                   reloads ? kReloadPatienceNs : kPatienceNs);
  if (!answer) {
    return tell_fault(answer.error().code, reason);
  }
  if (settings.request.verb == Verb::servants && answer.value().table) {
    return show_servants(settings, answer.value());
  }
  if (settings.request.verb == Verb::queries && answer.value().table) {
    show_fitting(*answer.value().table, settings, fit_queries);
    if (!answer.value().text.empty()) {
      tell(answer.value().text);
    }
    return exit_code_of(answer.value().status);
  }
  if (reloads) {
    return show_reload(answer.value(), settings.json);
  }
  show(answer.value(), settings.json);
  return exit_code_of(answer.value().status);
}

}  // namespace mserve::stat
