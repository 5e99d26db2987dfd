// SPDX-License-Identifier: Apache-2.0
#include "options_cli.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <map>

#include "control/log.hpp"
#include "mserve/shm/standard_descriptors.hpp"
#include "nearest.hpp"
#include "option_values.hpp"
#include "options_cli_cluster.hpp"
#include "options_cli_cores.hpp"
#include "options_cli_gateway.hpp"
#include "options_cli_log.hpp"
#include "options_file.hpp"
#include "version.hpp"

namespace mserve::broker {

namespace {

constexpr char kDescription[] =
    "Sends each request to the servant whose data is warm for it, through shared memory.\n\n"
    "  mserve-broker 2 mserve-servant                      two demo servants\n"
    "  mserve-broker --core 3 --idle spin 8 ./my-servant   lowest latency: core 3 is its own\n"
    "  mserve-broker 2 mserve-servant -p 5000              and kdb+ clients on port 5000\n"
    "  mserve-broker 2 servant.q -p 5000                   two q processes, on 5001 and 5002\n"
    "  mserve-broker 4 servant.q localhost hostA -p 5000   two here, two more for spikes\n\n"
    "Clients and servants find it by --name in the rendezvous directory.";

constexpr char kFooter[] =
    "Times take a unit (500us, 20ms, 12s, 1m) or are 0 or inf; sizes take one too (64k, 1m, 2g).\n"
    "Environment: MSERVE_NAME and MSERVE_DIR are the defaults of --name and --dir, MSERVE_ALGO of "
    "--policy, MSERVE_ROUTING of --route, MSERVE_PURGE of --purge, MSERVE_LOG_FORMAT of "
    "--log-format, MSERVE_CONFIG of --config.\n"
    "QBIN: the q to start [q on PATH]; Q_PLUGINS is handed to it.\n"
    "QUDSPATH: where the Unix sockets of -p lie instead of /tmp; set but empty: none.\n"
    "NOTIFY_SOCKET, WATCHDOG_USEC: systemd is told when launched servants are attached, when the "
    "broker\n"
    "stops, and, while the data thread makes progress, that it lives.\n"
    "Signals: TERM and INT drain and stop (one during --drain-delay ends that, one more waits for "
    "no\n"
    "running request). HUP reads --config again\n"
    "and applies rule, policy, match-wait, route-expire, spill-after, retries, queue-timeout, "
    "timeout,\n"
    "log-level and slow, and "
    "reads the files of --users and --roles again; if anything else changed, or any file has a "
    "fault, nothing.\n"
    "Exit status: 0 stopped by a signal, 1 could not start, 2 wrong usage.";

void add_route(CLI::App& app, kdb::RouteRule& value) {
  app.add_option_function<std::string>(
         "--route",
         [&value](const std::string& given) {
           const auto rule = kdb::parse_rule(given);
           if (!rule) {
             throw CLI::ValidationError(
                 "--route", "'" + given + "' is not one of " + std::string(kdb::kRouteRules) +
                                " (N from 1 to 255; a q function is not run here)");
           }
           value = *rule;
         },
         "What the route of a request is: an argument of the call, its function, both, the user, "
         "the same for all, an entry of LBT's options")
      ->envname("MSERVE_ROUTING")
      ->default_str(kdb::to_text(value))
      ->option_text(std::string(kdb::kRouteRules) + " [" + kdb::to_text(value) + "]");
}

void add_rules(CLI::App& app, BrokerOptions& o) {
  app.add_option_function<std::vector<std::string>>(
         "--rule",
         [&o](const std::vector<std::string>& texts) {
           o.placement.clear();
           for (const std::string& text : texts) {
             std::string fault;
             std::optional<Rule> rule = parse_rule(text, fault);
             if (!rule) {
               throw CLI::ValidationError("--rule",
                                          fault.append(" (in \"").append(text).append("\")"));
             }
             o.placement.push_back(std::move(*rule));
           }
         },
         "Which servants a request may go to, the first that fits decides: "
         "\"[fn=A,B] [user=U] [route=R] [share=10%] -> TAGS [else TAGS]\", where TAGS are tags "
         "that "
         "servants attached with (group=hdb), without which they attached (!gpu), or any. May be "
         "given again")
      ->allow_extra_args(false)
      ->option_text("RULE");
}

void add_dispatch(CLI::App& app, BrokerOptions& o) {
  add_choice<Policy>(
      app, "--policy", o.policy,
      "What chooses the servant: first free (orig), next free (even), the one that holds the "
      "route (match), that runs least (least), by the servants' weights (weighted), what "
      "--policy-plugin says (plugin, the default with one)",
      {{"orig", Policy::orig},
       {"even", Policy::even},
       {"match", Policy::match},
       {"least", Policy::least},
       {"weighted", Policy::weighted},
       {"plugin", Policy::plugin}})
      ->envname("MSERVE_ALGO");
  app.add_option(
         "--policy-plugin", o.policy_plugin_file,
         "Shared object with a policy (mserve/plugin.h), which runs in the broker; only its "
         "user and root may be able to write the file")
      ->option_text("FILE [none]");
  add_route(app, o.route);
  add_rules(app, o);
  app.add_flag("--sticky", o.sticky,
               "What one client or connection asks stays on one servant, in order; if that ends, "
               "its requests fail, and the next one chooses anew");
  app.add_option("--route-plugin", o.route_plugin_file,
                 "Shared object that says what the route of a kdb+ client's request is, instead of "
                 "--route")
      ->option_text("FILE [none]");
  add_duration(app, "--match-wait", o.match_wait,
               "How long a request waits for the busy servant that holds its route", "0");
  add_duration(app, "--route-expire", o.route_expire, "An unused route is given up after this long",
               "12s");
  app.add_option("--routes-per-servant", o.routes_per_servant,
                 "How many routes stay warm in one servant, the least recently used give way")
      ->capture_default_str();
  add_duration(app, "--spill-after", o.spill_after,
               "A request that waited for this long may go to a servant on another host; inf: only "
               "while none is here",
               "100ms");
  app.add_option("--retries", o.retries,
                 "How often a repeatable request is sent again when its servant dies")
      ->capture_default_str();
  add_duration(app, "--queue-timeout", o.queue_timeout,
               "The longest that a request waits for a servant; then: error 'queue timeout'",
               "inf");
  add_duration(
      app, "--timeout", o.timeout,
      "The longest that a request runs until its answer begins; then: error 'timeout', and "
      "its servant gets nothing new until it has answered",
      "inf");
  app.add_flag("--interrupt", o.interrupt,
               "What runs for nobody any more (--timeout, cancelled, hung up) is stopped: "
               "mserve-qshim sends SIGINT to its q. Not what streamed, what its servant has begun "
               "to answer, or what is not alone at its q (--credit of the shim)");
}

void add_limits(CLI::App& app, BrokerOptions& o) {
  app.add_option("--max-sessions", o.max_sessions, "Clients and servants attached at once")
      ->capture_default_str();
  app.add_option("--max-queue", o.max_queue, "Requests queued or running; beyond: error busy")
      ->capture_default_str();
  app.add_option("--max-queue-client", o.max_queue_client,
                 "The same for each client and kdb+ connection; 0: no limit of its own")
      ->capture_default_str();
  add_size(app, "--max-queue-bytes", o.max_queue_bytes,
           "Payloads that wait in the broker; beyond: error busy");
  add_size(app, "--max-pending-bytes", o.max_pending_bytes,
           "Unread answers kept for one client; beyond: it is closed");
  add_size(app, "--max-message", o.max_message, "Largest request or answer");
  add_size(app, "--max-shared-bytes", o.max_shared_bytes, "All segments together");
  add_size(app, "--client-ring", o.client_ring,
           "Ring of a client, each way, unless it asks for another");
  add_size(app, "--servant-ring", o.servant_ring, "Ring of a servant, each way");
  add_size(app, "--gather-max", o.gather_max,
           "Larger requests stream through instead of being gathered");
  add_size(app, "--retain-max", o.retain_max,
           "Larger requests are not sent again when their servant dies");
  add_duration(app, "--stall-timeout", o.stall_timeout,
               "A large message without progress is cut after this long", "1s");
  add_duration(app, "--drain-timeout", o.drain_timeout,
               "After TERM, how long to wait for running requests; a retired servant that was "
               "launched is killed after this long, if it did not end",
               "10s");
  add_duration(app, "--cool", o.cool, "A session silent for this long is looked at less often",
               "100ms");
}

/// Puts the options that `add` adds under a heading of their own.
template <class Add>
void add_group(CLI::App& app, const char* heading, Add add) {
  const std::vector<CLI::Option*> before = app.get_options();
  add();
  for (CLI::Option* option : app.get_options()) {
    if (std::find(before.begin(), before.end(), option) == before.end()) {
      option->group(heading);
    }
  }
}

void add_process(CLI::App& app, BrokerOptions& o, std::string& servant_args, std::string& q_args) {
  app.add_option("--name", o.name, "Name that clients and servants use")
      ->envname("MSERVE_NAME")
      ->default_str(o.name)
      ->option_text("NAME [$MSERVE_NAME, else default]");
  app.add_option("--dir", o.directory, "Rendezvous directory")
      ->envname("MSERVE_DIR")
      ->option_text("DIR [$MSERVE_DIR, else $XDG_RUNTIME_DIR/mserve, else /run/mserve for root]");
  add_choice<shm::IdleStrategy>(
      app, "--idle", o.idle,
      "What the data thread does without work: spin needs a core of its own; auto looks at the "
      "cores",
      {{"spin", shm::IdleStrategy::spin},
       {"yield", shm::IdleStrategy::yield},
       {"park", shm::IdleStrategy::park},
       {"auto", shm::IdleStrategy::automatic}});
  add_choice<shm::ClockSource>(
      app, "--clock", o.clock,
      "What the data thread reads for deadlines: the processor's time-stamp counter where it is "
      "fit "
      "for it and the kernel uses it too (auto), or the kernel's clock, some 20 ns slower (system)",
      {{"auto", shm::ClockSource::automatic}, {"system", shm::ClockSource::system}});
  app.add_flag("--lock-memory", o.lock_memory,
               "mlock all segments; a session for which that fails is refused");
  app.add_flag("--sandbox", o.sandbox,
               "Once started, take from the broker what serving does not need: starting programs, "
               "writing files, connecting to other hosts, core dumps. Servants are not concerned");
  app.add_option(
         "--allow-user", o.allow_users,
         "uid that may attach beside root and the broker's own user (repeat it for more); needs "
         "--socket-group")
      ->allow_extra_args(false);
  app.add_option(
         "--allow-group", o.allow_groups,
         "Group whose members may attach as well (repeat it for more); needs --socket-group")
      ->option_text("GROUP")
      ->allow_extra_args(false);
  app.add_option("--socket-group", o.socket_group,
                 "Group whose members can reach the socket (0660) and read the counters")
      ->option_text("GROUP [nobody but the user]");
  app.add_option("--servant-args", servant_args,
                 "Arguments of the launched servants, separated by spaces");
  app.add_option("--q-args", q_args, "Arguments of launched q processes, separated by spaces");
  app.add_option("--launch", o.launch,
                 "Command that starts q on another HOST; {host}, {port}, {script} and {command} "
                 "(all of q's command line) are filled in")
      ->capture_default_str();
  app.add_option("--reserve", o.reserve,
                 "How many of the N servants are started only when requests wait, the last ones")
      ->capture_default_str();
  add_duration(app, "--reserve-after", o.reserve_after,
               "One of them is started when the oldest queued request has waited for this long, "
               "another each time that this passes and the queue is still as old",
               "1s");
  add_duration(app, "--reserve-idle", o.reserve_idle,
               "One that has run nothing for this long is stopped", "60s");
  app.add_option("--ready-fd", o.ready_fd,
                 "Descriptor that gets the line \"ready\" once the launched servants are attached");
  add_choice<std::string>(app, "--log-level", o.log_level, "What is written to stderr",
                          {{"info", "info"}, {"warning", "warning"}, {"error", "error"}});
  add_choice<bool>(app, "--log-format", o.log_json,
                   "How: key=value lines, or one JSON object a line; launched servants do the same",
                   {{"text", false}, {"json", true}})
      ->envname("MSERVE_LOG_FORMAT");
  app.add_option_function<std::string>(
         "N",
         [&o](const std::string& given) {
           const char* const end = given.data() + given.size();
           const auto [rest, error] = std::from_chars(given.data(), end, o.servant_count);
           if (error != std::errc{} || rest != end) {
             throw CLI::ValidationError(
                 "N", "'" + given + "' is no number of servants; it stands before COMMAND");
           }
         },
         "Servants to launch")
      ->type_name("UINT");
  app.add_option("COMMAND", o.servant_command,
                 "Program that each of them runs, or a q script (NAME.q)");
  app.add_option("HOST", o.hosts,
                 "Where the q processes run, a share of them each [this host]; those elsewhere "
                 "serve when those here cannot, see --spill-after");
}

void add_configuration(CLI::App& app, std::string& file, bool& check) {
  app.add_option("--config", file,
                 "TOML file whose keys are these flags without --, and servants, command, hosts; "
                 "flags and environment go before it. HUP reads it again")
      ->envname("MSERVE_CONFIG")
      ->option_text("FILE [$MSERVE_CONFIG]");
  app.add_flag("--check", check,
               "Print the configuration that would hold, as such a file, and end");
}

/// The key of an option in a configuration file; "" where it has none.
std::string key_of(const CLI::Option& option) {
  static const std::map<std::string, std::string> kOthers{
      {"N", "servants"}, {"COMMAND", "command"}, {"HOST", "hosts"}, {"--help", ""},
      {"--version", ""}, {"--config", ""},       {"--check", ""},   {"--ready-fd", ""}};
  const std::string name = option.get_name();
  const auto other = kOthers.find(name);
  return other != kOthers.end() ? other->second : name.substr(2);
}

std::string quoted(const std::string& value) {
  std::string text = "\"";
  for (const char c : value) {
    if (static_cast<unsigned char>(c) < ' ') {
      constexpr std::string_view kDigits = "0123456789abcdef";
      text += "\\u00";
      text += kDigits[static_cast<unsigned char>(c) >> 4];
      text += kDigits[static_cast<unsigned char>(c) & 15];
      continue;
    }
    text += c == '"' || c == '\\' ? std::string{'\\', c} : std::string(1, c);
  }
  return text + "\"";
}

std::string as_toml(const std::string& value) {
  const bool number = !value.empty() && value.size() < 19 &&
                      (value == "0" || value.front() != '0') &&
                      value.find_first_not_of("0123456789") == std::string::npos;
  return number || value == "true" || value == "false" ? value : quoted(value);
}

/// One spelling for each value, so that two readings can be compared.
std::string spelling_of(const CLI::Option& option, const std::string& value) {
  if (option.get_option_text().starts_with("SIZE")) {
    std::uint64_t bytes = 0;
    const auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), bytes);
    return error == std::errc{} && rest == value.data() + value.size() ? shown_size(bytes) : value;
  }
  Nanos ns = 0;
  const auto parse = [&option](const std::string& text, Nanos& out) {
    return option.check_lname("purge")  ? parse_minutes(text, out)
           : option.check_lname("slow") ? parse_milliseconds(text, out)
                                        : parse_duration(text, out);
  };
  if (option.get_option_text().starts_with("TIME") && parse(value, ns)) {
    return shown_time(ns);
  }
  return value;
}

