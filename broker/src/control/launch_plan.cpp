// SPDX-License-Identifier: Apache-2.0
#include "control/launch_plan.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace mserve::broker {

namespace {

constexpr const char* kLoopback = "127.0.0.1";  // Q_SERVANTOF compares the address
constexpr std::uint32_t kPortMax = 65535;

bool is_q_script(const std::string& command) {
  return command.size() > 2 && command.ends_with(".q");
}

bool on_path(const std::string& command) {
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

/// $QBIN, else q.
std::string q_of(const PlanContext& context) {
  const char* const given = context.env("QBIN");
  return given != nullptr && *given != '\0' ? given : "q";
}

/// Beside us, as installed and as built; else wherever PATH says.
std::string shim_of(const PlanContext& context) {
  const std::string beside = context.own_directory + "/mserve-qshim";
  return context.executable(beside) ? beside : "mserve-qshim";
}

std::string why_no_q(const BrokerOptions& options, const PlanContext& context) {
  const std::string q = q_of(context);
  if (!context.executable(q)) {
    return "cannot run '" + q + "' for " + options.servant_command +
           ": put q on PATH or its path into QBIN, or start the q processes yourself and attach "
           "each "
           "with mserve-qshim --q HOST:PORT";
  }
  if (context.port == 0) {
    return options.servant_command +
           " needs -p PORT: its q processes listen on the ports behind that one";
  }
  if (context.port + options.servant_count > kPortMax) {
    return "-p " + std::to_string(context.port) + " leaves no room for " +
           std::to_string(options.servant_count) + " ports behind it";
  }
  if (!context.executable(shim_of(context))) {
    return "cannot find mserve-qshim beside mserve-broker or on PATH";
  }
  if (access(options.servant_command.c_str(), R_OK) != 0) {
    return "cannot read the script " + options.servant_command;
  }
  return {};
}

void add_q_servant(std::vector<Program>& programs, std::uint32_t number,
                   const BrokerOptions& options, const PlanContext& context) {
  const std::string port = std::to_string(context.port + number);
  Program q{number, "q", {q_of(context), options.servant_command}, {}};
  q.argv.insert(q.argv.end(), options.q_args.begin(), options.q_args.end());
  q.argv.insert(q.argv.end(), {"-p", port});
  q.env.emplace_back("Q_SERVANTOF", kLoopback);
  if (const char* const plugins = context.env("MSERVE_PLUGINS"); plugins != nullptr) {
    q.env.emplace_back("Q_PLUGINS", plugins);
  }
  programs.push_back(std::move(q));
  programs.push_back(
      {number, "qshim", {shim_of(context), "--q", std::string(kLoopback) + ":" + port}, {}});
}

}  // namespace

std::vector<Program> plan_programs(const BrokerOptions& options, const PlanContext& context,
                                   std::string& fault) {
  std::vector<Program> programs;
  if (options.servant_count == 0) {
    return programs;
  }
  const bool q = is_q_script(options.servant_command);
  if (q) {
    fault = why_no_q(options, context);
  } else if (!context.executable(options.servant_command)) {
    fault = "cannot run '" + options.servant_command + "': no such program; give its path";
  }
  for (std::uint32_t number = 1; fault.empty() && number <= options.servant_count; ++number) {
    if (q) {
      add_q_servant(programs, number, options, context);
    } else {
      Program program{number, "servant", {options.servant_command}, {}};
      program.argv.insert(program.argv.end(), options.servant_args.begin(),
                          options.servant_args.end());
      programs.push_back(std::move(program));
    }
  }
  return programs;
}

PlanContext plan_context(std::uint32_t port) {
  std::error_code ignored;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return {[](const char* name) { return std::getenv(name); }, on_path, self.parent_path().string(),
          port};
}

}  // namespace mserve::broker
