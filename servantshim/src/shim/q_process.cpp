// SPDX-License-Identifier: Apache-2.0
#include "shim/q_process.hpp"

#include <dirent.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <sstream>
#include <string_view>
#include <vector>

#include "mserve/shm/socket.hpp"
#include "mserve/shm/tcp.hpp"

namespace mserve::shim {

namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { (void)closedir(directory); }
};

/// Names in a directory of /proc; none when it may not be read.
std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, CloseDirectory> directory(opendir(path.c_str()));
  while (directory != nullptr) {
    const dirent* const entry = readdir(directory.get());
    if (entry == nullptr) {
      break;
    }
    names.emplace_back(entry->d_name);
  }
  return names;
}

std::string proc_path(pid_t pid) {
  return "/proc/" + std::to_string(pid);
}

bool holds(pid_t pid, const std::string& link) {
  const std::string directory = proc_path(pid) + "/fd/";
  const std::vector<std::string> names = names_in(directory);
  return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    char target[64];
    const ssize_t bytes = readlink((directory + name).c_str(), target, sizeof(target));
    return bytes > 0 && std::string_view(target, static_cast<std::size_t>(bytes)) == link;
  });
}

/// Address and port as /proc/net/tcp and tcp6 write them.
std::string shown_there(const sockaddr_storage& address) {
  char text[48] = {};
  const auto word = [](const void* from) {
    std::uint32_t value = 0;
    std::memcpy(&value, from, sizeof(value));
    return value;
  };
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    (void)std::snprintf(text, sizeof(text), "%08X:%04X", word(&v4.sin_addr), ntohs(v4.sin_port));
  } else {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    const unsigned char* const at = v6.sin6_addr.s6_addr;
    (void)std::snprintf(text, sizeof(text), "%08X%08X%08X%08X:%04X", word(at), word(at + 4),
                        word(at + 8), word(at + 12), ntohs(v6.sin6_port));
  }
  return text;
}

/// The other end of a TCP connection within this host.
struct OtherEnd {
  std::string link;       ///< `socket:[INODE]`, as links in /proc name it; empty: there is none.
  bool read_all = false;  ///< Its process has taken all that arrived.
};

OtherEnd end_in(const char* table, const std::string& local, const std::string& remote) {
  std::ifstream file(table);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string slot, here, there, state, queues, timer, retransmits, uid, timeout, inode;
    words >> slot >> here >> there >> state >> queues >> timer >> retransmits >> uid >> timeout >>
        inode;
    if (here == local && there == remote && !inode.empty() && inode != "0") {
      return {"socket:[" + inode + "]", queues.ends_with(":00000000")};
    }
  }
  return {};
}

OtherEnd other_end(int fd) {
  sockaddr_storage ours{};
  sockaddr_storage theirs{};
  socklen_t ours_bytes = sizeof(ours);
  socklen_t theirs_bytes = sizeof(theirs);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&ours), &ours_bytes) != 0 ||
      getpeername(fd, reinterpret_cast<sockaddr*>(&theirs), &theirs_bytes) != 0) {
    return {};
  }
  const std::string local = shown_there(theirs);
  const std::string remote = shown_there(ours);
  if (ours.ss_family == AF_INET6) {
    return end_in("/proc/net/tcp6", local, remote);
  }
  OtherEnd end = end_in("/proc/net/tcp", local, remote);
  if (end.link.empty()) {
    // A listener for both families sees IPv4 addresses as IPv6 ones.
    const std::string front =
        std::string(16, '0') + (htonl(0xffff) == 0xffff ? "0000FFFF" : "FFFF0000");
    end = end_in("/proc/net/tcp6", front + local, front + remote);
  }
  return end;
}

/// Whether this user may be expected to mean this process.
bool acceptable(pid_t pid, std::string& why) {
  struct stat status {};
  if (pid <= 1 || pid == getpid()) {
    why = "it cannot be process " + std::to_string(pid) + ", as it says";
  } else if (stat(proc_path(pid).c_str(), &status) != 0) {
    why = "its process is gone, or not to be seen from here";
  } else if (status.st_uid != geteuid()) {
    why = "its process is another user's";
  } else {
    return true;
  }
  return false;
}

/// The other end is still open: whoever was there when it was connected lives.
bool alive(int fd) noexcept {
  char byte = 0;
  return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0 || errno == EAGAIN;
}

}  // namespace

QProcess QProcess::find(int fd, std::int64_t said, std::string& why) {
  QProcess process;
  sockaddr_storage peer{};
  socklen_t bytes = sizeof(peer);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &bytes) != 0) {
    why = "it is not connected";
    return process;
  }
  const bool tcp = peer.ss_family != AF_UNIX;
  if (tcp && !shm::peer_on_this_host(fd)) {
    why = "it runs on another host";
    return process;
  }
  if (said <= 0 || said > std::numeric_limits<pid_t>::max()) {
    why = "it does not say which process it is (.z.i)";
    return process;
  }
  const auto pid = static_cast<pid_t>(said);
  if (!acceptable(pid, why)) {
    return process;
  }
  const std::string link = tcp ? other_end(fd).link : "";
  const auto is_there = [&] {
    if (tcp) {
      return !link.empty() && holds(pid, link);
    }
    const Result<shm::Credentials> listener = shm::peer_credentials(fd);
    return listener && listener.value().pid == pid && alive(fd);
  };
  if (!is_there()) {
    why = "it says that it is process " + std::to_string(pid) +
          ", which is not what is connected here: something stands between";
    return process;
  }
  Result<shm::UniqueFd> pidfd = shm::open_pidfd(pid);
  if (!pidfd) {
    why = std::string("no pidfd: ") + std::strerror(pidfd.error().os_errno);
    return process;
  }
  // Looked at once more: what holds now held when the pidfd was made, so it is that process's.
  if (!is_there()) {
    why = "its process is gone";
  } else if (acceptable(pid, why)) {
    process.pidfd_ = std::move(pidfd).value();
  }
  return process;
}

bool QProcess::has_read_all(int fd) {
  sockaddr_storage peer{};
  socklen_t bytes = sizeof(peer);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &bytes) != 0) {
    return false;
  }
  if (peer.ss_family != AF_UNIX) {
    return other_end(fd).read_all;
  }
  int unread = 0;  // of a Unix socket what was sent is out of the queue once it is read
  return ioctl(fd, SIOCOUTQ, &unread) == 0 && unread == 0;
}

bool QProcess::interrupt() const noexcept {
  // By number: glibc's wrapper came after the call.
  return pidfd_ && syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGINT, nullptr, 0U) == 0;
}

}  // namespace mserve::shim
