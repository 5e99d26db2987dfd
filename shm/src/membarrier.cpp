// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/membarrier.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace mserve::shm {
namespace {

long membarrier(int command) noexcept {
  return ::syscall(SYS_membarrier, command, 0U, 0);
}

constexpr int kNeeded = MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED;

}  // namespace

Result<int> membarrier_query() noexcept {
  const long commands = membarrier(MEMBARRIER_CMD_QUERY);
  if (commands < 0) {
    return os_error("membarrier");
  }
  return static_cast<int>(commands);
}

bool membarrier_available() noexcept {
  static const bool available = [] {
    const Result<int> commands = membarrier_query();
    return commands && (commands.value() & kNeeded) == kNeeded;
  }();
  return available;
}

Error membarrier_register_global_expedited() noexcept {
  if (membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) != 0) {
    return os_error("register for membarrier");
  }
  return {};
}

bool membarrier_global_expedited() noexcept {
  return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) == 0;
}

}  // namespace mserve::shm