/// What holds for an option; nothing where it was not given and has no default.
std::string value_of(const CLI::Option& option) {
  std::vector<std::string> values = option.results();
  if (values.empty() && !option.get_default_str().empty()) {
    values.push_back(option.get_default_str());
  }
  if (values.empty()) {
    return option.get_expected_max() == 0 ? "false" : "";
  }
  if (option.get_expected_max() <= 1) {
    return as_toml(spelling_of(option, values.front()));
  }
  std::string list;
  for (const std::string& value : values) {
    list += (list.empty() ? "[" : ", ") + as_toml(value);
  }
  return list + "]";
}

/// One reading of command line, environment and file.
class Reading {
 public:
  Reading() : app_(kDescription, "mserve-broker") {
    app_.footer(kFooter);
    app_.set_version_flag("--version", std::string("mserve-broker ") + kVersion);
    add_configuration(app_, file_, check_);
    add_process(app_, line_.options, servant_args_, q_args_);
    add_group(app_, "Cores", [&] { add_cores(app_, line_.options); });
    add_group(app_, "Dispatch", [&] { add_dispatch(app_, line_.options); });
    add_group(app_, "Limits", [&] { add_limits(app_, line_.options); });
    add_group(app_, "Slow queries and traces", [&] { add_slow_and_trace(app_, line_.options); });
    add_group(app_, "kdb+ clients", [&] { add_gateway(app_, line_.options); });
    add_group(app_, "Several hosts", [&] { add_cluster(app_, line_.options.cluster); });
  }

