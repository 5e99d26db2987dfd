// SPDX-License-Identifier: Apache-2.0
#include "control/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "control/log.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::broker {

namespace {

/// As sd_notify(), which waits for as long as the manager does not read, and with it all that this
/// thread does for others. @return 0 or an errno; EAGAIN: the manager has enough to read.
int notify(const std::string& text) noexcept {
  const char* const path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || path[0] == '\0') {
    return 0;
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t bytes = std::strlen(path);
  if (bytes >= sizeof(address.sun_path)) {
    return ENAMETOOLONG;
  }
  std::copy_n(path, bytes, static_cast<char*>(address.sun_path));
  if (address.sun_path[0] == '@') {
    address.sun_path[0] = '\0';  // an abstract one
  }
  const shm::UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + bytes);
  const bool sent =
      socket && ::sendto(socket.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                         reinterpret_cast<const sockaddr*>(&address), size) >= 0;
  return sent ? 0 : errno;
}

}  // namespace

ServiceManager::ServiceManager() {
  std::uint64_t patience_us = 0;
  if (sd_watchdog_enabled(0, &patience_us) > 0) {
    patience_ns_ = patience_us * 1'000;
  }
}

void ServiceManager::ready(const std::string& status) noexcept {
  const int error = say("READY=1\nSTATUS=" + status);
  if (error != 0) {
    log(LogLevel::warning, "notify_failed",
        {{"reason", LogText{"NOTIFY_SOCKET is given, but nobody is there"}},
         {"error", LogText{std::strerror(error)}}});
  }
}

void ServiceManager::stopping() noexcept {
  (void)say("STOPPING=1\nSTATUS=draining");
}

void ServiceManager::alive() noexcept {
  (void)notify("WATCHDOG=1");  // one that is lost is followed by the next
}

int ServiceManager::say(std::string text) noexcept {
  const int error = notify(text);
  untold_ = error == EAGAIN ? std::move(text) : std::string();
  return error == EAGAIN ? 0 : error;
}

void ServiceManager::repeat() noexcept {
  if (!untold_.empty()) {
    (void)say(std::exchange(untold_, {}));
  }
}

}  // namespace mserve::broker
