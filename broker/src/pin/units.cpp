// SPDX-License-Identifier: Apache-2.0
#include "pin/units.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

namespace mserve::pin {

namespace {

/// An entry of --servant-cores: cores with + between them, the shim's behind a slash.
std::string entry_of(const Plan::Servant& servant) {
  std::string text = cores_text(servant.cores);
  text += servant.shim.empty() ? "" : "/" + cores_text(servant.shim);
  for (char& c : text) {
    c = c == ',' ? '+' : c;
  }
  return text;
}

constexpr std::string_view kMarker =
    "# Written by mserve-pin plan --systemd; plan again instead of changing it.";
constexpr const char* kFile = "10-cores.conf";

/// Takes away what an earlier, larger plan has left for servants and shims; what somebody else
/// wrote stays.
void remove_earlier(const std::filesystem::path& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> ours;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    if ((name.starts_with("mserve-servant@") || name.starts_with("mserve-qshim@")) &&
        name.ends_with(".service.d")) {
      std::string line;
      std::ifstream file(at->path() / kFile);
      if (std::getline(file, line) && line == kMarker) {
        ours.push_back(at->path());
      }
    }
  }
  for (const std::filesystem::path& place : ours) {
    std::filesystem::remove(place / kFile, error);
    std::filesystem::remove(place, error);  // unless something else is in it
  }
}

/// systemd takes a list with blanks as well as with commas.
std::string drop_in(const std::string& section, const std::string& lines) {
  return std::string(kMarker) + "\n[" + section + "]\n" + lines;
}

}  // namespace

std::vector<std::string> broker_flags(const Plan& plan) {
  std::vector<std::string> flags;
  if (plan.broker >= 0) {
    flags.insert(flags.end(), {"--core", std::to_string(plan.broker)});
  }
  flags.insert(flags.end(), {"--idle", plan.idle});
  if (plan.broker >= 0) {
    flags.insert(flags.end(), {"--control-cores", cores_text(plan.control)});
  }
  if (plan.gateway == GatewayPlace::data) {
    flags.insert(flags.end(), {"--gateway-thread", "data"});
  } else if (plan.gateway != GatewayPlace::none) {
    flags.insert(flags.end(), {"--gateway-thread", "own"});
  }
  if (plan.gateway_core >= 0) {
    flags.insert(flags.end(), {"--gateway-core", std::to_string(plan.gateway_core)});
  }
  std::string servants;
  for (std::size_t i = 0; plan.broker >= 0 && i < plan.servants.size(); ++i) {
    const Plan::Servant& servant = plan.servants[i];
    servants += (servants.empty() ? "" : ",") + entry_of(servant);
  }
  if (!servants.empty()) {
    flags.insert(flags.end(), {"--servant-cores", servants});
  }
  return flags;
}

std::string write_units(const Plan& plan, const std::string& folder) {
  std::vector<std::pair<std::string, std::string>> files;
  const std::string all = cores_text(plan.used());
  files.emplace_back("mserve.slice", drop_in("Slice", "AllowedCPUs=" + all + "\n"));
  std::string flags;
  for (const std::string& flag : broker_flags(plan)) {
    flags += (flags.empty() ? "" : " ") + flag;
  }
  files.emplace_back(
      "mserve-broker.service",
      drop_in("Service",
              fmt::format("CPUAffinity={}\nEnvironment=\"MSERVE_PIN={}\"\n", all, flags)));
  for (std::size_t i = 0; i < plan.servants.size(); ++i) {
    const Plan::Servant& servant = plan.servants[i];
    files.emplace_back(fmt::format("mserve-servant@{}.service", i + 1),
                       drop_in("Service", "CPUAffinity=" + cores_text(servant.cores) + "\n"));
    if (!servant.shim.empty()) {
      files.emplace_back(fmt::format("mserve-qshim@{}.service", i + 1),
                         drop_in("Service", "CPUAffinity=" + cores_text(servant.shim) + "\n"));
    }
  }
  remove_earlier(folder);
  for (const auto& [unit, text] : files) {
    const std::filesystem::path place = std::filesystem::path(folder) / (unit + ".d");
    std::error_code error;
    std::filesystem::create_directories(place, error);
    std::ofstream file(place / kFile);
    file << text;
    file.close();
    if (!file) {
      return "cannot write " + (place / kFile).string();
    }
  }
  return {};
}

}  // namespace mserve::pin
