// SPDX-License-Identifier: Apache-2.0
#include "machine.hpp"

#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "build_info.hpp"
#include "cores.hpp"

namespace mserve::bench {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Value of the first "key : value" line of /proc/cpuinfo; spelled differently per architecture.
std::string cpuinfo(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (line.starts_with(key) && colon != std::string::npos) {
      const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
      return begin != std::string::npos ? line.substr(begin) : "";
    }
  }
  return "";
}

std::string hypervisor() {
  if ((" " + cpuinfo("flags") + " ").find(" hypervisor ") == std::string::npos) {
    return "";
  }
  for (const char* path : {"/sys/hypervisor/type", "/sys/class/dmi/id/sys_vendor"}) {
    if (std::string name = first_line(path); !name.empty()) {
      return name;
    }
  }
  return "unnamed hypervisor";
}

std::string kernel() {
  utsname names{};
  return uname(&names) == 0 ? std::string(names.sysname) + " " + names.release : "";
}

/// From clock ticks, mostly of 10 ms.
double cpu_seconds_by_ticks(int pid) {
  const std::string line = first_line("/proc/" + std::to_string(pid) + "/stat");
  // The name, in parentheses, may hold anything; user and system time are 12 and 13 fields behind.
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) {
    return -1;
  }
  std::istringstream fields(line.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) {
    fields >> skipped;
  }
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return fields ? (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK)) : -1;
}

}  // namespace

Machine describe_machine() {
  Machine m;
  m.processor = cpuinfo("model name");
  m.cores = usable_core_list();
  m.cores_online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  m.kernel = kernel();
  m.clocksource = first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  const int core = m.cores.empty() ? 0 : m.cores.front();
  m.governor = first_line("/sys/devices/system/cpu/cpu" + std::to_string(core) +
                          "/cpufreq/scaling_governor");
  m.virtualisation = hypervisor();
  double loads[3] = {};
  const int known = getloadavg(loads, 3);
  std::ostringstream text;
  text.precision(2);
  for (int i = 0; i < known; ++i) {
    text << (i != 0 ? " " : "") << std::fixed << loads[i];
  }
  m.load = text.str();
  m.load_1min = loads[0];
  m.compiler = kCompiler;
  m.build_type = kBuildType;
  m.build_flags = kBuildFlags;
  m.commit = kCommit;
  return m;
}

double cpu_seconds_of(int pid) {
  double ns = 0;
  std::error_code failed;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", failed)) {
    double run_ns = 0;  // the first of three fields
    if (!(std::ifstream(task.path() / "schedstat") >> run_ns)) {
      return cpu_seconds_by_ticks(pid);
    }
    ns += run_ns;
  }
  return failed ? -1 : ns / 1e9;
}

}  // namespace mserve::bench