  /// Throws CLI::ParseError for the command line itself, help and version.
  /// @param running  what holds now: its plugins stay; null: they are loaded.
  void run(int argc, char** argv, std::vector<std::string>& faults,
           const BrokerOptions* running = nullptr) {
    app_.parse(argc, argv);
    if (!file_.empty()) {
      apply_file(faults, /*again=*/running != nullptr);
    }
    BrokerOptions& o = line_.options;
    o.rules_may_come = !file_.empty();
    // Defaults that follow from a smaller ring; what was asked for is judged as it is.
    follow("--client-ring", o.client_ring, o.servant_ring);
    follow("--gather-max", o.gather_max, o.servant_ring / 4);
    follow("--retain-max", o.retain_max, o.servant_ring / 4);
    std::ranges::move(CLI::detail::split_up(servant_args_), std::back_inserter(o.servant_args));
    std::ranges::move(CLI::detail::split_up(q_args_), std::back_inserter(o.q_args));
    if (!o.policy_plugin_file.empty() && app_.count("--policy") == 0) {
      o.policy = Policy::plugin;
      app_.get_option("--policy")->default_str("plugin");
    }
    complete_cluster(app_, o);
    if (faults.empty()) {
      faults = o.validate();
      o.gateway.read_access(faults);
    }
    if (running != nullptr) {
      o.plugins = running->plugins;
    } else if (faults.empty()) {
      o.load_plugins(faults);
    }
    for (std::string& fault : faults) {
      fault.insert(0, place_of(fault));
    }
    for (const CLI::Option* option : app_.get_options()) {
      if (const std::string key = key_of(*option); !key.empty()) {
        line_.values.push_back({key, value_of(*option), option->get_description()});
      }
    }
  }
  [[nodiscard]] bool check() const noexcept { return check_; }
  [[nodiscard]] CommandLine take() && { return std::move(line_); }
  [[nodiscard]] CLI::App& app() noexcept { return app_; }

