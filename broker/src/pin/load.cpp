// SPDX-License-Identifier: Apache-2.0
#include "pin/load.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

namespace mserve::pin {

namespace {

std::uint64_t number_of(const std::string& word) {
  std::uint64_t value = 0;
  (void)std::from_chars(word.data(), word.data() + word.size(), value);
  return value;
}

std::map<int, CoreTime> core_times(const MachineFiles& files) {
  std::map<int, CoreTime> cores;
  for (const std::string& line : lines_of(files.read("/proc/stat").value_or(""))) {
    const auto words = words_of(line);
    if (words.size() < 9 || !words[0].starts_with("cpu")) {
      continue;
    }
    const auto core = parse_cores(words[0].substr(3));
    if (!core || core->size() != 1) {
      continue;
    }
    // user nice system idle iowait irq softirq steal
    CoreTime& time = cores[core->front()];
    time.idle = number_of(words[4]) + number_of(words[5]);
    time.stolen = number_of(words[8]);
    for (const std::size_t at : {1U, 2U, 3U, 6U, 7U}) {
      time.busy += number_of(words[at]);
    }
  }
  return cores;
}

/// /proc/PID/task/TID/stat. The name stands in parentheses and may hold anything.
bool read_thread(const std::string& text, ThreadTime& thread) {
  const std::size_t open = text.find('(');
  const std::size_t close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) {
    return false;
  }
  thread.name = text.substr(open + 1, close - open - 1);
  const auto words = words_of(text.substr(close + 1));
  constexpr std::size_t kUser = 11;  // counted from the state, which is field 3 of proc(5)
  constexpr std::size_t kSystem = 12;
  constexpr std::size_t kCore = 36;
  if (words.size() <= kCore) {
    return false;
  }
  thread.ticks = number_of(words[kUser]) + number_of(words[kSystem]);
  thread.core = static_cast<int>(number_of(words[kCore]));
  return true;
}

bool is_number(const std::string& name) {
  return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
}

struct Busy {
  std::string name;
  int pid = 0;
  std::uint64_t ticks = 0;
};

/// Who ran on a core between the samples, the busiest first; threads of one process together.
std::vector<Busy> busy_on(int core, const LoadSample& before, const LoadSample& after,
                          int own_pid) {
  std::map<int, Busy> by_process;
  for (const auto& [id, thread] : after.threads) {
    const auto earlier = before.threads.find(id);
    const std::uint64_t was = earlier == before.threads.end() ? 0 : earlier->second.ticks;
    if (thread.core != core || thread.ticks <= was || thread.pid == own_pid) {
      continue;
    }
    Busy& busy = by_process[thread.pid];
    busy.pid = thread.pid;
    busy.name = thread.name;
    busy.ticks += thread.ticks - was;
  }
  std::vector<Busy> list;
  list.reserve(by_process.size());
  for (const auto& [pid, busy] : by_process) {
    list.push_back(busy);
  }
  std::stable_sort(list.begin(), list.end(),
                   [](const Busy& a, const Busy& b) { return a.ticks > b.ticks; });
  return list;
}

std::string named(const std::vector<Busy>& busy) {
  constexpr std::size_t kNamedTasks = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(kNamedTasks, busy.size()); ++i) {
    text +=
        fmt::format("{}{} (pid {})", i == 0 ? ", last there: " : ", ", busy[i].name, busy[i].pid);
  }
  if (busy.size() > kNamedTasks) {
    text += fmt::format(" and {} more", busy.size() - kNamedTasks);
  }
  return text;
}

}  // namespace

LoadSample sample_load(const MachineFiles& files) {
  LoadSample sample;
  sample.cores = core_times(files);
  for (const std::string& process : files.list("/proc")) {
    if (!is_number(process)) {
      continue;
    }
    const std::string tasks = "/proc/" + process + "/task";
    for (const std::string& task : files.list(tasks)) {
      ThreadTime thread;
      thread.pid = static_cast<int>(number_of(process));
      if (is_number(task) &&
          read_thread(files.read(fmt::format("{}/{}/stat", tasks, task)).value_or(""), thread)) {
        sample.threads.emplace(static_cast<int>(number_of(task)), std::move(thread));
      }
    }
  }
  return sample;
}

void look_at_load(const AuditInput& in, const LoadSample& before, const LoadSample& after,
                  int own_pid, Findings& out) {
  constexpr std::uint64_t kPercentOk = 2;  // housekeeping that no setting takes away
  for (const int core : in.cores) {
    const auto first = before.cores.find(core);
    const auto last = after.cores.find(core);
    Finding f{.topic = "load", .where = "/proc/stat, /proc/*/task/*/stat"};
    if (first == before.cores.end() || last == after.cores.end()) {
      f.seen = fmt::format("what runs on core {} cannot be read", core);
      out.push_back(f);
      continue;
    }
    const std::uint64_t busy = last->second.busy - first->second.busy;
    const std::uint64_t stolen = last->second.stolen - first->second.stolen;
    const std::uint64_t all = busy + stolen + last->second.idle - first->second.idle;
    if (all == 0 || last->second.busy < first->second.busy ||
        last->second.stolen < first->second.stolen || last->second.idle < first->second.idle) {
      f.seen = fmt::format("core {}: no time passed between two looks at it", core);
      out.push_back(f);
      continue;
    }
    const std::uint64_t percent = busy * 100 / all;
    f.level = percent <= kPercentOk ? Level::ok : Level::costs;
    f.seen = fmt::format("core {} was busy for {} % of {} ms", core, percent, all * 10);
    if (f.level == Level::costs) {
      f.seen += named(busy_on(core, before, after, own_pid));
      f.cost = "up to 4000 us and more each time that something else has the core";
      const CoreList others = minus(in.online, in.cores);
      f.mend = others.empty()
                   ? "every core is chosen, so there is none for the others; choose fewer "
                     "with --cores"
                   : fmt::format(
                         "keep others away: isolcpus (above), or AllowedCPUs={} for "
                         "system.slice and user.slice, or taskset -a -p -c {} PID",
                         cores_text(others), cores_text(others));
    }
    out.push_back(f);
    if (stolen > 0) {
      out.push_back(
          {.level = Level::costs,
           .topic = "steal",
           .seen = fmt::format("the host took core {} away for {} % of {} ms", core,
                               stolen * 100 / all, all * 10),
           .where = "/proc/stat",
           .cost = "100 to 10000 us each time",
           .mend = "ask for virtual cores that are pinned to physical ones of their own"});
    }
  }
}

}  // namespace mserve::pin
