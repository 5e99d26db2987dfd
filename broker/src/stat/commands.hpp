// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "mserve/shm/rendezvous.hpp"
#include "stat/cluster_call.hpp"
#include "stat/control_call.hpp"
#include "stat/serve/options.hpp"

namespace mserve::stat {

/// Scripts test these; --help lists them. 128 and its number: of a signal that ended a wait.
enum class ExitCode : int { ok = 0, refused = 1, usage = 2, no_broker = 3, timed_out = 4 };

/// What is read and not asked for; `control` is Settings::request.
enum class Subcommand : std::uint8_t {
  control,
  counters,
  cluster,
  document,
  clients,
  routes,
  latency,
  events,
  top,
  serve
};

/// The command line.
struct Settings {
  BrokerName broker;
  Subcommand what = Subcommand::control;
  shm::Control request;
  std::string verb;  ///< Of ctl.
  std::string target;
  double interval_s = 0;  ///< 0: what holds since the start.
  std::size_t rows = 20;
  std::uint32_t servant = 0;  ///< Number, from 1; 0: all.
  std::uint64_t count = 0;    ///< 0: until it is ended.
  bool follow = false;
  bool json = false;
  bool wide = false;       ///< All columns, also on a narrow terminal.
  DocumentOrder document;  ///< Of ctl cluster; the file of apply is `target`.
  ServeOptions serve;
};

/// Does it, prints, and tells faults on stderr.
[[nodiscard]] ExitCode run(const Settings& settings);

}  // namespace mserve::stat
