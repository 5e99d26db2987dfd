// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "pin/machine_files.hpp"

namespace mserve::pin {

/// What stands between this process and the machine.
struct Surroundings {
  bool virtual_machine = false;
  std::string virtual_by;  ///< What says so: file and value.
  std::string hypervisor;  ///< Its maker, where DMI or /sys/hypervisor tells; else empty.
  bool container = false;  ///< Some sign of one is there.
  std::string container_by;
  /// Processes outside are hidden: this is not the kernel's first PID namespace.
  bool processes_hidden = false;
  bool namespaces_known = false;  ///< /proc tells which namespace this is.
};

[[nodiscard]] Surroundings look_around(const MachineFiles& files);

}  // namespace mserve::pin
