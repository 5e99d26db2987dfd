// SPDX-License-Identifier: Apache-2.0
// What mserve-stat shows of a real broker, and what operators change at run time.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "mserve/shm/clock.hpp"
#include "support/requests.hpp"
#include "support/temp_dir.hpp"
#include "system/ctl_setup.hpp"
#include "system/gateway_setup.hpp"

namespace mserve::test {
namespace {

namespace json = boost::json;

std::int64_t number_in(const json::value& row, const char* column) {
  return row.at(column).as_int64();
}

/// One row of a table, by the text of a column.
json::value row_of(const json::array& rows, const char* column, const std::string& text) {
  for (const json::value& row : rows) {
    if (row.at(column).as_string() == text) {
      return row;
    }
  }
  ADD_FAILURE() << "no row with " << column << " " << text << " in " << json::serialize(rows);
  return {};
}

class ShownBroker : public ::testing::Test {
 protected:
  ShownBroker() : broker_(BrokerSetup{.args = {"--policy", "match"}, .servants = 2}) {}
  void ask(Client& client, int count, std::uint64_t route = 0) {
    for (int i = 0; i < count; ++i) {
      EXPECT_EQ(await(client, send_opaque(client, pattern(40), {.route = route})).status, Errc::ok);
    }
  }
  Broker broker_;
};

TEST_F(ShownBroker, EachSubcommandShowsWhatWasAsked) {
  constexpr std::uint64_t kRoute = 0x1234567890abcdef;
  Client client = broker_.client();
  ask(client, 20, kRoute);
  ask(client, 5);
  // Totals follow within milliseconds; the rest is there at once.
  const json::array servants = rows_of(broker_, {"servants"});
  ASSERT_EQ(servants.size(), 2U);
  std::int64_t answered = 0;
  std::int64_t hits = 0;
  for (const json::value& servant : servants) {
    answered += number_in(servant, "answered");
    hits += number_in(servant, "hits");
    EXPECT_EQ(text_in(servant, "state"), "attached");
    EXPECT_EQ(number_in(servant, "errors"), 0);
    EXPECT_EQ(number_in(servant, "in_capacity"), 1 << 20);
  }
  EXPECT_EQ(answered, 25);
  EXPECT_EQ(hits, 19) << "all but the first of the route";

  const json::array clients = rows_of(broker_, {"clients"});
  ASSERT_EQ(clients.size(), 1U);
  EXPECT_EQ(number_in(clients[0], "requests"), 25);
  EXPECT_EQ(number_in(clients[0], "answered"), 25);
  EXPECT_EQ(number_in(clients[0], "pid"), ::getpid());

  const json::array routes = rows_of(broker_, {"routes"});
  ASSERT_EQ(routes.size(), 1U);
  EXPECT_EQ(text_in(routes[0], "route"), "0x1234567890abcdef");
  EXPECT_EQ(number_in(routes[0], "answered"), 20);
  EXPECT_EQ(number_in(routes[0], "hits"), 19);
  EXPECT_NE(stat(broker_, {"routes"}).err.find("0x... are hashes"), std::string::npos);
  EXPECT_EQ(stat(broker_, {"routes", "--json"}).err, "");

  const json::array latency = rows_of(broker_, {"latency"});
  EXPECT_EQ(latency.size(), 5U);
  EXPECT_EQ(number_in(row_of(latency, "time", "round_trip"), "count"), 25);
  EXPECT_GT(row_of(latency, "time", "execution").at("p99").to_number<double>(), 0);
  const std::string first = std::to_string(number_in(servants[0], "number"));
  const json::array own = rows_of(broker_, {"latency", first});
  EXPECT_EQ(own.size(), 3U);
  EXPECT_EQ(number_in(own[0], "count"), number_in(servants[0], "answered"));
  const Output nobody = stat(broker_, {"latency", "77"});
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_NE(nobody.err.find("no servant has the number 77"), std::string::npos) << nobody.err;
  const Output text = stat(broker_, {"latency"});
  EXPECT_NE(text.out.find("round trip"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("#####"), std::string::npos) << "a plot: " << text.out;

  const json::array events = rows_of(broker_, {"events", "-n", "100"});
  EXPECT_EQ(text_in(events[0], "event"), "started");
  EXPECT_EQ(text_in(events[events.size() - 1], "event"), "attached") << "the client";

  const Output top = stat(broker_, {"top", "--json", "-i", "0.05", "--count", "1"});
  ASSERT_EQ(top.exit_code, 0) << top.err;
  const json::value all = json::parse(top.out);
  EXPECT_EQ(all.at("policy").as_string(), "match");
  EXPECT_EQ(all.at("totals").at("replies").as_int64(), 25);
  EXPECT_GT(all.at("totals").at("passes").as_int64(), 0);
  EXPECT_EQ(all.at("servants").as_array().size(), 2U);
  EXPECT_TRUE(all.at("servants").at(0).as_object().contains("requests_per_s"));
}

TEST_F(ShownBroker, AgeOfTheQueueIsToldWhateverSizeWaits) {
  for (const std::size_t bytes : {std::size_t{10}, std::size_t{300'000}, std::size_t{8} << 20}) {
    ASSERT_EQ(stat(broker_, {"ctl", "pause", "all"}).exit_code, 0);
    std::thread asker([&] {
      Client client = broker_.client();
      EXPECT_EQ(status_of(call_opaque(client, pattern(bytes))), Errc::ok);
    });
    EXPECT_TRUE(wait_until(
        [&] {
          const Output top = stat(broker_, {"top", "--json", "-i", "0.02", "--count", "1"});
          return json::parse(top.out).at("totals").at("queue_age_ns").as_int64() > 0;
        },
        "the age of a request of " + std::to_string(bytes) + " bytes"));
    EXPECT_EQ(stat(broker_, {"ctl", "resume", "all"}).exit_code, 0);
    asker.join();
  }
}

TEST_F(ShownBroker, RatesAreThoseOfTheInterval) {
  Client client = broker_.client();
  ask(client, 50);
  const json::array servants = rows_of(broker_, {"servants", "--interval", "0.05"});
  for (const json::value& servant : servants) {
    EXPECT_EQ(servant.at("requests_per_s").to_number<double>(), 0) << "nobody asks meanwhile";
    EXPECT_EQ(servant.at("busy").to_number<double>(), 0);
  }
}

TEST_F(ShownBroker, PolicyAndLogLevelChangeAtRunTime) {
  EXPECT_EQ(stat(broker_, {"ctl", "policy", "even"}).out, "policy: even\n");
  EXPECT_TRUE(wait_until(
      [&] {
        return json::parse(stat(broker_, {"top", "--json", "--count", "1"}).out)
                   .at("policy")
                   .as_string() == "even";
      },
      "the policy to be shown"));
  Client client = broker_.client();
  ask(client, 10, 7);
  for (const json::value& servant : rows_of(broker_, {"servants"})) {
    EXPECT_EQ(number_in(servant, "answered"), 5) << "in turn, whatever the route";
  }
  const Output wrong = stat(broker_, {"ctl", "policy", "best"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.err.find("not one of orig|even"), std::string::npos) << wrong.err;
  EXPECT_NE(stat(broker_, {"ctl", "policy", "plugin"}).err.find("there is no plugin"),
            std::string::npos);
  EXPECT_EQ(stat(broker_, {"ctl", "log-level", "error"}).out, "log level: error\n");
  EXPECT_EQ(stat(broker_, {"ctl", "log-level", "loud"}).exit_code, 2);
  { const Client quiet = broker_.client(); }
  const json::value last = rows_of(broker_, {"events", "-n", "1"}).at(0);
  EXPECT_NE(text_in(last, "event"), "started");
  EXPECT_EQ(broker_.log_lines("log-level").size(), 0U) << "the line itself is below the level";
}

TEST(StatWithoutABroker, SaysSo) {
  const TempDir directory;
  for (const std::string word : {"clients", "routes", "latency", "events"}) {
    // In a directory that is there: on a fresh machine the usual one is not, and is what is told.
    const Output output = run_to_end(
        {program("mserve-stat"), "--dir", directory.path(), "--name", "nobody-here", word});
    EXPECT_EQ(output.exit_code, 3) << word;
    EXPECT_NE(output.err.find("nobody-here"), std::string::npos) << output.err;
  }
}

TEST(UnknownSubcommand, IsNamedWithTheNearest) {
  const auto said = [](const char* tool, const char* word) {
    const Output output = run_to_end({program(tool), word});
    EXPECT_EQ(output.exit_code, 2) << tool;
    return output.err;
  };
  EXPECT_EQ(
      said("mserve-stat", "servnats"),
      "mserve-stat: there is no subcommand 'servnats'; is it 'servants'?\nRun with --help for "
      "more information.\n");
  EXPECT_NE(said("mserve-stat", "xyzzy").find("there are ctl, servants"), std::string::npos);
  EXPECT_NE(said("mserve-pin", "aduit").find("is it 'audit'?"), std::string::npos);
}

/// `mserve-stat ARGS` on a terminal of its own.
class OnTerminal {
 public:
  OnTerminal(const Broker& broker, std::vector<std::string> args, unsigned short columns,
             const char* term = "xterm") {
    winsize size{};
    size.ws_row = 24;
    size.ws_col = columns;
    args.insert(args.begin(), program("mserve-stat"));
    const auto env = broker.env();
    pid_ = ::forkpty(&fd_, nullptr, nullptr, &size);
    if (pid_ == 0) {
      std::vector<char*> argv;
      for (std::string& arg : args) {
        argv.push_back(arg.data());
      }
      argv.push_back(nullptr);
      for (const auto& [name, value] : env) {
        ::setenv(name.c_str(), value.c_str(), 1);
      }
      ::setenv("TERM", term, 1);
      // ncurses keeps what it took for a terminal that it then does not know.
      const char* const given = std::getenv("ASAN_OPTIONS");
      ::setenv("ASAN_OPTIONS",
               ((given != nullptr ? given : "") + std::string(":detect_leaks=0")).c_str(), 1);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    (void)::fcntl(fd_, F_SETFL, O_NONBLOCK);
  }
  ~OnTerminal() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(fd_);
  }
  OnTerminal(const OnTerminal&) = delete;
  OnTerminal& operator=(const OnTerminal&) = delete;

  void type(const std::string& keys) {
    said_.clear();
    const std::string all = keys + "\f";  // draws all anew, not just what changed
    EXPECT_EQ(::write(fd_, all.data(), all.size()), static_cast<ssize_t>(all.size()));
  }
  /// What was written until now.
  void forget() {
    read_some();
    said_.clear();
  }
  /// Waits until this was written since the last keys.
  bool shows(const std::string& text) {
    return wait_until(
        [&] {
          read_some();
          return said_.find(text) != std::string::npos;
        },
        "'" + text + "' on the screen, which got: " + said_);
  }
  int wait() {
    int status = -1;
    EXPECT_TRUE(wait_until(
        [&] {
          read_some();
          return ::waitpid(pid_, &status, WNOHANG) == pid_;
        },
        "mserve-stat to end"));
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  [[nodiscard]] const std::string& said() const noexcept { return said_; }

 private:
  void read_some() {
    char bytes[4096];
    ssize_t got = 0;
    while ((got = ::read(fd_, bytes, sizeof(bytes))) > 0) {
      said_.append(bytes, static_cast<std::size_t>(got));
    }
  }
  pid_t pid_ = -1;
  int fd_ = -1;
  std::string said_;
};

// All columns take 225 characters, which a terminal cut wherever its width was.
TEST(NarrowTerminal, GetsTheColumnsThatFitAndIsToldOfTheOthers) {
  const Broker broker(BrokerSetup{.args = {}, .servants = 2});
  for (const unsigned short columns : std::initializer_list<unsigned short>{80, 120}) {
    OnTerminal narrow(broker, {"servants"}, columns);
    EXPECT_TRUE(narrow.shows("--wide or a pipe shows all"));
    EXPECT_EQ(narrow.wait(), 0);
    const std::string& said = narrow.said();
    EXPECT_EQ(said.find(".."), std::string::npos) << said;
    EXPECT_EQ(said.find("out_capacity"), std::string::npos) << said;
    std::istringstream lines(said);
    std::string names;
    std::getline(lines, names);
    EXPECT_NE(names.find("name"), std::string::npos) << said;
    EXPECT_NE(names.find("state"), std::string::npos) << said;
    EXPECT_LE(names.size(), columns) << said;
  }
  OnTerminal wide(broker, {"servants", "--wide"}, 80);
  EXPECT_TRUE(wide.shows("policy match"));
  EXPECT_NE(wide.said().find("out_capacity"), std::string::npos) << wide.said();
  const Output piped = run_to_end({program("mserve-stat"), "servants"}, broker.env());
  EXPECT_NE(piped.out.find("out_capacity"), std::string::npos) << piped.out;
  EXPECT_EQ(piped.out.find("a pipe shows all"), std::string::npos) << piped.out;
}

// The 20 columns of LBT and ours showed the options of a client, and no more, on 80 columns.
TEST(NarrowTerminal, ShowsOfQueriesWhatPeopleLookFor) {
  const Broker broker(with_gateway({}, 1));
  RawClient client = connect(broker);
  ASSERT_TRUE(client.query("echo 42"));
  OnTerminal narrow(broker, {"queries"}, 80);
  EXPECT_TRUE(narrow.shows("--wide or a pipe shows all"));
  EXPECT_EQ(narrow.wait(), 0);
  for (const char* const word :
       {"time ", "qsvr", "status", "elapsed", "mserve-servant-1", "echo 42"}) {
    EXPECT_NE(narrow.said().find(word), std::string::npos) << narrow.said();
  }
  OnTerminal wide(broker, {"queries", "--wide"}, 80);
  EXPECT_TRUE(wide.shows("client_handle"));
  OnTerminal rates(broker, {"servants", "-i", "0.1"}, 80);
  EXPECT_TRUE(rates.shows("execution_p50"));
}

// The table took 69 columns before it came to what happened, of which it cut the rest.
TEST(NarrowTerminal, GetsTheWholeTextOfEvents) {
  const Broker broker(BrokerSetup{.args = {}, .servants = 1});
  const json::array events = rows_of(broker, {"events"});
  ASSERT_FALSE(events.empty());
  OnTerminal narrow(broker, {"events"}, 60);
  EXPECT_EQ(narrow.wait(), 0);
  std::istringstream lines(narrow.said());
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "TIME (UTC)           EVENT        #  WHAT\r");
  std::string words;
  while (std::getline(lines, line)) {
    EXPECT_LE(line.size(), 61U) << narrow.said();
    std::istringstream parts(line);
    for (std::string word; parts >> word;) {
      words += word + " ";
    }
  }
  for (const json::value& event : events) {
    const std::string text(event.at("text").as_string());
    EXPECT_NE(words.find(text + " "), std::string::npos) << text << "\n" << narrow.said();
  }
  OnTerminal wide(broker, {"events", "--wide"}, 60);
  EXPECT_EQ(wide.wait(), 0);
  const Output piped = run_to_end({program("mserve-stat"), "events"}, broker.env());
  std::string all = wide.said();
  std::erase(all, '\r');
  EXPECT_EQ(all, piped.out) << "all columns, and nothing is cut";
  EXPECT_NE(all.find("session pid"), std::string::npos) << all;
}

TEST(Top, ShowsEachScreenTakesKeysAndOutlivesItsBroker) {
  Broker broker(BrokerSetup{.args = {}, .servants = 2});
  OnTerminal top(broker, {"top", "-i", "0.2"}, 80);
  EXPECT_TRUE(top.shows("q quit  h help"));
  EXPECT_TRUE(top.shows("mserve-servant"));
  EXPECT_TRUE(top.shows("policy match"));
  top.type("c");
  EXPECT_TRUE(top.shows("nobody is attached"));
  {
    const Client client = broker.client();
    top.type("c");
    EXPECT_TRUE(top.shows("client"));
  }
  top.type("r");
  EXPECT_TRUE(top.shows("no request had a route"));
  top.type("l");
  EXPECT_TRUE(top.shows("broker out"));
  top.type("e");
  EXPECT_TRUE(top.shows("TIME (UTC)"));
  top.type("h");
  EXPECT_TRUE(top.shows("keys and columns"));
  top.type("\x1b");
  EXPECT_TRUE(top.shows("TIME (UTC)")) << "Escape leads back";
  top.type("h");
  EXPECT_TRUE(top.shows("[h back]"));
  top.type("h");
  EXPECT_TRUE(top.shows("TIME (UTC)")) << "and so does h";
  top.type("s>>R");
  EXPECT_TRUE(top.shows("STATE*"));
  top.type(" ");
  EXPECT_TRUE(top.shows("PAUSED"));
  top.type(" ");
  stop(broker.pid());
  EXPECT_TRUE(top.shows("STUCK:"));  // curses does not draw again what stood there before
  ::kill(broker.pid(), SIGCONT);
  top.type("s");
  EXPECT_TRUE(top.shows("attached"));
  broker.stop();
  EXPECT_TRUE(top.shows("GONE: no broker"));
  top.type("s");
  EXPECT_TRUE(top.shows("q ends"));
  top.type("e");
  broker.start();
  EXPECT_TRUE(top.shows("version "));
  top.type("q");
  EXPECT_EQ(top.wait(), 0);
}

TEST(Follow, GoesOnWithTheNextBrokerAndLosesNoLastWord) {
  Broker broker(with_gateway({}, 1));
  OnTerminal events(broker, {"events", "--follow", "-n", "1"}, 120);
  OnTerminal lines(broker, {"events", "--follow", "--json"}, 120);
  OnTerminal all(broker, {"top", "--json", "-i", "0.05"}, 120);
  OnTerminal queries(broker, {"queries", "--follow"}, 120);
  EXPECT_TRUE(connect(broker).query(text("echo `first")));
  EXPECT_TRUE(queries.shows("echo `first"));
  EXPECT_TRUE(events.shows("attached"));
  EXPECT_TRUE(lines.shows(R"("event":"started")"));
  EXPECT_TRUE(all.shows(R"("stale":false)"));
  lines.forget();
  broker.stop();
  EXPECT_TRUE(events.shows("the broker is shutting down"));
  for (OnTerminal* const one : {&events, &lines, &all, &queries}) {
    EXPECT_TRUE(one->shows("the broker went away; waiting for the next one"));
    one->forget();
  }
  broker.start();
  EXPECT_TRUE(events.shows("started"));
  EXPECT_TRUE(lines.shows(R"("event":"started")"));
  EXPECT_TRUE(all.shows(R"("stale":false)"));
  EXPECT_TRUE(connect(broker).query(text("echo `second")));
  EXPECT_TRUE(queries.shows("echo `second"));
}

TEST(Top, FitsANarrowTerminalAndOneWithoutColours) {
  const Broker broker(BrokerSetup{.args = {}, .servants = 1});
  OnTerminal narrow(broker, {"top"}, 40, "vt100");
  EXPECT_TRUE(narrow.shows("mserve-servant"));
  EXPECT_EQ(narrow.said().find("\x1b[36m"), std::string::npos) << "no colour";
  narrow.type("q");
  EXPECT_EQ(narrow.wait(), 0);
  OnTerminal unknown(broker, {"top"}, 80, "no-such-terminal");
  EXPECT_EQ(unknown.wait(), 2);
  EXPECT_NE(unknown.said().find("no terminal of type 'no-such-terminal'"), std::string::npos)
      << unknown.said();
}

TEST(Top, WithoutATerminalSaysWhatToDo) {
  const Output output = run_to_end({program("mserve-stat"), "top"});
  EXPECT_EQ(output.exit_code, 2);
  EXPECT_NE(output.err.find("top --json"), std::string::npos) << output.err;
}

}  // namespace
}  // namespace mserve::test
