// SPDX-License-Identifier: Apache-2.0
#include "control/process_stat.hpp"

#include <cstdio>
#include <cstring>

namespace mserve::broker {

ProcessStat process_stat(pid_t pid) noexcept {
  char path[32];
  (void)std::snprintf(path, sizeof(path), "/proc/%d/stat", pid);
  std::FILE* const file = std::fopen(path, "re");
  if (file == nullptr) {
    return {};
  }
  char text[512];
  const std::size_t got = std::fread(text, 1, sizeof(text) - 1, file);
  (void)std::fclose(file);
  text[got] = '\0';
  // The name, in parentheses, may hold anything; the state follows the last one.
  const char* const end = std::strrchr(text, ')');
  ProcessStat stat;
  int parent = 0;
  if (end != nullptr && std::sscanf(end, ") %c %d", &stat.state, &parent) == 2) {
    stat.parent = parent;
  }
  return stat;
}

}  // namespace mserve::broker
