// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "control/launcher.hpp"
#include "mserve/shm/errc.hpp"
#include "options.hpp"
#include "reload.hpp"

namespace mserve::broker {

/// Runs a broker in the calling thread (which becomes the control thread) until SIGTERM or SIGINT.
/// Makes directory, lock, socket, counters and threads, and removes them again.
///
/// @param launcher  forked before any thread existed; used when it has programs.
/// @param reload    what SIGHUP asks for.
/// @param reason    one sentence when it could not start.
/// @return code ok after a clean stop; else why it could not start (`in_use`, `unsafe_directory`,
/// ...).
[[nodiscard]] Error run_broker(const BrokerOptions& options, Launcher launcher, Reload reload,
                               std::string& reason);

}  // namespace mserve::broker
