// SPDX-License-Identifier: Apache-2.0
// What this process is allowed: memory to lock, processor time.
#include <fmt/format.h>

#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "pin/finding.hpp"

namespace mserve::pin {

namespace {

/// Soft limit in bytes; -1: unlimited.
std::optional<std::int64_t> memory_lock_limit(const MachineFiles& files) {
  constexpr std::string_view kName = "Max locked memory";
  for (const std::string& line : lines_of(files.read("/proc/self/limits").value_or(""))) {
    if (line.starts_with(kName)) {
      const auto words = words_of(line.substr(kName.size()));
      if (words.empty()) {
        return std::nullopt;
      }
      return words.front() == "unlimited" ? -1 : std::strtoll(words.front().c_str(), nullptr, 10);
    }
  }
  return std::nullopt;
}

/// CAP_IPC_LOCK, which lifts the limit.
bool locks_freely(const MachineFiles& files) {
  constexpr unsigned kIpcLock = 14;
  for (const std::string& line : lines_of(files.read("/proc/self/status").value_or(""))) {
    const auto words = words_of(line);
    if (words.size() == 2 && words.front() == "CapEff:") {
      return (std::strtoull(words.back().c_str(), nullptr, 16) >> kIpcLock & 1) != 0;
    }
  }
  return false;
}

/// The part of each period that a control group may run.
struct Quota {
  std::int64_t quota_us = 0;
  std::int64_t period_us = 0;
  std::string where;
};

/// What the kernel takes: a period of a second at most. The product of both fits 64 bits.
bool believable(const Quota& quota) {
  constexpr std::int64_t kPeriodMax = 1'000'000;
  constexpr std::int64_t kQuotaMax = 1'000'000'000'000;
  return quota.period_us > 0 && quota.period_us <= kPeriodMax && quota.quota_us > 0 &&
         quota.quota_us <= kQuotaMax;
}

std::optional<Quota> quota_in(const MachineFiles& files, const std::string& folder) {
  const auto words = words_of(files.line(folder + "/cpu.max").value_or(""));
  if (words.size() == 2 && words.front() != "max") {
    return Quota{std::strtoll(words[0].c_str(), nullptr, 10),
                 std::strtoll(words[1].c_str(), nullptr, 10), folder + "/cpu.max"};
  }
  const auto quota = files.number(folder + "/cpu.cfs_quota_us");
  if (quota && *quota > 0) {
    return Quota{*quota, files.number(folder + "/cpu.cfs_period_us").value_or(0),
                 folder + "/cpu.cfs_quota_us"};
  }
  return std::nullopt;
}

/// Whether groups above the one that /proc names may be hidden.
bool hides_groups(const AuditInput& in, const std::string& path) {
  // Number of the kernel's first cgroup namespace (PROC_CGROUP_INIT_INO), the same on every Linux.
  constexpr std::string_view kFirstNamespace = "cgroup:[4026531835]";
  if (in.around.processes_hidden || path.empty() || path.starts_with("/..")) {
    return true;
  }
  return path == "/" && in.files.link("/proc/self/ns/cgroup").value_or("") != kFirstNamespace;
}

/// This process's group of the cpu controller: where its files are mounted, and its path there.
std::pair<std::string, std::string> group_of(const MachineFiles& files) {
  std::pair<std::string, std::string> group{"/sys/fs/cgroup", ""};
  for (const std::string& line : lines_of(files.read("/proc/self/cgroup").value_or(""))) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) {
      continue;
    }
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers.find(",cpu,") != std::string::npos) {
      const std::string mount = "/sys/fs/cgroup/" + controllers.substr(1, controllers.size() - 2);
      return {files.exists(mount) ? mount : "/sys/fs/cgroup/cpu", line.substr(second + 1)};
    }
    if (controllers == ",,") {
      group.second = line.substr(second + 1);
    }
  }
  return group;
}

