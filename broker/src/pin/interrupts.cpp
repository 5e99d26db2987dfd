// SPDX-License-Identifier: Apache-2.0
#include "pin/interrupts.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

namespace mserve::pin {

namespace {

bool all_digits(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// The cores that the columns stand for: those online, in words such as CPU3.
CoreList columns_of(const std::string& heading) {
  CoreList columns;
  for (const std::string& word : words_of(heading)) {
    const auto core = word.starts_with("CPU") ? parse_cores(word.substr(3)) : std::nullopt;
    if (core && core->size() == 1) {
      columns.push_back(core->front());
    }
  }
  return columns;
}

}  // namespace

std::vector<Interrupt> read_interrupts(const MachineFiles& files) {
  std::vector<Interrupt> all;
  const std::vector<std::string> lines = lines_of(files.read("/proc/interrupts").value_or(""));
  if (lines.empty()) {
    return all;
  }
  const CoreList columns = columns_of(lines.front());
  for (std::size_t i = 1; i < lines.size(); ++i) {
    std::vector<std::string> words = words_of(lines[i]);
    if (words.empty() || words.front().back() != ':') {
      continue;
    }
    Interrupt one{.id = words.front().substr(0, words.front().size() - 1)};
    std::size_t at = 1;
    for (; at < words.size() && at <= columns.size() && all_digits(words[at]); ++at) {
      std::uint64_t count = 0;
      (void)std::from_chars(words[at].data(), words[at].data() + words[at].size(), count);
      one.count[columns[at - 1]] = count;
    }
    // Behind the counts: controller, kind, and last of all the devices' names.
    if (at < words.size()) {
      one.name = words.back();
    }
    all.push_back(std::move(one));
  }
  return all;
}

bool tells_affinity(const MachineFiles& files, const std::vector<Interrupt>& all) {
  bool devices = false;
  for (const Interrupt& one : all) {
    if (all_digits(one.id)) {
      devices = true;
      const std::string base = "/proc/irq/" + one.id;
      if (files.cores(base + "/effective_affinity_list") ||
          files.cores(base + "/smp_affinity_list")) {
        return true;
      }
    }
  }
  return !devices;
}

std::vector<Arriving> arriving_at(const MachineFiles& files, const std::vector<Interrupt>& all,
                                  int core) {
  std::vector<Arriving> found;
  for (const Interrupt& one : all) {
    if (!all_digits(one.id)) {
      continue;
    }
    const std::string base = "/proc/irq/" + one.id;
    const auto wanted = files.cores(base + "/smp_affinity_list");
    auto now = files.cores(base + "/effective_affinity_list");
    if (!now || now->empty()) {
      now = wanted;
    }
    if (!now || !contains(*now, core)) {
      continue;
    }
    const auto count = one.count.find(core);
    found.push_back({one.id, one.name, count == one.count.end() ? 0 : count->second,
                     wanted && wanted->size() > 1});
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const Arriving& a, const Arriving& b) { return a.count > b.count; });
  return found;
}

}  // namespace mserve::pin
