// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>

#include "control/broker.hpp"
#include "control/launcher.hpp"
#include "mserve/shm/directory.hpp"
#include "options_cli.hpp"

namespace {

using mserve::broker::BrokerOptions;

/// True when `command` can be executed: a path, or a name on PATH.
bool executable_exists(const std::string& command) {
  if (command.find('/') != std::string::npos) {
    return access(command.c_str(), X_OK) == 0;
  }
  const char* const path = std::getenv("PATH");
  std::string left = path != nullptr ? path : "/usr/bin:/bin";
  while (!left.empty()) {
    const std::size_t colon = left.find(':');
    const std::string candidate = left.substr(0, colon) + "/" + command;
    if (access(candidate.c_str(), X_OK) == 0) {
      return true;
    }
    left = colon == std::string::npos ? "" : left.substr(colon + 1);
  }
  return false;
}

int run(int argc, char** argv) {
  BrokerOptions options;
  if (const auto exit_code = mserve::broker::read_command_line(argc, argv, options)) {
    return *exit_code;
  }
  // Servants get it as MSERVE_DIR, and may run elsewhere.
  options.directory = options.directory.empty()
                          ? mserve::shm::default_directory()
                          : std::filesystem::absolute(options.directory).string();
  if (options.ready_fd >= 0) {
    (void)fcntl(options.ready_fd, F_SETFD, FD_CLOEXEC);  // it is ours to close, not a servant's
  }
  mserve::broker::Launcher launcher;
  if (options.servant_count > 0) {
    if (!executable_exists(options.servant_command)) {
      (void)std::fprintf(stderr, "mserve-broker: cannot run '%s': no such program; give its path\n",
                         options.servant_command.c_str());
      return 2;
    }
    auto forked =
        mserve::broker::Launcher::fork_off({options.servant_count, options.servant_command,
                                            options.servant_args, options.name, options.directory});
    if (!forked) {
      (void)std::fprintf(stderr, "mserve-broker: cannot start the launcher: %s\n",
                         to_string(forked.error().code));
      return 1;
    }
    launcher = std::move(forked).value();
  }
  // A log, or a --ready-fd, that nobody reads any more ends no broker. The launcher keeps the
  // default for servants.
  (void)std::signal(SIGPIPE, SIG_IGN);
  std::string reason;
  const mserve::Error error = mserve::broker::run_broker(options, std::move(launcher), reason);
  if (error.code != mserve::Errc::ok) {
    (void)std::fprintf(stderr, "mserve-broker: cannot start: %s%s%s (%s)\n", to_string(error.code),
                       reason.empty() ? "" : ": ", reason.c_str(), advice(error.code));
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    (void)std::fprintf(stderr, "mserve-broker: %s\n", e.what());
    return 1;
  }
}
