// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

#include "pin/commands.hpp"
#include "pin/plan_file.hpp"
#include "pin/units.hpp"

namespace mserve::pin {

namespace {

/// Who runs, of those that a plan has.
struct Role {
  std::string kind;        ///< broker, servant, q, shim
  std::size_t number = 0;  ///< From 1; 0: the broker.
};

std::optional<Role> parse_role(const std::string& text) {
  if (text == "broker") {
    return Role{text, 0};
  }
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) {
    return std::nullopt;
  }
  Role role{text.substr(0, colon), 0};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + colon + 1, end, role.number);
  const bool known = role.kind == "servant" || role.kind == "q" || role.kind == "shim";
  return known && error == std::errc{} && rest == end && role.number > 0 ? std::optional(role)
                                                                         : std::nullopt;
}

/// Where a role runs. @return the fault, empty when there is none.
std::string cores_of(const Plan& plan, const Role& role, CoreList& cores) {
  if (role.number == 0) {
    cores = plan.used();
    return {};
  }
  if (role.number > plan.servants.size()) {
    return fmt::format("the plan has {} servants, and none with the number {}",
                       plan.servants.size(), role.number);
  }
  const Plan::Servant& servant = plan.servants[role.number - 1];
  cores = role.kind == "shim" ? servant.shim : servant.cores;
  return cores.empty()
             ? fmt::format("servant {} has no shim in this plan; plan with --q", role.number)
             : std::string();
}

/// Whose cores are among `missing`, as a plan's owner would look for them.
std::string owners_of(const Plan& plan, const CoreList& missing) {
  std::string text;
  const auto name = [&text, &missing](const std::string& who, const CoreList& cores) {
    const CoreList gone = minus(cores, minus(cores, missing));
    if (!gone.empty()) {
      text += fmt::format("{}core {} of {}", text.empty() ? "" : ", ", cores_text(gone), who);
    }
  };
  const auto one = [](int core) { return core >= 0 ? CoreList{core} : CoreList{}; };
  name("the data thread", one(plan.broker));
  name("the gateway", one(plan.gateway_core));
  name("the control threads", plan.control);
  for (std::size_t i = 0; i < plan.servants.size(); ++i) {
    name(fmt::format("servant {}", i + 1), plan.servants[i].cores);
    name(fmt::format("the shim of servant {}", i + 1), plan.servants[i].shim);
  }
  return text;
}

/// Moves this process to `cores`. @return why the plan does not fit this machine; empty: it does.
std::string settle(const Plan& plan, const CoreList& cores) {
  const auto online = MachineFiles().cores("/sys/devices/system/cpu/online");
  if (online) {
    if (const CoreList missing = minus(cores, *online); !missing.empty()) {
      return fmt::format("the plan does not fit this machine: {} is not online (online: {})",
                         owners_of(plan, missing), cores_text(*online));
    }
  }
  if (stay_on(cores)) {
    return {};
  }
  const CoreList possible = possible_cores();
  const CoreList missing = minus(cores, possible);
  return fmt::format(
      "the plan does not fit: {} is not allowed to this process (its control group's cpuset leaves "
      "{})",
      owners_of(plan, missing.empty() ? cores : missing), cores_text(possible));
}

std::optional<Plan> load_plan(const std::string& path, std::string& fault) {
  constexpr std::size_t kBytesMax = 1U << 20;  // a hundred for each of kServantsMax and more
  std::string text(kBytesMax + 1, '\0');
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (!file.is_open() || file.bad()) {
    fault = fmt::format("cannot read the plan {}: {}; make one with mserve-pin plan -o {}", path,
                        std::strerror(errno), path);
    return std::nullopt;
  }
  if (text.size() > kBytesMax) {
    fault = fmt::format("{} has more than {} bytes, which no plan has", path, kBytesMax);
    return std::nullopt;
  }
  return read_plan(text, path, fault);
}

}  // namespace

ExitCode run_run(const RunOptions& options) {
  const auto role = parse_role(options.role);
  if (!role) {
    return tell_fault(ExitCode::usage,
                      "--role: '" + options.role + "' is none of broker, servant:N, q:N, shim:N");
  }
  std::string fault;
  const auto plan = load_plan(options.plan, fault);
  if (!plan) {
    return tell_fault(ExitCode::failed, fault);
  }
  CoreList cores;
  if (fault = cores_of(*plan, *role, cores); fault.empty()) {
    fault = settle(*plan, cores);
  }
  if (!fault.empty()) {
    return tell_fault(ExitCode::failed, fault);
  }
  std::vector<std::string> words = options.command;
  if (role->number == 0) {
    const std::vector<std::string> flags = broker_flags(*plan);
    words.insert(words.begin() + 1, flags.begin(), flags.end());
  }
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  execvp(argv.front(), argv.data());
  return tell_fault(ExitCode::failed,
                    fmt::format("cannot run {}: {}", words.front(), std::strerror(errno)));
}

}  // namespace mserve::pin
