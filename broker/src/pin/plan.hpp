// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pin/machine_files.hpp"
#include "pin/topology.hpp"

namespace mserve::pin {

/// Where the gateway (mserve-broker -p) runs.
enum class GatewayPlace : std::uint8_t {
  none,    ///< There is no -p.
  own,     ///< A core of its own.
  data,    ///< The data thread serves it (--gateway-thread data).
  shared,  ///< With the control threads.
};

inline constexpr std::uint32_t kServantsMax = 1024;

/// What is to be placed.
struct Wishes {
  std::uint32_t servants = 1;  ///< 1 to kServantsMax.
  bool q = false;              ///< Each is a q process with a shim.
  GatewayPlace gateway = GatewayPlace::own;
};

/// What is known of the cores beside their topology.
struct CoreFacts {
  CoreList isolated{};     ///< Kept from the scheduler (isolcpus).
  CoreList interrupted{};  ///< Devices' interrupts come to them all the time.
  bool known = false;      ///< False: nobody looked, as the machine is only described.
};

/// Who runs where. Each list is of cores as the kernel counts them.
struct Plan {
  struct Servant {
    CoreList cores{};  ///< Of the servant, or of its q process.
    CoreList shim;     ///< Of the q process's shim; empty without --q.
    std::string why{};
  };
  std::string machine;        ///< Topology::to_text().
  int broker = -1;            ///< The data thread's core; -1: not pinned.
  std::string idle = "auto";  ///< Its --idle.
  GatewayPlace gateway = GatewayPlace::none;
  int gateway_core = -1;  ///< own only.
  CoreList control;       ///< Everybody else in the broker.
  CoreList left_idle;     ///< Siblings of cores that somebody has alone: nobody's.
  std::vector<Servant> servants;
  std::string broker_why{};
  std::string gateway_why{};
  std::string control_why{};
  std::vector<std::string> warnings{};

  /// All cores that somebody is put on.
  [[nodiscard]] CoreList used() const;
};

/// Proposes a plan. Pure. There is always one: where cores are too few, it says so in `warnings`
/// and is the one that works best then.
[[nodiscard]] Plan make_plan(const Topology& topology, const CoreFacts& facts,
                             const Wishes& wishes);

}  // namespace mserve::pin
