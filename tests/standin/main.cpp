// SPDX-License-Identifier: Apache-2.0
// mserve-standin: the stand-in for q as a process. Test code, never installed.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <string>

#include "standin/standin.hpp"

namespace {

using mserve::test::Die;
using mserve::test::Form;
using mserve::test::Reply;
using mserve::test::Standin;

constexpr const char* kAbout =
    "A stand-in for a q process, for the tests of mserve: not for use.\n"
    "Speaks kdb+ IPC on 127.0.0.1 and knows echo, proc1, proc2, sleep ms, fail text, big bytes,\n"
    "user[], options[], .z.i. Says \"listening PORT\" on standard output once it does.";

const std::map<std::string, Form> kForms = {
    {"plain", Form::plain}, {"lbt", Form::lbt}, {"qsvr", Form::qsvr}};
const std::map<std::string, Reply> kReplies = {{"plain", Reply::plain},
                                               {"compressed", Reply::compressed},
                                               {"big-endian", Reply::big_endian},
                                               {"dribble", Reply::dribble}};
const std::map<std::string, Die> kDeaths = {{"never", Die::never},
                                            {"handshake", Die::handshake},
                                            {"mid-reply", Die::mid_reply},
                                            {"after-reply", Die::after_reply},
                                            {"on-query", Die::on_query}};

// What the signal handler stops. Set before the handler is installed, and never changed.
Standin* g_standin = nullptr;

void on_signal(int number) {
  if (number == SIGINT) {
    g_standin->interrupt();
  } else {
    g_standin->request_stop();
  }
}

void describe(CLI::App& app, mserve::test::StandinOptions& o, bool& servant_of) {
  o.process = getpid();
  app.add_option("--process", o.process, "What .z.i is; 0: that may not be asked [its process id]");
  app.add_option("--port", o.port, "Port; 0: any");
  app.add_flag("--uds", o.uds,
               "Also on the Unix sockets of kdb+, abstract and path [env QUDSPATH; empty: not]");
  app.add_option("--form", o.form, "Which program to stand in for")
      ->transform(CLI::Transformer(kForms))
      ->option_text("plain|lbt|qsvr [plain]");
  app.add_flag("--info", o.info, "lbt, qsvr: answer (id; result; info)");
  app.add_option("--rows", o.rows, "Trades behind proc1 and proc2")->capture_default_str();
  app.add_option("--reply", o.reply, "How answers go")
      ->transform(CLI::Transformer(kReplies))
      ->option_text("plain|compressed|big-endian|dribble [plain]");
  app.add_option("--die", o.die, "When to kill itself")
      ->transform(CLI::Transformer(kDeaths))
      ->option_text("never|handshake|mid-reply|after-reply|on-query [never]");
  app.add_option("--die-after", o.die_after, "Occasions to let pass before");
  app.add_flag("--exit-on-close", o.exit_on_close, "End when a connection closes");
  app.add_flag("--servantof", servant_of,
               "Accept one connection only, from the address $Q_SERVANTOF, and end with it");
  app.add_option("--slow-ms", o.slow_ms, "Wait before each query");
  app.add_option("--user", o.user, "Refuse everybody else; NAME or NAME:PASSWORD");
  app.add_option("--capability", o.capability, "Capability to offer")->capture_default_str();
}

/// The value of a variable, empty when it is not set.
std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

int serve(const mserve::test::StandinOptions& options) {
  Standin standin(options);
  g_standin = &standin;
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  std::printf("listening %u\n", unsigned{standin.port()});
  std::fflush(stdout);
  standin.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  mserve::test::StandinOptions options;
  options.dies = mserve::test::Dies::process;
  bool servant_of = false;
  CLI::App app(kAbout, "mserve-standin");
  describe(app, options, servant_of);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  if (servant_of) {
    options.servant_of = environment("Q_SERVANTOF");
  }
  if (std::getenv("QUDSPATH") != nullptr && environment("QUDSPATH").empty()) {
    options.uds = false;
  }
  return serve(options);
} catch (const std::exception& e) {
  std::fprintf(stderr, "mserve-standin: %s\n", e.what());
  return 1;
}
