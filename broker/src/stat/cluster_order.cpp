// SPDX-License-Identifier: Apache-2.0
#include "stat/cluster_order.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "option_values.hpp"
#include "stat/text.hpp"

namespace mserve::stat {

namespace {

constexpr std::uint64_t kWaitNs = 10'000'000'000;

constexpr const char* kAbout =
    "Rules, users, roles and limits for all brokers of a cluster: one document in etcd, which "
    "each\n"
    "broker takes, and each change of which is a version that can be taken back.\n\n"
    "  mserve-stat ctl cluster apply all.toml --note 'canary 10%'\n"
    "  mserve-stat ctl cluster rollback      what was there before that, at all brokers\n"
    "  mserve-stat ctl cluster show 7        the text of version 7\n"
    "  mserve-stat ctl cluster history       who wrote which version, when and why";

constexpr const char* kFooter =
    "The document is TOML with the keys of mserve-broker --config that HUP can change, and with\n"
    "users-table and roles-table, whose text is that of the files of --users and --roles. It goes\n"
    "before those files and --config, and behind flags. `mserve-stat cluster` shows which version\n"
    "each broker has.\n"
    "Exit status: 0 done, 1 not valid, refused by a broker, overtaken by somebody else's, or etcd "
    "is\n"
    "away, 2 wrong usage, 3 no mserve-cluster there, or it does not take this user, 4 written, "
    "but\n"
    "--timeout passed before all brokers had it.";

void add_waiting(CLI::App& command, Settings& s) {
  command
      .add_option_function<std::string>(
          "--timeout",
          [&s](const std::string& given) {
            if (!broker::parse_seconds(given, s.document.wait_ns)) {
              throw CLI::ValidationError(
                  "--timeout", "'" + given + "' is not a time such as 500ms, 12s, 2m, 0 or inf");
            }
          },
          "The longest to wait for all brokers to have it, up to an hour; it is written anyway")
      ->option_text("TIME [10s]");
  command.add_option("--note", s.document.note, "Why, for those who look at the history")
      ->option_text("TEXT");
}

/// A subcommand, of which `verb` is what mserve-cluster is asked for.
CLI::App& add_verb(CLI::App& to, Settings& s, const char* verb, const char* about) {
  CLI::App* const command = to.add_subcommand(verb, about);
  command->callback([&s, verb] {
    s.what = Subcommand::document;
    s.document.verb = verb;
  });
  return *command;
}

ExitCode exit_code_of(const std::string& status) {
  if (status == "ok") {
    return ExitCode::ok;
  }
  if (status == "timed_out") {
    return ExitCode::timed_out;
  }
  if (status == "invalid") {
    return ExitCode::usage;
  }
  return status == "access" ? ExitCode::no_broker : ExitCode::refused;
}

void tell(const std::string& text) {
  if (!text.empty()) {
    (void)std::fprintf(stderr, "mserve-stat: %s\n", text.c_str());
  }
}

std::string title(const DocumentHead& head) {
  return "version " + std::to_string(head.version) + " by " + head.by + " at " +
         date_text(head.at) + (head.note.empty() ? "" : ": " + head.note);
}

void print_history(const DocumentAnswer& answer) {
  std::size_t width = 2;
  for (const DocumentHead& head : answer.history) {
    width = std::max(width, head.by.size());
  }
  (void)std::printf("%10s  %-19s  %s  %8s  note\n", "version", "at (UTC)",
                    left("by", width).c_str(), "bytes");
  for (const DocumentHead& head : answer.history) {
    (void)std::printf("%10lld  %s  %s  %8lld  %s\n", static_cast<long long>(head.version),
                      date_text(head.at).c_str(), left(head.by, width).c_str(),
                      static_cast<long long>(head.bytes), head.note.c_str());
  }
}

void print_brokers(const DocumentAnswer& answer) {
  std::size_t width = 0;
  for (const DocumentBroker& broker : answer.brokers) {
    width = std::max(width, broker.id.size());
  }
  for (const DocumentBroker& broker : answer.brokers) {
    (void)std::printf("  %s  %s%s%s\n", left(broker.id, width).c_str(), broker.state.c_str(),
                      broker.fault.empty() ? "" : ": ", broker.fault.c_str());
  }
}

void print_answer(const Settings& settings, const DocumentAnswer& answer) {
  const bool done = answer.status == "ok";
  if (done && settings.document.verb == "history") {
    print_history(answer);
  } else if (done && settings.document.verb == "show") {
    // The text alone, to be edited and applied again.
    (void)std::fwrite(answer.document_text.data(), 1, answer.document_text.size(), stdout);
    (void)std::fflush(stdout);
    tell(title(answer.document));
    tell(answer.text);
    return;
  } else if (done) {
    (void)std::printf("%s\n", answer.text.c_str());
  }
  print_brokers(answer);
  (void)std::fflush(stdout);
}

}  // namespace

void describe_cluster_order(CLI::App& ctl, Settings& s) {
  s.document.wait_ns = kWaitNs;
  CLI::App* const cluster = ctl.add_subcommand("cluster", kAbout);
  cluster->footer(kFooter);
  cluster->require_subcommand(1);
  CLI::App& apply = add_verb(*cluster, s, "apply",
                             "Checks a file and makes it the document, once all of it is valid; "
                             "then says of each broker\nwhat it made of it.");
  apply.add_option("file", s.target, "The document; - is standard input")
      ->required()
      ->option_text("FILE");
  apply
      .add_option("--base", s.document.version,
                  "Only if that version is the current one, 0: if there is none")
      ->check(CLI::NonNegativeNumber)
      ->option_text("VERSION [whichever it is]");
  add_waiting(apply, s);
  CLI::App& rollback =
      add_verb(*cluster, s, "rollback",
               "Makes the text of a former version the document again, as a new version.");
  rollback
      .add_option("version", s.document.version,
                  "Which; without it, the one before. 0: an empty one, as before the first")
      ->check(CLI::NonNegativeNumber)
      ->option_text("VERSION");
  add_waiting(rollback, s);
  CLI::App& show = add_verb(*cluster, s, "show",
                            "Prints the text of a version, and on standard error who wrote it.");
  show.add_option("version", s.document.version, "Which; without it, the current one")
      ->check(CLI::PositiveNumber)
      ->option_text("VERSION");
  (void)add_verb(*cluster, s, "history",
                 "The newest 16 versions: who wrote them, when and why. 32 are kept.");
}

ExitCode run_cluster_order(const Settings& settings) {
  DocumentOrder order = settings.document;
  if (order.verb == "apply") {
    std::string fault;
    auto text = read_document_file(settings.target, fault);
    if (!text) {
      tell(fault);
      return ExitCode::usage;
    }
    order.text = std::move(*text);
  }
  std::string reason;
  const auto called = call_cluster(settings.broker, order, reason);
  if (!called) {
    tell(reason.empty() ? advice(called.error().code) : reason);
    return called.error().code == Errc::invalid ? ExitCode::usage : ExitCode::no_broker;
  }
  const DocumentAnswer& answer = called.value();
  if (settings.json) {
    (void)std::printf("%s\n", answer.json.c_str());
  } else {
    print_answer(settings, answer);
  }
  if (answer.status != "ok") {
    for (const std::string& fault : answer.faults) {
      tell(settings.target + ": " + fault);
    }
    tell(answer.text);
  }
  return exit_code_of(answer.status);
}

}  // namespace mserve::stat
