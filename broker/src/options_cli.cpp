// SPDX-License-Identifier: Apache-2.0
#include "options_cli.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <memory>
#include <utility>

#include "access/ring_access.hpp"
#include "control/launch_plan.hpp"
#include "control/log.hpp"
#include "document.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/standard_descriptors.hpp"
#include "option_keys.hpp"
#include "option_values.hpp"
#include "options_cli_cluster.hpp"
#include "options_cli_cores.hpp"
#include "options_cli_dispatch.hpp"
#include "options_cli_gateway.hpp"
#include "options_cli_log.hpp"
#include "options_file.hpp"
#include "usage.hpp"
#include "version.hpp"
#include "wrap.hpp"

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
    "running request). HUP, or mserve-stat ctl reload, reads --config again\n"
    "and applies rule, policy, match-wait, route-expire, spill-after, retries, max-queue-client,\n"
    "queue-timeout, timeout, log-level and slow, and "
    "reads the files of --users and --roles again; if anything else changed, or any file has a "
    "fault, nothing.\n"
    "With --cluster it also reads DIR/NAME.cluster.toml, the document of all brokers of the "
    "cluster, at the start and\n"
    "then: these keys, users-table and roles-table; flags and environment go before it, and it "
    "before --config.\n"
    "Exit status: 0 stopped by a signal, or with --check a configuration that is right, 1 could "
    "not start, 2 wrong usage.";

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

