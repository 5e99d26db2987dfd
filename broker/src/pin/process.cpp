// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "pin/commands.hpp"

namespace mserve::pin {

ExitCode tell_fault(ExitCode code, const std::string& fault) {
  (void)std::fprintf(stderr, "mserve-pin: %s\n", fault.c_str());
  return code;
}

}  // namespace mserve::pin
