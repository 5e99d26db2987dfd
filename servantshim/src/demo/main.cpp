// SPDX-License-Identifier: Apache-2.0
// mserve-servant: the API of LBT's quickstart, natively.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>

#include "demo/api.hpp"
#include "mserve/servant/servant.hpp"
#include "mserve/shm/standard_descriptors.hpp"
#include "servant_log.hpp"
#include "servant_tags.hpp"
#include "stops_on_signal.hpp"
#include "usage.hpp"
#include "version.hpp"

namespace {

using mserve::Servant;

constexpr const char* kAbout =
    "A servant with the functions of the mserve quickstart, over a table of random trades.\n"
    "\n"
    "  echo x            its argument; opaque requests come back as they are\n"
    "  proc1 symbols     MAX MIN OPEN CLOSE AVG VWAP DEV VAR by symbol, computed 100 times over\n"
    "  proc2 symbols     the same, 400 times over\n"
    "\n"
    "Symbols: GS AAPL BA VOD MSFT GOOG IBM UBS, one or several. The same --rows and --seed give "
    "the same\n"
    "table in every process, so any servant gives the same answer.";

constexpr const char* kExample =
    "Example, with a broker that starts and supervises two of them:\n"
    "  mserve-broker 2 mserve-servant\n"
    "  mserve-client 'proc1 `IBM`GS'\n"
    "or by hand, beside a broker called prices:\n"
    "  mserve-servant --broker prices --name calc1 --rows 100000\n"
    "\n"
    "It waits for a broker that is not there yet and comes back to one that was restarted. SIGTERM "
    "and\n"
    "SIGINT: answers the request that runs, detaches, exits with 0. Exit codes: 0 stopped, or "
    "retired\n"
    "by an operator, 1 refused by the broker or out of memory, 2 wrong options.";

/// mserve-servant-N: the index that the broker gave to a servant it started, else the process id.
std::string default_name() {
  const char* given = std::getenv("MSERVE_SERVANT");
  const std::string index = given != nullptr ? given : "";
  const bool usable =
      !index.empty() && index.size() <= 10 &&
      std::all_of(index.begin(), index.end(), [](char c) { return c >= '0' && c <= '9'; });
  return "mserve-servant-" + (usable ? index : std::to_string(getpid()));
}

struct Settings {
  mserve::servant::Options options;
  std::string idle = "auto";
  std::string group;
  std::string log_format = "text";
  std::uint64_t rows = 3'000'000;
  std::uint64_t seed = 1;
};

void describe(CLI::App& app, Settings& s) {
  s.options.name = default_name();
  s.options.broker = mserve::servant::default_broker();
  app.footer(kExample);
  app.add_option("--name", s.options.name,
                 "Its own name, in logs and info dictionaries, at most 31 characters; for the "
                 "broker's see --broker")
      ->option_text("NAME [mserve-servant- and the process's number]");
  app.add_option("--broker", s.options.broker, "The broker's --name")
      ->option_text("NAME [$MSERVE_NAME, else default]");
  app.add_option("--dir", s.options.directory, "Rendezvous directory of the broker")
      ->transform(
          [](const std::string& given) { return std::filesystem::absolute(given).string(); })
      ->option_text("DIR [$MSERVE_DIR, else as mserve-broker]");
  app.add_option("--tags", s.options.tags,
                 "What the broker's rules choose by, parted by blanks or commas: gpu,zone=a; and "
                 "weight=N");
  app.add_option("--group", s.group, "The same as the tag group=GROUP")->option_text("GROUP");
  app.add_option("--rows", s.rows, "Trades in the table, 16 bytes each")
      ->check(CLI::Range(std::uint64_t{0}, mserve::demo::kRowsMax))
      ->option_text("N [3000000]");
  app.add_option("--seed", s.seed, "What the random trades are made from")->option_text("N [1]");
  app.add_option(
         "--credit", s.options.credit,
         "Requests to hold at once, of which a broker grants 64 at most; they run one by one")
      ->option_text("N [1]");
  app.add_option("--idle", s.idle,
                 "Without work: spin, yield, park, or auto (by the cores at hand)")
      ->check(CLI::IsMember({"spin", "yield", "park", "auto"}))
      ->option_text("spin|yield|park|auto [auto]");
  app.add_option("--log-format", s.log_format, "What stderr gets: text, or one JSON object a line")
      ->envname("MSERVE_LOG_FORMAT")
      ->check(CLI::IsMember({"text", "json"}))
      ->option_text("text|json [$MSERVE_LOG_FORMAT, else text]");
}

int serve(const Settings& s) {
  const mserve::ServantLog log(s.options.name, s.log_format == "json");
  Servant servant(s.options);
  const mserve::StopsOnSignal stops(servant);
  const mserve::demo::Trades trades = mserve::demo::Trades::generate(s.rows, s.seed);
  bool listed = true;
  for (auto& [name, function] : mserve::demo::api(trades)) {
    listed = servant.add(name, function) && listed;
  }
  servant.set_opaque([](std::vector<std::byte>&) {});
  servant.set_events([&log](mserve::servant::Event event, std::string_view text) {
    const bool fine = event <= mserve::servant::Event::detached;
    log.write({.level = fine ? mserve::ServantLogLine::Level::info
                             : mserve::ServantLogLine::Level::warning,
               .event = to_string(event),
               .text = text});
  });
  const std::string served = "echo, proc1, proc2 over " + std::to_string(trades.count()) +
                             " trades, seed " + std::to_string(s.seed) + ", idle " + s.idle;
  log.write({.event = "serves", .text = served});
  const mserve::Error ended = servant.run();
  return listed && ended.code == mserve::Errc::ok ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  if (!mserve::shm::hold_standard_descriptors()) {
    return 1;
  }
  Settings settings;
  CLI::App app(kAbout, "mserve-servant");
  app.set_version_flag("--version", std::string("mserve-servant ") + mserve::kVersion);
  describe(app, settings);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return mserve::program::end_parsing(app, e, argc, argv);
  }
  settings.options.tags = mserve::servant_tags(std::move(settings.options.tags), settings.group);
  settings.options.idle =
      mserve::shm::parse_idle_strategy(settings.idle).value_or(settings.options.idle);
  if (const std::string faults = settings.options.validate(); !faults.empty()) {
    mserve::program::tell_faults("mserve-servant", faults);
    return 2;
  }
  return serve(settings);
} catch (const std::exception& e) {
  std::fprintf(stderr, "mserve-servant: %s\n", e.what());
  return 1;
}