void add_process(CLI::App& app, GivenOptions& given) {
  BrokerOptions& o = given.options;
  app.add_option("--name", o.name, "Name that clients and servants use")
      ->envname("MSERVE_NAME")
      ->default_str(o.name)
      ->option_text("NAME [$MSERVE_NAME, else default]");
  app.add_option("--dir", o.directory, "Rendezvous directory")
      ->envname("MSERVE_DIR")
      ->option_text(
          "DIR [$MSERVE_DIR, else $XDG_RUNTIME_DIR/mserve, else /run/mserve for root, "
          "/tmp/mserve-UID for others]");
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
  app.add_option_function<std::vector<std::string>>(
         "--allow-user",
         [&o](const std::vector<std::string>& users) {
           o.allow_users.clear();
           for (const std::string& user : users) {
             const std::optional<std::uint32_t> uid = RingAccess::uid_of(user);
             if (!uid) {
               throw CLI::ValidationError(
                   "--allow-user", "there is no user called '" + user + "', nor is it a uid");
             }
             o.allow_users.push_back(*uid);
           }
         },
         "Who may attach beside root and the broker's own user, by name or uid (repeat it for "
         "more); needs --socket-group")
      ->option_text("USER")
      ->allow_extra_args(false);
  app.add_option(
         "--allow-group", o.allow_groups,
         "Group whose members may attach as well (repeat it for more); needs --socket-group")
      ->option_text("GROUP")
      ->allow_extra_args(false);
  app.add_option("--socket-group", o.socket_group,
                 "Group whose members can reach the socket (0660) and read the counters")
      ->option_text("GROUP [nobody but the user]");
  app.add_option("--servant-args", given.servant_args,
                 "Arguments of the launched servants, separated by spaces");
  app.add_option("--q-args", given.q_args,
                 "Arguments of launched q processes, separated by spaces");
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
         [&o](const std::string& number) {
           const char* const end = number.data() + number.size();
           const auto [rest, error] = std::from_chars(number.data(), end, o.servant_count);
           if (error != std::errc{} || rest != end) {
             throw CLI::ValidationError(
                 "N", "'" + number + "' is no number of servants; it stands before COMMAND");
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

void add_configuration(CLI::App& app, GivenOptions& given) {
  app.add_option("--config", given.file,
                 "TOML file whose keys are these flags without --, and servants, command, hosts; "
                 "flags and environment go before it. HUP reads it again")
      ->envname("MSERVE_CONFIG")
      ->option_text("FILE [$MSERVE_CONFIG]");
  app.add_flag("--check", given.check,
               "Print the configuration that would hold, as such a file, and end; what keeps it "
               "from starting on this machine is told on stderr, but for names, ports and memory "
               "that others have");
}

/// The line of `file` that a fault is of; 0: it is of something else.
std::uint32_t line_in(std::string_view fault, const std::string& file) {
  std::uint32_t line = 0;
  if (!file.empty() && fault.starts_with(file + ":")) {
    fault.remove_prefix(file.size() + 1);
    (void)std::from_chars(fault.data(), fault.data() + fault.size(), line);
  }
  return line;
}

/// One reading of command line, environment and files.
class Reading {
 public:
  Reading() : app_(kDescription, "mserve-broker") {
    app_.footer(kFooter);
    add_options(app_, given_);
  }

  /// Throws CLI::ParseError for the command line itself, help and version.
  /// @param running       what holds now: its plugins stay; null: they are loaded.
  /// @param has_document  whether the cluster's document counts.
  void run(int argc, char** argv, std::vector<std::string>& faults, const BrokerOptions* running,
           bool has_document) {
    app_.parse(argc, argv);
    BrokerOptions& o = given_.options;
    const std::string& file = given_.file;
    OptionKeys keys(app_);
    std::vector<FileEntry> entries;
    if (!file.empty()) {
      entries = read_options_file(file, /*again=*/running != nullptr, faults);
    }
    const bool clustered = !o.cluster.endpoints.empty() || says(entries, "cluster");
    if (clustered && has_document) {
      apply_document(entries, keys, running != nullptr, faults);
    }
    const bool whole = faults.empty();  // the files can be read, if not each of their values
    keys.apply(std::move(entries), file, OptionKeys::Scope::broker, faults);
    o.rules_may_come = !file.empty() || clustered;
    o.gateway.users_may_come = clustered;
    follow_defaults();
    std::ranges::move(given_.rule_faults, std::back_inserter(faults));
    if (whole) {
      std::vector<std::string> more = o.validate();
      o.gateway.read_access(more);
      std::ranges::remove_copy_if(more, std::back_inserter(faults),
                                  [&](const std::string& fault) { return keys.in_doubt(fault); });
    }
    if (running != nullptr) {
      o.plugins = running->plugins;
    } else if (faults.empty()) {
      o.load_plugins(faults);
    }
    for (std::string& fault : faults) {
      fault.insert(0, keys.place_of(fault));
    }
    std::ranges::stable_sort(faults, {},
                             [&file](const std::string& fault) { return line_in(fault, file); });
    for (const CLI::Option* option : app_.get_options()) {
      if (const std::string key = key_of(*option); !key.empty()) {
        values_.push_back({key, value_of(*option), option->get_description()});
      }
    }
  }
  /// The file of the document that counts, or that has faults; empty: there is none.
  [[nodiscard]] const std::string& document() const noexcept { return document_; }
  [[nodiscard]] bool check() const noexcept { return given_.check; }
  [[nodiscard]] CommandLine take() && {
    return {std::move(given_.options), std::move(values_), std::move(document_)};
  }
  [[nodiscard]] CLI::App& app() noexcept { return app_; }

  /// Of a command line that could not be parsed: flags behind COMMAND are taken for its own.
  [[nodiscard]] std::string hint(int argc, char** argv) const {
    const std::string& command = given_.options.servant_command;
    char** const end = argv + argc;
    char** const at = command.empty() ? end : std::find(argv, end, command);
    const std::vector<std::string> unknown = app_.remaining();
    const bool behind = at != end && !unknown.empty() && unknown.front().starts_with('-') &&
                        std::find(at, end, unknown.front()) != end;
    return behind ? std::string(given_.options.launches_q() ? "q's" : "its") +
                        " own arguments go into " +
                        (given_.options.launches_q() ? "--q-args" : "--servant-args") + " '...'"
                  : "";
  }

  /// Beside other faults: why its servants could not be launched; empty: nothing is known.
  [[nodiscard]] std::string launch_fault() const {
    BrokerOptions one = given_.options;
    one.servant_count = std::min(one.servant_count, 1U);  // it is not yet known to be sane
    std::string fault;
    (void)plan_programs(one, plan_context(one.gateway.port), fault);
    return fault;
  }

 private:
  static bool says(const std::vector<FileEntry>& entries, std::string_view key) {
    return !last_value(entries, key).empty();
  }

  static std::string last_value(const std::vector<FileEntry>& entries, std::string_view key) {
    const auto found = std::find_if(entries.begin(), entries.end(),
                                    [key](const FileEntry& one) { return one.key == key; });
    return found != entries.end() && !found->values.empty() ? found->values.back() : "";
  }

  /// Before the file is: what goes before it has to come first. Where it lies the file may say.
  /// @param again  one that is staged goes before it.
  void apply_document(const std::vector<FileEntry>& entries, OptionKeys& keys, bool again,
                      std::vector<std::string>& faults) {
    BrokerOptions& o = given_.options;
    const auto told = [&](const char* flag, const std::string& value) {
      const std::string from_file = last_value(entries, std::string_view(flag).substr(2));
      return app_.count(flag) > 0 || from_file.empty() ? value : from_file;
    };
    const std::string directory = rendezvous_directory(told("--dir", o.directory));
    const std::string name = told("--name", o.name);
    const std::size_t before = faults.size();
    std::string path = staged_document_path(directory, name);
    std::optional<Document> document = again ? read_document(path, faults) : std::nullopt;
    if (!document && faults.size() == before) {
      path = document_path(directory, name);
      document = read_document(path, faults);
    }
    if (!document && faults.size() == before) {
      return;
    }
    document_ = path;
    if (document) {
      keys.apply(std::move(document->entries), path, OptionKeys::Scope::cluster, faults);
      o.gateway.users_table = std::move(document->users);
      o.gateway.roles_table = std::move(document->roles);
    }
  }

  /// Defaults that follow from other options; what was asked for is judged as it is.
  void follow_defaults() {
    BrokerOptions& o = given_.options;
    follow("--client-ring", o.client_ring, o.servant_ring);
    follow("--gather-max", o.gather_max, o.servant_ring / 4);
    follow("--retain-max", o.retain_max, o.servant_ring / 4);
    std::ranges::move(CLI::detail::split_up(given_.servant_args),
                      std::back_inserter(o.servant_args));
    std::ranges::move(CLI::detail::split_up(given_.q_args), std::back_inserter(o.q_args));
    if (!o.policy_plugin_file.empty() && app_.count("--policy") == 0) {
      o.policy = Policy::plugin;
      app_.get_option("--policy")->default_str("plugin");
    }
    complete_cluster(app_, o);
  }

  void follow(const char* flag, std::uint32_t& value, std::uint32_t most) {
    if (app_.count(flag) == 0) {
      value = std::min(value, most);
      app_.get_option(flag)->default_str(shown_size(value));
    }
  }

  GivenOptions given_;
  std::vector<Setting> values_;
  std::string document_;
  CLI::App app_;
};

/// What is told of a table is that there is another one: it may be long, and has hashes in it.
void note_table(const char* key, const std::optional<TableText>& before,
                const std::optional<TableText>& after, std::vector<Setting>& changed) {
  const bool same =
      before.has_value() == after.has_value() && (!after || before->text == after->text);
  if (!same) {
    changed.push_back({key, after ? "\"another\"" : "\"none\"", "A table of the document"});
  }
}

}  // namespace

void add_options(CLI::App& app, GivenOptions& given) {
  BrokerOptions& o = given.options;
  app.set_version_flag("--version", std::string("mserve-broker ") + kVersion);
  add_configuration(app, given);
  add_process(app, given);
  add_group(app, "Cores", [&] { add_cores(app, o); });
  add_group(app, "Dispatch", [&] { add_dispatch(app, o, given.rule_faults); });
  add_group(app, "Limits", [&] { add_limits(app, o); });
  add_group(app, "Slow queries and traces", [&] { add_slow_and_trace(app, o); });
  add_group(app, "kdb+ clients", [&] { add_gateway(app, o); });
  add_group(app, "Several hosts", [&] { add_cluster(app, o.cluster); });
}

std::string rendezvous_directory(const std::string& given) {
  if (given.empty()) {
    return shm::default_directory();
  }
  const char* const from_environment = std::getenv("MSERVE_DIR");
  return from_environment != nullptr && given == from_environment
             ? given
             : std::filesystem::absolute(given).string();
}

void print_configuration(const CommandLine& line) {
  constexpr std::size_t kWidth = 78;  // of the words of a comment
  if (!line.document.empty()) {
    (void)std::printf("# Of all brokers of the cluster: %s\n", line.document.c_str());
  }
  for (const auto& [key, table] : {std::pair("users", &line.options.gateway.users_table),
                                   std::pair("roles", &line.options.gateway.roles_table)}) {
    if (*table) {
      (void)std::printf("# %s-table there takes the place of %s\n", key, key);
    }
  }
  for (const Setting& setting : line.values) {
    // A key without a value is shown too, so that the output is a file to start from.
    for (const std::string& words : program::wrapped_line(setting.description, kWidth)) {
      (void)std::printf("# %s\n", words.c_str());
    }
    (void)std::printf("%s%s = %s\n", setting.value.empty() ? "# " : "", setting.key.c_str(),
                      setting.value.c_str());
  }
}

std::optional<int> read_command_line(int argc, char** argv, CommandLine& line) {
  auto reading = std::make_unique<Reading>();
  std::vector<std::string> faults;
  std::vector<std::string> of_document;
  try {
    reading->run(argc, argv, faults, nullptr, /*has_document=*/true);
    if (!faults.empty() && !reading->document().empty()) {
      // What somebody else wrote keeps no broker from starting. Unless it is not at fault.
      of_document.swap(faults);
      reading = std::make_unique<Reading>();
      reading->run(argc, argv, faults, nullptr, /*has_document=*/false);
    }
  } catch (const CLI::ParseError& e) {
    return program::end_parsing(reading->app(), e, argc, argv, reading->hint(argc, argv));
  }
  if (std::string fault = faults.empty() ? "" : reading->launch_fault(); !fault.empty()) {
    faults.push_back(std::move(fault));
  }
  for (const std::string& fault : faults) {
    (void)std::fprintf(stderr, "mserve-broker: %s\n", fault.c_str());
  }
  if (!faults.empty()) {
    return 2;
  }
  const bool check = reading->check();
  line = std::move(*reading).take();
  if (check) {
    for (const std::string& fault : of_document) {
      (void)std::fprintf(stderr, "mserve-broker: %s (so the document does not count)\n",
                         fault.c_str());
    }
    line.check = true;
    return std::nullopt;
  }
  (void)set_log_level(line.options.log_level);
  set_log_form({.json = line.options.log_json, .journal = shm::stderr_is_journal()});
  for (const std::string& fault : of_document) {
    log(LogLevel::error, "document_refused",
        {{"reason", LogText{fault}}, {"note", LogText{"started without the document"}}});
  }
  if (!line.document.empty()) {
    log(LogLevel::info, "document", {{"path", line.document}});
  }
  return std::nullopt;
}

Reloaded reload(int argc, char** argv, CommandLine& current) {
  Reloaded result;
  Reading reading;
  try {
    reading.run(argc, argv, result.faults, &current.options, /*has_document=*/true);
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
      (is_changeable(setting.key) ? result.changed : result.fixed).push_back(setting);
    }
  }
  const GatewayOptions& before = current.options.gateway;
  const GatewayOptions& after = wanted.options.gateway;
  note_table("users-table", before.users_table, after.users_table, result.changed);
  note_table("roles-table", before.roles_table, after.roles_table, result.changed);
  if (result.fixed.empty()) {
    result.options = wanted.options;
    result.document = wanted.document;
    result.applied = [&current, wanted = std::move(wanted)] { current = wanted; };
  }
  return result;
}

}  // namespace mserve::broker
