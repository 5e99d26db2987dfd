// SPDX-License-Identifier: Apache-2.0
#include "support/cgroup.hpp"

#include <fcntl.h>
#include <mntent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "support/wait.hpp"

namespace mserve::test {
namespace {

/// Where version 2 is mounted; empty: nowhere.
std::string mount_point() {
  const std::unique_ptr<FILE, int (*)(FILE*)> mounts(::setmntent("/proc/self/mounts", "r"),
                                                     &::endmntent);
  while (mounts != nullptr) {
    const mntent* const entry = ::getmntent(mounts.get());
    if (entry == nullptr) {
      break;
    }
    if (std::strcmp(entry->mnt_type, "cgroup2") == 0) {
      return entry->mnt_dir;
    }
  }
  return {};
}

/// This process's group in version 2, such as /user.slice; / where it is the root.
std::string own_group() {
  std::istringstream lines(read_file("/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::/")) {
      return line.substr(3);
    }
  }
  return "/";
}

bool write_to(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

}  // namespace

SmallCgroup::SmallCgroup(std::uint64_t bytes_max) {
  const std::string root = mount_point();
  if (root.empty()) {
    missing_ = "no control groups of version 2 are mounted here";
    return;
  }
  for (std::filesystem::path group = own_group();; group = group.parent_path()) {
    if (make(root + (group == "/" ? "" : group.string()), bytes_max)) {
      missing_.clear();
      return;
    }
    if (group == "/" || group.empty()) {
      return;
    }
  }
}

bool SmallCgroup::make(const std::string& parent, std::uint64_t bytes_max) {
  const std::string path = parent + "/mserve-test-" + std::to_string(::getpid());
  if (::mkdir(path.c_str(), 0700) != 0) {
    missing_ = "no control group can be made in " + parent + ": " + std::strerror(errno);
    return false;
  }
  if (!write_to(path + "/memory.max", std::to_string(bytes_max)) ||
      !write_to(path + "/memory.swap.max", "0")) {
    std::string controllers = read_file(parent + "/cgroup.subtree_control");
    controllers.erase(controllers.find_last_not_of(" \n") + 1);
    missing_ = "control groups below " + parent + " have no limit of memory and swap (its " +
               "cgroup.subtree_control is '" + controllers + "')";
    (void)::rmdir(path.c_str());
    return false;
  }
  path_ = path;
  procs_ = path + "/cgroup.procs";
  return true;
}

SmallCgroup::~SmallCgroup() {
  if (path_.empty()) {
    return;
  }
  (void)write_to(path_ + "/cgroup.kill", "1");
  (void)wait_until([this] { return ::rmdir(path_.c_str()) == 0; }, "an empty control group");
}

void SmallCgroup::enter() const noexcept {
  const int fd = ::open(procs_.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0 || ::write(fd, "0", 1) != 1) {
    ::_exit(126);
  }
  (void)::close(fd);
}

std::uint64_t SmallCgroup::events(const std::string& key) const {
  std::istringstream words(read_file(path_ + "/memory.events"));
  std::string word;
  std::uint64_t value = 0;
  while (words >> word >> value) {
    if (word == key) {
      return value;
    }
  }
  return 0;
}

}  // namespace mserve::test
