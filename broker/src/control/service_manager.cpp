// SPDX-License-Identifier: Apache-2.0
#include "control/service_manager.hpp"

#include <systemd/sd-daemon.h>

#include <cstring>

#include "control/log.hpp"

namespace mserve::broker {

ServiceManager::ServiceManager() {
  std::uint64_t patience_us = 0;
  if (sd_watchdog_enabled(0, &patience_us) > 0) {
    patience_ns_ = patience_us * 1'000;
  }
}

void ServiceManager::ready(const std::string& status) noexcept {
  const int result = sd_notify(0, ("READY=1\nSTATUS=" + status).c_str());
  if (result < 0) {
    log(LogLevel::warning, "notify_failed",
        {{"reason", LogText{"NOTIFY_SOCKET is given, but nobody is there"}},
         {"error", LogText{std::strerror(-result)}}});
  }
}

void ServiceManager::stopping() noexcept {
  (void)sd_notify(0, "STOPPING=1\nSTATUS=draining");
}

void ServiceManager::alive() noexcept {
  (void)sd_notify(0, "WATCHDOG=1");
}

}  // namespace mserve::broker
