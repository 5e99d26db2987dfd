// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace mserve::shm {
namespace {

// Where the broker of root is, and the services of a machine.
constexpr const char* kOfRoot = "/run/mserve";

void explain(std::string* reason, std::string text) {
  if (reason != nullptr) {
    *reason = std::move(text);
  }
}

Error unsafe(std::string* reason, std::string text) {
  explain(reason, std::move(text));
  return {Errc::unsafe_directory, 0, "rendezvous directory"};
}

Error failed(std::string* reason, const char* what, const std::string& path, Errc code = Errc::os) {
  const Error error = os_error("rendezvous directory", code);
  explain(reason, std::string("cannot ") + what + " " + path + ": " +
                      std::system_category().message(error.os_errno));
  return error;
}

// With a slash at its end a symbolic link would be followed in spite of O_NOFOLLOW.
std::string without_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') {
    path.pop_back();
  }
  return path;
}

std::string from_environment(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr ? without_trailing_slashes(value) : std::string();
}

// Two programs in different working directories would mean two places by the same words.
Error refuse_relative(const std::string& path, std::string* reason) {
  return path.empty() || path.front() != '/'
             ? unsafe(reason, "'" + path + "' is not an absolute path; correct MSERVE_DIR or --dir")
             : Error{};
}

// Never follows a symbolic link in the last component.
UniqueFd open_directory(const std::string& path, int access) noexcept {
  return UniqueFd(::open(path.c_str(), access | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

Error open_error(const std::string& path, std::string* reason) {
  if (errno == ELOOP || errno == ENOTDIR) {
    return unsafe(reason, path +
                              " is a symbolic link or not a directory; remove it, or set "
                              "MSERVE_DIR to a directory of your own");
  }
  if (errno == ENOENT) {
    return failed(reason, "find", path, Errc::no_broker);
  }
  return failed(reason, "open", path, errno == EACCES ? Errc::access : Errc::os);
}

bool owner_allowed(uid_t uid, DirectoryOwner owner) noexcept {
  return owner == DirectoryOwner::anybody || uid == ::geteuid() ||
         (owner == DirectoryOwner::self_or_root && uid == 0);
}

Error check_open_directory(int fd, const std::string& path, DirectoryOwner owner,
                           bool group_allowed, std::string* reason) {
  struct stat status = {};
  if (::fstat(fd, &status) != 0) {
    return failed(reason, "examine", path);
  }
  if (!owner_allowed(status.st_uid, owner)) {
    return unsafe(reason, path + " belongs to user " + std::to_string(status.st_uid) +
                              "; remove it, or set MSERVE_DIR to a directory of your own");
  }
  const mode_t forbidden = group_allowed ? 0027 : 0077;
  if ((status.st_mode & forbidden) != 0) {
    // A broker opens its own to its group by itself, so 700 suits all of its owner's programs.
    const bool of_a_group = group_allowed && status.st_uid != ::geteuid();
    return unsafe(reason,
                  path + " is open to others; run: chmod " + (of_a_group ? "750 " : "700 ") + path);
  }
  return {};
}

// Gives a directory that is ours to the group, before anything is in it that matters.
bool share_with_group(int fd, gid_t group) noexcept {
  struct stat status = {};
  return ::fstat(fd, &status) == 0 && status.st_uid == ::geteuid() &&
         ::fchown(fd, static_cast<uid_t>(-1), group) == 0 && ::fchmod(fd, 0750) == 0;
}

// True when `path` still names the open file: it was not unlinked between open and flock.
bool still_named(int fd, const std::string& path) noexcept {
  struct stat opened = {};
  struct stat named = {};
  return ::fstat(fd, &opened) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

// What the holder wrote, for people; empty if it has not yet.
std::string holder_text(int fd) {
  std::array<char, 16> text{};
  const ssize_t got = ::pread(fd, text.data(), text.size(), 0);
  std::string digits;
  for (ssize_t i = 0; i < got; ++i) {
    const char c = text[static_cast<std::size_t>(i)];
    if (c < '0' || c > '9') {
      break;
    }
    digits.push_back(c);
  }
  return digits;
}

bool write_holder(int fd) {
  const std::string text = std::to_string(::getpid()) + "\n";
  return ::ftruncate(fd, 0) == 0 &&
         ::pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
}

}  // namespace

bool valid_broker_name(std::string_view name) noexcept {
  if (name.empty() || name.size() > kBrokerNameBytesMax || name.front() == '.') {
    return false;
  }
  for (const char c : name) {
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    const bool digit = c >= '0' && c <= '9';
    if (!letter && !digit && c != '.' && c != '_' && c != '-') {
      return false;
    }
  }
  return true;
}

std::string default_directory() {
  if (std::string path = from_environment("MSERVE_DIR"); !path.empty()) {
    return path;
  }
  // The XDG specification: a relative path in its variables is to be ignored.
  if (std::string path = from_environment("XDG_RUNTIME_DIR"); path.starts_with('/')) {
    return path + "/mserve";
  }
  const uid_t uid = ::geteuid();
  return uid == 0 ? kOfRoot : "/tmp/mserve-" + std::to_string(uid);
}

Error prepare_directory(const std::string& directory, std::optional<gid_t> group,
                        std::string* reason) {
  const std::string path = without_trailing_slashes(directory);
  if (const Error e = refuse_relative(path, reason); e.code != Errc::ok) {
    return e;
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    const Error error = failed(reason, "create", path);
    if (reason != nullptr && error.os_errno == ENOENT) {
      *reason += "; make the directory above it first (mkdir -p)";
    }
    return error;
  }
  const UniqueFd fd = open_directory(path, O_RDONLY);
  if (!fd) {
    return open_error(path, reason);
  }
  if (group.has_value() && !share_with_group(fd.get(), *group)) {
    return failed(reason, "share with the group", path);
  }
  return check_open_directory(fd.get(), path, DirectoryOwner::self, group.has_value(), reason);
}

Error check_directory(const std::string& directory, DirectoryOwner owner, bool group_allowed,
                      std::string* reason) {
  const std::string path = without_trailing_slashes(directory);
  if (const Error e = refuse_relative(path, reason); e.code != Errc::ok) {
    return e;
  }
  const UniqueFd fd = open_directory(path, O_PATH);
  if (!fd) {
    const Error e = open_error(path, reason);
    if (e.code == Errc::no_broker && owner == DirectoryOwner::self_or_root && path != kOfRoot &&
        reason != nullptr && ::access(kOfRoot, F_OK) == 0) {
      *reason += std::string("; root's brokers are in ") + kOfRoot + ": set MSERVE_DIR to it";
    }
    return e;
  }
  return check_open_directory(fd.get(), path, owner, group_allowed, reason);
}

Result<std::string> socket_path(const std::string& directory, std::string_view name,
                                std::string* reason) {
  if (!valid_broker_name(name)) {
    explain(reason,
            "a broker name has 1 to 64 of the characters A-Z a-z 0-9 . _ - and does not "
            "start with a dot");
    return Error{Errc::invalid, 0, "broker name"};
  }
  std::string path = without_trailing_slashes(directory) + "/" + std::string(name) + ".sock";
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    explain(reason, path + " is too long for a socket; set MSERVE_DIR to a shorter directory");
    return Error{Errc::invalid, 0, "socket path"};
  }
  return path;
}

NameLock::NameLock(UniqueFd fd, std::string lock_path, std::string socket_path) noexcept
    : fd_(std::move(fd)),
      lock_path_(std::move(lock_path)),
      socket_path_(std::move(socket_path)),
      owner_pid_(::getpid()) {}

Result<NameLock> NameLock::take(const std::string& directory, std::string_view name,
                                std::string* reason) {
  Result<std::string> socket = socket_path(directory, name, reason);
  if (!socket) {
    return socket.error();
  }
  const std::string path = without_trailing_slashes(directory) + "/" + std::string(name) + ".lock";
  // Another round only when a stopping broker unlinked the file between our open and our lock.
  constexpr int kRounds = 100;
  for (int round = 0; round < kRounds; ++round) {
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) {
      return failed(reason, "open", path);
    }
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EINTR) {
        continue;
      }
      if (errno != EWOULDBLOCK) {
        return failed(reason, "lock", path);
      }
      const std::string pid = holder_text(fd.get());
      explain(reason,
              "the name " + std::string(name) + " is taken by " +
                  (pid.empty() ? "a running broker" : "the running broker with pid " + pid) +
                  "; stop it, wait for it where it drains, or choose another name");
      return Error{Errc::in_use, 0, "name lock"};
    }
    if (!still_named(fd.get(), path)) {
      continue;
    }
    if (!write_holder(fd.get())) {
      return failed(reason, "write", path);
    }
    return NameLock(std::move(fd), path, std::move(socket).value());
  }
  explain(reason, path + " is being replaced all the time; try again");
  return Error{Errc::in_use, 0, "name lock"};
}

NameLock& NameLock::operator=(NameLock&& other) noexcept {
  if (this != &other) {
    release();
    fd_ = std::move(other.fd_);
    lock_path_ = std::move(other.lock_path_);
    socket_path_ = std::move(other.socket_path_);
    owner_pid_ = other.owner_pid_;
  }
  return *this;
}

void NameLock::release() noexcept {
  if (!fd_) {
    return;
  }
  if (::getpid() == owner_pid_ && still_named(fd_.get(), lock_path_)) {
    struct stat status = {};
    // Something else may lie there, which is why we could not listen: it is not ours to remove.
    if (::lstat(socket_path_.c_str(), &status) == 0 && S_ISSOCK(status.st_mode)) {
      ::unlink(socket_path_.c_str());
    }
    ::unlink(lock_path_.c_str());
  }
  fd_.reset();
}

}  // namespace mserve::shm
