// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "control/broker.hpp"
#include "control/launch_plan.hpp"
#include "control/launcher.hpp"
#include "control/log.hpp"
#include "control/trace_file.hpp"
#include "mserve/shm/standard_descriptors.hpp"
#include "options_cli.hpp"

namespace {

using mserve::broker::BrokerOptions;

/// Why it ends before it began: for the person at the terminal, or the next line of a JSON log.
void tell_failure(const std::string& why) {
  if (mserve::broker::log_form().json) {
    mserve::broker::log(mserve::broker::LogLevel::error, "cannot_start",
                        {{"reason", mserve::broker::LogText{why}}});
  } else {
    (void)std::fprintf(stderr, "mserve-broker: %s\n", why.c_str());
  }
}

std::vector<mserve::broker::Program> plan(const BrokerOptions& options, std::string& fault) {
  return plan_programs(options, mserve::broker::plan_context(options.gateway.port), fault);
}

/// The configuration may be for another machine: what this one lacks is told and is no fault of it.
int check(const mserve::broker::CommandLine& line) {
  std::string fault;
  (void)plan(line.options, fault);
  for (const std::string& one : {fault, mserve::broker::trace_fault(line.options.trace)}) {
    if (!one.empty()) {
      (void)std::fprintf(stderr, "mserve-broker: here it would not start: %s\n", one.c_str());
    }
  }
  print_configuration(line);
  return 0;
}

int run(int argc, char** argv) {
  mserve::broker::CommandLine line;
  if (const auto exit_code = mserve::broker::read_command_line(argc, argv, line)) {
    return *exit_code;
  }
  if (line.check) {
    return check(line);
  }
  BrokerOptions options = line.options;
  options.directory = mserve::broker::rendezvous_directory(options.directory);
  if (options.ready_fd >= 0) {
    (void)fcntl(options.ready_fd, F_SETFD, FD_CLOEXEC);  // it is ours to close, not a servant's
  }
  mserve::broker::Launcher launcher;
  if (options.servant_count > 0 || options.cluster.enabled()) {
    std::string fault;
    std::vector<mserve::broker::Program> programs = plan(options, fault);
    if (!fault.empty()) {
      tell_failure(fault);
      return 2;
    }
    auto forked =
        mserve::broker::Launcher::fork_off({.programs = std::move(programs),
                                            .broker_name = options.name,
                                            .directory = options.directory,
                                            .control_cores = options.control_cores,
                                            .avoid = options.pinned_cores(),
                                            .started = options.servant_count - options.reserve,
                                            .retire_grace_ns = options.drain_timeout});
    if (!forked) {
      tell_failure(std::string("cannot start the launcher: ") + to_string(forked.error().code));
      return 1;
    }
    launcher = std::move(forked).value();
  }
  // A log, or a --ready-fd, that nobody reads any more ends no broker. The launcher keeps the
  // default for servants.
  (void)std::signal(SIGPIPE, SIG_IGN);
  // A limit of sizes (RLIMIT_FSIZE) ends the trace or the log, not the broker.
  (void)std::signal(SIGXFSZ, SIG_IGN);
  // A peer may name this process as the one to be told of its own socket (F_SETOWN, O_ASYNC).
  (void)std::signal(SIGIO, SIG_IGN);
  std::string reason;
  const mserve::Error error = mserve::broker::run_broker(
      options, std::move(launcher), [&] { return mserve::broker::reload(argc, argv, line); },
      reason);
  if (error.code != mserve::Errc::ok) {
    // A reason with a semicolon says itself what to do, and the system's error speaks for itself.
    const bool advised = reason.find("; ") != std::string::npos ||
                         (error.code == mserve::Errc::os && !reason.empty());
    tell_failure(std::string("cannot start: ") + to_string(error.code) +
                 (reason.empty() ? "" : ": ") + reason +
                 (advised ? "" : " (" + std::string(advice(error.code)) + ")"));
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (!mserve::shm::hold_standard_descriptors()) {
    return 1;
  }
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    (void)std::fprintf(stderr, "mserve-broker: %s\n", e.what());
    return 1;
  }
}
