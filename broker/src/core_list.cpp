// SPDX-License-Identifier: Apache-2.0
#include "core_list.hpp"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <iterator>
#include <memory>
#include <system_error>
#include <thread>

namespace mserve {

namespace {

std::optional<int> core_of(std::string_view text) {
  int core = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), core);
  if (error != std::errc{} || end != text.data() + text.size() || core < 0 || core >= kCoresMax) {
    return std::nullopt;
  }
  return core;
}

struct FreeSet {
  void operator()(cpu_set_t* set) const noexcept { CPU_FREE(set); }
};
using Set = std::unique_ptr<cpu_set_t, FreeSet>;  // a cpu_set_t on the stack ends at 1023
constexpr std::size_t kSetBytes = CPU_ALLOC_SIZE(kCoresMax);

void make_set(CoreList& cores) {
  std::sort(cores.begin(), cores.end());
  cores.erase(std::unique(cores.begin(), cores.end()), cores.end());
}

}  // namespace

std::optional<CoreList> parse_cores(std::string_view text) {
  CoreList cores;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    const std::size_t dash = part.find('-');
    const auto first = core_of(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : core_of(part.substr(dash + 1));
    if (!first || !last || *last < *first) {
      return std::nullopt;
    }
    for (int core = *first; core <= *last; ++core) {
      cores.push_back(core);
    }
    if (part.size() == text.size()) {
      break;
    }
    text.remove_prefix(part.size() + 1);
    if (text.empty()) {
      return std::nullopt;  // it ends with a comma
    }
  }
  make_set(cores);
  return cores;
}

std::string cores_text(const CoreList& cores) {
  std::string text;
  for (std::size_t i = 0; i < cores.size();) {
    std::size_t last = i;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) {
      ++last;
    }
    text += (text.empty() ? "" : ",") + std::to_string(cores[i]);
    if (last > i) {
      text += "-" + std::to_string(cores[last]);
    }
    i = last + 1;
  }
  return text;
}

std::string cores_are(const CoreList& cores) {
  const bool one = cores.size() == 1;
  return (one ? "core " : "cores ") + cores_text(cores) + (one ? " is" : " are");
}

bool contains(const CoreList& cores, int core) noexcept {
  return std::binary_search(cores.begin(), cores.end(), core);
}

CoreList minus(const CoreList& all, const CoreList& without) {
  CoreList left;
  std::set_difference(all.begin(), all.end(), without.begin(), without.end(),
                      std::back_inserter(left));
  return left;
}

CoreList avoiding(const CoreList& all, const CoreList& without) {
  CoreList left = minus(all, without);
  return left.empty() ? all : left;
}

CoreList joined(const CoreList& some, const CoreList& others) {
  CoreList all;
  std::set_union(some.begin(), some.end(), others.begin(), others.end(), std::back_inserter(all));
  return all;
}

CoreList allowed_cores() {
  CoreList cores;
  const Set set(CPU_ALLOC(kCoresMax));
  if (set != nullptr && sched_getaffinity(0, kSetBytes, set.get()) == 0) {
    for (int core = 0; core < kCoresMax; ++core) {
      if (CPU_ISSET_S(static_cast<std::size_t>(core), kSetBytes, set.get())) {
        cores.push_back(core);
      }
    }
  }
  return cores;
}

CoreList possible_cores() {
  CoreList cores;
  try {
    // On a thread of its own: the mask of the calling one may be narrow on purpose.
    std::thread([&cores] {
      const Set set(CPU_ALLOC(kCoresMax));
      if (set != nullptr) {
        std::memset(set.get(), 0xff, kSetBytes);
        (void)sched_setaffinity(0, kSetBytes, set.get());
      }
      cores = allowed_cores();
    }).join();
  } catch (const std::system_error&) {
    return allowed_cores();  // no thread is to be had
  }
  return cores;
}

bool stay_on(const CoreList& cores) {
  const Set set(CPU_ALLOC(kCoresMax));
  if (set == nullptr) {
    return false;
  }
  CPU_ZERO_S(kSetBytes, set.get());
  for (const int core : cores) {
    CPU_SET_S(static_cast<std::size_t>(core), kSetBytes, set.get());
  }
  // The kernel leaves out what it does not allow as long as something is left.
  return sched_setaffinity(0, kSetBytes, set.get()) == 0 && allowed_cores() == cores;
}

}  // namespace mserve