 private:
  void follow(const char* flag, std::uint32_t& value, std::uint32_t most) {
    if (app_.count(flag) == 0) {
      value = std::min(value, most);
      app_.get_option(flag)->default_str(shown_size(value));
    }
  }

  /// Where in the file stands what is at fault; "" if it does not. A fault begins with its flags.
  [[nodiscard]] std::string place_of(std::string_view fault) const {
    while (fault.starts_with("--")) {
      const std::size_t end = std::min(fault.find_first_of(":, "), fault.size());
      const auto found = places_.find(std::string(fault.substr(2, end - 2)));
      if (found != places_.end()) {
        return found->second;
      }
      fault.remove_prefix(std::min(fault.find_first_not_of(", ", end), fault.size()));
    }
    return "";
  }

  void apply_file(std::vector<std::string>& faults, bool again) {
    std::map<std::string, CLI::Option*> options;
    std::vector<std::string> keys;
    for (CLI::Option* option : app_.get_options()) {
      if (std::string key = key_of(*option); !key.empty()) {
        options.emplace(key, option);
        keys.push_back(std::move(key));
      }
    }
    for (FileEntry& entry : read_options_file(file_, again, faults)) {
      const std::string where = file_ + ":" + std::to_string(entry.line) + ": ";
      const auto found = options.find(entry.key);
      if (found == options.end()) {
        const std::string nearest = nearest_word(entry.key, keys);
        faults.push_back(where + "there is no key '" + entry.key + "'" +
                         (nearest.empty() ? "; --check prints all" : "; is it '" + nearest + "'?"));
        continue;
      }
      apply(*found->second, entry, where, faults);
    }
  }

