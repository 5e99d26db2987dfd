// SPDX-License-Identifier: Apache-2.0
#include "support/wait.hpp"

#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "mserve/shm/clock.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {

std::uint64_t watchdog() noexcept {
  return shm::steady_now() + kWatchdogNs;
}

void let_pass(std::uint64_t ns) {
  const timespec span{static_cast<time_t>(ns / 1'000'000'000),
                      static_cast<long>(ns % 1'000'000'000)};
  (void)nanosleep(&span, nullptr);
}

bool wait_until(const std::function<bool()>& condition, const std::string& what) {
  const std::uint64_t deadline = watchdog();
  while (!condition()) {
    if (shm::steady_now() > deadline) {
      ADD_FAILURE() << "waited in vain for: " << what;
      return false;
    }
    let_pass(500'000);
  }
  return true;
}

std::string read_file(const std::string& path) {
  const std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::size_t count_entries(const std::string& directory, const std::string& part) {
  std::size_t count = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    count += entry.path().filename().string().find(part) != std::string::npos ? 1 : 0;
  }
  return count;
}

TempDir::TempDir() {
  char path[] = "/tmp/mserve-t-XXXXXX";
  if (mkdtemp(path) == nullptr) {
    ADD_FAILURE() << "no temporary directory";
    return;
  }
  path_ = path;
}

TempDir::~TempDir() {
  std::error_code ignored;
  if (!path_.empty()) {
    std::filesystem::remove_all(path_, ignored);
  }
}

}  // namespace mserve::test
