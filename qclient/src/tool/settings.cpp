// SPDX-License-Identifier: Apache-2.0
#include "tool/settings.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <iostream>

#include "tool/command.hpp"
#include "tool/exit_code.hpp"
#include "usage.hpp"
#include "version.hpp"

namespace mserve::tool {
namespace {

constexpr double kTimeoutSecondsMax = 1e9;

constexpr const char* kAbout =
    "Sends queries to an mserve broker and shows what comes back as q's console would.\n\n"
    "With QUERY it sends that one. With -, or when standard input is no terminal, every line of\n"
    "standard input is a query, one after the other; blank lines and lines that begin with / are\n"
    "skipped. With --json each line's answer or error is one line of standard output, in their\n"
    "order; without, errors go to standard error, and nothing says which line they belong to.\n"
    "Otherwise it shows a prompt, where \\? lists what else it knows; Ctrl-C gives up on what is\n"
    "in flight and turns \\t off.\n\n"
    "Above a result stands the info dictionary: the servant (qsvr), milliseconds in all (elapsed)\n"
    "and in the servant (execution), the route, and how many requests waited or ran when this one\n"
    "came (backlog) and was answered (remaining).\n\n"
    "mserve-client passwd USER makes a line of a users file instead: see passwd --help.";

constexpr const char* kMore =
    "Examples:\n"
    "  mserve-client 'proc1 `IBM'\n"
    "  mserve-client --json 'proc2[`GOOG]' | jq .info.execution\n"
    "  mserve-client --name default,tcp://hostA:5000,hostB:5000 'proc1 `IBM'\n"
    "  printf 'proc1 `%s\\n' IBM GS UBS | mserve-client --quiet\n\n"
    "Exit codes:\n"
    "  0  every query was answered with a result\n"
    "  1  a servant answered with an error: 'its text is on standard error; it is 'limit for a\n"
    "     query above the 64 KiB that servants parse\n"
    "  2  wrong options, or a query above the broker's --max-message\n"
    "  3  no broker there, it does not take this user, or it went away\n"
    "  4  no answer within --timeout, queue timeout, or a broker that does not answer\n"
    "  5  the broker answered instead of a servant: busy, no servant, servant died, shutdown\n"
    "With several queries it is the first code that is not 0; after 3 the rest is not sent. 130:\n"
    "Ctrl-C ended it.\n\n"
    "Environment:\n"
    "  MSERVE_NAME     what --name takes, unless that is given\n"
    "  MSERVE_USER     what --user takes, unless that is given; unlike it not shown by ps\n"
    "  MSERVE_DIR      the rendezvous directory, unless --dir is given\n"
    "  XDG_STATE_HOME  the prompt's history is mserve/history below it (else below ~/.local/state)";

/// For CLI::Validator: one of ROWS and COLUMNS. @return what is wrong; empty: nothing.
std::string console_fault(const std::string& text) {
  std::uint32_t size = 0;
  const char* const last = text.data() + text.size();
  const auto [end, code] = std::from_chars(text.data(), last, size);
  const bool good =
      code == std::errc() && end == last && size >= kConsoleMin && size <= kConsoleMax;
  return good ? ""
              : "'" + text + "': ROWS COLUMNS are two whole numbers from " +
                    std::to_string(kConsoleMin) + " to " + std::to_string(kConsoleMax);
}

/// What leads to a gateway where somebody looks for an option that other tools have.
std::string gateway_hint(const std::string& fault) {
  for (const std::string_view flag : {"-p", "--port", "--host"}) {
    const std::string none = "there is no option " + std::string(flag);
    if (fault == none || fault.starts_with(none + ";")) {
      return "a gateway is --name tcp://HOST:PORT";
    }
  }
  return "";
}

/// HOST:PORT without tcp://, or behind another word. @return what to say of it; empty: it is none.
std::string endpoint_fault(const std::string& name) {
  if (name.find("tcp://") != std::string::npos || name.find_first_of("@,") != std::string::npos) {
    return "";  // a list, or a password that is not to be repeated
  }
  std::string_view rest = name;
  for (const std::string_view scheme : {"tcp:", "http://", "https://", "//"}) {
    rest.remove_prefix(rest.starts_with(scheme) ? scheme.size() : 0);
  }
  rest = rest.substr(0, rest.find('/'));
  ClientOptions meant;
  meant.broker = "tcp://" + std::string(rest);
  return meant.validate().empty() ? "--name: is it " + meant.broker + "?" : "";
}

/// The names of the fields are those of the options.
std::string option_faults(const ClientOptions& options) {
  constexpr std::string_view kBroker = "broker: ";
  std::string faults = options.validate();
  if (!faults.starts_with(kBroker)) {
    return faults;
  }
  const std::string meant = endpoint_fault(options.broker);
  return meant.empty() ? faults.replace(0, kBroker.size(), "--name: ")
                       : faults.replace(0, std::min(faults.find('\n'), faults.size()), meant);
}

}  // namespace

std::optional<int> parse_settings(int argc, char** argv, Settings& settings) {
  CLI::App app(kAbout, "mserve-client");
  app.footer(kMore);
  app.set_version_flag("--version", std::string("mserve-client ") + kVersion);
  std::string query;
  std::vector<std::size_t> console;
  double timeout_s = 30;
  bool once = false;
  CLI::Option* const given = app.add_option("QUERY", query, "One query, or - for standard input");
  settings.client.broker = "default";
  app.add_option(
         "--name", settings.client.broker,
         "The broker's name; or gateways on other hosts, tcp://HOST:PORT[,HOST:PORT...]; or "
         "NAME,tcp://...: the gateways while there is no such broker here")
      ->envname("MSERVE_NAME")
      ->option_text("NAME [$MSERVE_NAME, else default]");
  std::string credentials;
  app.add_option("--user", credentials,
                 "Who to be at gateways; USER also where a broker routes by user")
      ->envname("MSERVE_USER")
      ->option_text("USER[:PASSWORD] [$MSERVE_USER, else your user name]");
  app.add_option("--dir", settings.client.directory, "Rendezvous directory of the broker")
      ->transform([](const std::string& path) { return std::filesystem::absolute(path).string(); })
      ->option_text("DIR [$MSERVE_DIR, else as mserve-broker]");
  app.add_option(
         "--timeout", timeout_s,
         "How long to wait for each answer; with one QUERY for a broker that is busy as well; 0: "
         "for ever. One that is not there is waited for for a second")
      ->check(CLI::Range(0.0, kTimeoutSecondsMax))
      ->option_text("SECONDS [30]");
  app.add_flag("--once", once, "Never run the query a second time when its servant dies");
  app.add_flag("--json", settings.style.json,
               "One JSON object per query: {\"id\":..,\"info\":..,\"result\":..} or "
               "{\"id\":..,\"error\":..}; with -q without info");
  app.add_flag("-q,--quiet", settings.style.quiet, "The result alone, without the info dictionary");
  app.add_option("-c,--console", console,
                 "How much of the screen a value may take, 10 to 2000 each")
      ->expected(2)
      ->option_text("ROWS COLUMNS [the terminal's, else 25 80]")
      ->type_name("")            // else a fault says that it is one number
      ->allow_extra_args(false)  // what follows the two numbers is the query
      ->check(CLI::Validator(console_fault, ""));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int status = program::end_parsing(
        app, e, argc, argv,
        e.get_exit_code() != 0 ? gateway_hint(program::usage_fault(app, e, argc, argv)) : "");
    if (e.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError) && given->count() != 0 &&
        std::string_view(e.what()).find(" -") == std::string_view::npos) {
      std::cerr
          << "A query is one argument: put it in quotes, '...', which keep ` from the shell.\n";
    }
    return status;
  }
  settings.repeatable = !once;
  const std::size_t colon = credentials.find(':');
  settings.client.user = credentials.substr(0, colon);
  settings.client.password = colon != std::string::npos ? credentials.substr(colon + 1) : "";
  settings.timeout_ns = static_cast<std::uint64_t>(std::ceil(timeout_s * 1e9));
  if (settings.timeout_ns != 0) {
    settings.client.attach_ns_max = std::min(settings.client.attach_ns_max, settings.timeout_ns);
  }
  if (console.size() == 2) {
    settings.style.rows = console[0];
    settings.style.columns = console[1];
  }
  if (given->count() != 0) {
    settings.query = query;
  }
  if (const std::string faults = option_faults(settings.client); !faults.empty()) {
    std::cerr << "mserve-client: " << faults << "\nRun with --help for more information.\n";
    return static_cast<int>(ExitCode::usage);
  }
  return std::nullopt;
}

}  // namespace mserve::tool
