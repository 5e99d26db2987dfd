// SPDX-License-Identifier: Apache-2.0
#include <sched.h>

#include <cstdio>

#include "pin/commands.hpp"

namespace mserve::pin {

ExitCode tell_fault(ExitCode code, const std::string& fault) {
  (void)std::fprintf(stderr, "mserve-pin: %s\n", fault.c_str());
  return code;
}

CoreList own_cores() {
  CoreList cores;
  const std::size_t bytes = CPU_ALLOC_SIZE(kCoresMax);
  cpu_set_t* const set = CPU_ALLOC(kCoresMax);
  if (set != nullptr && sched_getaffinity(0, bytes, set) == 0) {
    for (int core = 0; core < kCoresMax; ++core) {
      if (CPU_ISSET_S(static_cast<std::size_t>(core), bytes, set)) {
        cores.push_back(core);
      }
    }
  }
  CPU_FREE(set);
  return cores;
}

}  // namespace mserve::pin