  void apply(CLI::Option& option, FileEntry& entry, const std::string& where,
             std::vector<std::string>& faults) {
    if (option.count() > 0) {
      return;  // the command line or the environment said it
    }
    if (entry.key == "servant-args" || entry.key == "q-args") {
      entry.values = {CLI::detail::join(entry.values, " ")};
    }
    if (entry.values.size() != 1 && option.get_expected_max() <= 1) {
      faults.push_back(where + entry.key + " takes one value");
      return;
    }
    try {
      if (!entry.values.empty()) {
        option.add_result(entry.values);
        option.run_callback();
        places_.emplace(entry.key, where);
      }
    } catch (const CLI::Error& e) {
      faults.push_back(where + e.what());
    }
  }

  CommandLine line_;
  std::string servant_args_;
  std::string q_args_;
  std::string file_;
  std::map<std::string, std::string> places_;  // "FILE:LINE: " of each key that the file sets
  bool check_ = false;
  CLI::App app_;
};

void print(const CommandLine& line) {
  for (const Setting& setting : line.values) {
    // A key without a value is shown too, so that the output is a file to start from.
    (void)std::printf("# %s\n%s%s = %s\n", setting.description.c_str(),
                      setting.value.empty() ? "# " : "", setting.key.c_str(),
                      setting.value.c_str());
  }
}

