// SPDX-License-Identifier: Apache-2.0
#include "cores.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>

namespace mserve::bench {
namespace {

constexpr int kCoreMax = CPU_SETSIZE - 1;

std::optional<int> parse_core(std::string_view text) {
  int core = -1;
  const char* const end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, core);
  if (code != std::errc() || stop != end || core < 0 || core > kCoreMax) {
    return std::nullopt;
  }
  return core;
}

}  // namespace

std::vector<int> usable_core_list() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) {
    return cores;
  }
  for (int core = 0; core <= kCoreMax; ++core) {
    if (CPU_ISSET(static_cast<std::size_t>(core), &set)) {
      cores.push_back(core);
    }
  }
  return cores;
}

std::vector<int> parse_core_list(std::string_view text) {
  std::vector<int> cores;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const std::size_t dash = part.find('-');
    const std::optional<int> first = parse_core(part.substr(0, dash));
    const std::optional<int> last =
        dash == std::string_view::npos ? first : parse_core(part.substr(dash + 1));
    if (!first || !last || *last < *first) {
      return {};
    }
    for (int core = *first; core <= *last; ++core) {
      cores.push_back(core);
    }
  }
  return cores;
}

std::optional<CorePair> parse_core_pair(std::string_view text) {
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) {
    return std::nullopt;
  }
  const std::optional<int> a = parse_core(text.substr(0, comma));
  const std::optional<int> b = parse_core(text.substr(comma + 1));
  if (!a || !b || *a == *b) {
    return std::nullopt;
  }
  return CorePair{*a, *b, are_siblings(*a, *b)};
}

bool are_siblings(int a, int b) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(a) +
                     "/topology/thread_siblings_list");
  std::string text;
  std::getline(file, text);
  const std::vector<int> siblings = parse_core_list(text);
  return std::find(siblings.begin(), siblings.end(), b) != siblings.end();
}

std::optional<CorePair> choose_cores() {
  const std::vector<int> cores = usable_core_list();
  if (cores.size() < 2) {
    return std::nullopt;
  }
  const int first = cores.front();
  for (std::size_t i = 1; i < cores.size(); ++i) {
    if (!are_siblings(first, cores[i])) {
      return CorePair{first, cores[i], false};
    }
  }
  return CorePair{first, cores[1], true};
}

bool pin_to(int core) noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(core), &set);
  return sched_setaffinity(0, sizeof(set), &set) == 0;
}

Pinned::Pinned(int core) noexcept
    : saved_(sched_getaffinity(0, sizeof(before_), &before_) == 0), ok_(pin_to(core)) {}

Pinned::~Pinned() {
  if (saved_) {
    (void)sched_setaffinity(0, sizeof(before_), &before_);
  }
}

}  // namespace mserve::bench
