// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "pin/machine_files.hpp"

namespace mserve::pin {

/// One line of /proc/interrupts.
struct Interrupt {
  std::string id;  ///< A number, or letters for those that every core has (LOC: its timer).
  std::map<int, std::uint64_t> count{};  ///< By core, since boot.
  std::string name{};                    ///< What it is for.
};

/// All of them; none where the file cannot be read.
[[nodiscard]] std::vector<Interrupt> read_interrupts(const MachineFiles& files);

/// Whether the kernel tells where devices' interrupts go: for one of them at least, if there are
/// any.
[[nodiscard]] bool tells_affinity(const MachineFiles& files, const std::vector<Interrupt>& all);

/// A device's interrupt that arrives at a core.
struct Arriving {
  std::string id;
  std::string name;
  std::uint64_t count = 0;  ///< On that core since boot.
  bool movable = true;      ///< More cores than this one may take it.
};

/// Device interrupts that the kernel sends to `core` now, the most frequent first.
[[nodiscard]] std::vector<Arriving> arriving_at(const MachineFiles& files,
                                                const std::vector<Interrupt>& all, int core);

}  // namespace mserve::pin