/// The group and those above it, the nearest first: paths that end with none, "" is the mount.
std::vector<std::string> upwards(std::string path) {
  std::vector<std::string> paths;
  while (path.size() > 1) {
    paths.push_back(path);
    const std::size_t slash = path.find_last_of('/');
    path.resize(slash == std::string::npos ? 0 : slash);
  }
  paths.emplace_back();
  return paths;
}

}  // namespace

void look_at_memory_lock(const AuditInput& in, Findings& out) {
  constexpr std::int64_t kMiB = 1 << 20;
  constexpr std::int64_t kWanted = 1024 * kMiB;  // --max-shared-bytes, unless another is given
  Finding f{.topic = "memlock", .where = "/proc/self/limits: Max locked memory"};
  const auto limit = memory_lock_limit(in.files);
  if (!limit) {
    f.seen = "the limit of locked memory cannot be read";
  } else if (*limit < 0) {
    f.level = Level::ok;
    f.seen = "memory may be locked without limit";
  } else if (locks_freely(in.files)) {
    f.level = Level::ok;
    f.seen = fmt::format("{} MiB may be locked, but this user has CAP_IPC_LOCK, which lifts that",
                         *limit / kMiB);
    f.where += ", /proc/self/status: CapEff";
  } else if (*limit >= kWanted) {
    f.level = Level::ok;
    f.seen = fmt::format("{} MiB may be locked, enough for --max-shared-bytes 1g", *limit / kMiB);
  } else {
    f.level = Level::costs;
    f.seen = fmt::format("{} MiB may be locked, less than --max-shared-bytes 1g", *limit / kMiB);
    f.cost =
        "with --lock-memory sessions beyond it are refused; without it 100 us and more "
        "for each page that was swapped out";
    f.mend =
        "ulimit -l unlimited, LimitMEMLOCK=infinity in the unit, or memlock in "
        "/etc/security/limits.conf";
  }
  out.push_back(f);
}

void look_at_quota(const AuditInput& in, Findings& out) {
  const auto [mount, path] = group_of(in.files);
  Finding f{.topic = "quota", .where = mount + (path == "/" ? "" : path) + "/cpu.max"};
  if (!in.files.exists(mount)) {
    f.seen = "control groups cannot be seen";
    out.push_back(f);
    return;
  }
  // A group above may be the one that is short, so all are looked at up to the mount.
  std::optional<Quota> tightest;
  std::string odd;
  std::string seen_at;
  for (const std::string& at : upwards(path)) {
    const std::string folder = mount + at;
    for (const char* const file : {"/cpu.cfs_quota_us", "/cpu.max"}) {
      seen_at = in.files.exists(folder + file) ? folder + file : seen_at;
    }
    const auto quota = quota_in(in.files, folder);
    if (quota && !believable(*quota)) {
      odd = quota->where;
    } else if (quota && (!tightest || quota->quota_us * tightest->period_us <
                                          tightest->quota_us * quota->period_us)) {
      tightest = quota;
    }
  }
  if (tightest) {
    f.level = Level::costs;
    f.where = tightest->where;
    f.seen =
        fmt::format("this control group may run for {} us of each {} us, on all cores together",
                    tightest->quota_us, tightest->period_us);
    f.cost = fmt::format(
        "up to {} us without running, once the share is used up, which a spinning "
        "thread does",
        tightest->period_us);
    f.mend =
        "take the quota away (CPUQuota= in systemd, --cpus in docker) and give whole cores "
        "instead (AllowedCPUs=, --cpuset-cpus)";
  } else if (!odd.empty()) {
    f.seen = "a limit of processor time that is not understood";
    f.where = odd;
  } else if (hides_groups(in, path)) {
    f.seen = "no limit of processor time is seen, but control groups above this one are hidden";
    f.mend = "look at cpu.max of the container's group and of those above it on the host";
  } else {
    f.level = Level::ok;
    f.seen = "no control group limits processor time";
    if (!seen_at.empty()) {
      f.where = seen_at;
    } else {
      f.where = mount + " (the group at the top has no limit of its own)";
    }
  }
  out.push_back(f);
}

}  // namespace mserve::pin