/// A flag on the command line that there is none of, which CLI11 takes for an argument. @return
/// what to say of it; "" when each is one.
std::string unknown_flag(const CLI::App& app, int argc, char** argv) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      flags.push_back("--" + name);
    }
  }
  bool is_value = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word(argv[i]);
    const std::string flag(word.substr(0, word.find('=')));
    if (word == "--") {
      break;
    }
    const CLI::Option* const option =
        word.starts_with('-') ? app.get_option_no_throw(flag) : nullptr;
    if (!is_value && option == nullptr && flag.starts_with("--") &&
        flag.find(' ') == std::string::npos) {
      const std::string nearest = nearest_word(flag, flags);
      return "there is no option " + flag + (nearest.empty() ? "" : "; is it " + nearest + "?");
    }
    is_value = !is_value && option != nullptr && option->get_expected_max() > 0 && flag == word;
  }
  return "";
}

/// What may change while the broker runs.
bool changeable(const std::string& key) {
  constexpr std::array<std::string_view, 10> kKeys{
      "rule",    "policy",        "match-wait", "route-expire", "spill-after",
      "retries", "queue-timeout", "timeout",    "log-level",    "slow"};
  return std::find(kKeys.begin(), kKeys.end(), key) != kKeys.end();
}

}  // namespace

std::optional<int> read_command_line(int argc, char** argv, CommandLine& line) {
  Reading reading;
  std::vector<std::string> faults;
  try {
    reading.run(argc, argv, faults);
  } catch (const CLI::ParseError& e) {
    const std::string unknown =
        e.get_exit_code() != 0 ? unknown_flag(reading.app(), argc, argv) : "";
    if (!unknown.empty()) {
      (void)std::fprintf(stderr, "mserve-broker: %s\nRun with --help for more information.\n",
                         unknown.c_str());
      return 2;
    }
    return reading.app().exit(e) == 0 ? 0 : 2;
  }
  for (const std::string& fault : faults) {
    (void)std::fprintf(stderr, "mserve-broker: %s\n", fault.c_str());
  }
  if (!faults.empty()) {
    return 2;
  }
  const bool check = reading.check();
  line = std::move(reading).take();
  if (check) {
    print(line);
    return 0;
  }
  (void)set_log_level(line.options.log_level);
  set_log_form({.json = line.options.log_json, .journal = shm::stderr_is_journal()});
  return std::nullopt;
}

Reloaded reload(int argc, char** argv, CommandLine& current) {
  Reloaded result;
  Reading reading;
  try {
    reading.run(argc, argv, result.faults, &current.options);
  } catch (const CLI::ParseError& e) {
    result.faults.emplace_back(e.what());
  }
  if (!result.faults.empty()) {
    return result;
  }
  CommandLine wanted = std::move(reading).take();
  for (std::size_t i = 0; i < wanted.values.size(); ++i) {
    const Setting& setting = wanted.values[i];
    if (setting.value != current.values[i].value) {
      (changeable(setting.key) ? result.changed : result.fixed).push_back(setting);
    }
  }
  if (result.fixed.empty()) {
    result.options = wanted.options;
    result.applied = [&current, wanted = std::move(wanted)] { current = wanted; };
  }
  return result;
}

}  // namespace mserve::broker
