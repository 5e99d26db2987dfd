// SPDX-License-Identifier: Apache-2.0
#include "support/holdings.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "support/wait.hpp"

namespace mserve::test {

namespace {

std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Holdings& holdings) {
  return out << holdings.descriptors << " descriptors (" << holdings.sockets << " sockets, "
             << holdings.pidfds << " pidfds, " << holdings.memfds << " memfds), "
             << holdings.segments << " mapped segments";
}

Holdings holdings_of(pid_t pid) {
  Holdings found;
  const std::string process = "/proc/" + std::to_string(pid);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(process + "/fd", error)) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (gone) {
      continue;  // closed meanwhile: what the directory itself was read by, for one
    }
    ++found.descriptors;
    found.sockets += target.rfind("socket:", 0) == 0 ? 1 : 0;
    found.pidfds += target.find("pidfd") != std::string::npos ? 1 : 0;
    found.memfds += target.find("memfd:mserve") != std::string::npos ? 1 : 0;
  }
  found.segments = occurrences(read_file(process + "/maps"), "memfd:mserve");
  return found;
}

bool expect_holdings(pid_t pid, const Holdings& before, const std::string& whose) {
  const bool same = wait_until([&] { return holdings_of(pid) == before; }, whose + " as before");
  EXPECT_TRUE(same) << whose << ": " << before << " before, " << holdings_of(pid) << " after";
  return same;
}

std::size_t private_bytes_of(pid_t pid) {
  const std::string status = read_file("/proc/" + std::to_string(pid) + "/status");
  const std::size_t at = status.find("RssAnon:");
  return at == std::string::npos
             ? 0
             : std::strtoull(status.c_str() + at + sizeof("RssAnon:"), nullptr, 10) * 1024;
}

}  // namespace mserve::test
