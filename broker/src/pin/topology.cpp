// SPDX-License-Identifier: Apache-2.0
#include "pin/topology.hpp"

#include <fmt/format.h>
#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <set>

namespace mserve::pin {

namespace {

struct Destroy {
  void operator()(hwloc_topology* topology) const noexcept { hwloc_topology_destroy(topology); }
};
using Handle = std::unique_ptr<hwloc_topology, Destroy>;

Handle load(const std::string& xml, std::string& fault) {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) {
    fault = "hwloc cannot start";
    return nullptr;
  }
  Handle topology(raw);
  if (!xml.empty() && hwloc_topology_set_xml(raw, xml.c_str()) != 0) {
    fault = fmt::format("{}: {}", xml,
                        errno == EINVAL ? "not a hwloc XML file (lstopo --of xml writes them)"
                                        : std::strerror(errno));
    return nullptr;
  }
  if (hwloc_topology_load(raw) != 0) {
    fault = xml.empty() ? "hwloc cannot read this machine"
                        : xml + ": not a hwloc XML file (lstopo --of xml writes them)";
    return nullptr;
  }
  return topology;
}

/// The NUMA node of a thread; 0 where none is told.
int node_of(hwloc_topology_t topology, const hwloc_obj* thread) {
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr) {
    if (hwloc_bitmap_isset(node->cpuset, thread->os_index) != 0) {
      return static_cast<int>(node->os_index);
    }
  }
  return 0;
}

int number_of(hwloc_topology_t topology, hwloc_obj_type_t type, hwloc_obj_t thread) {
  const hwloc_obj* const found = hwloc_get_ancestor_obj_by_type(topology, type, thread);
  return found != nullptr ? static_cast<int>(found->logical_index) : -1;
}

template <class Of>
std::size_t count_of(const std::vector<PhysicalCore>& cores, Of of) {
  std::set<int> different;
  for (const PhysicalCore& core : cores) {
    different.insert(core.*of);
  }
  return different.size();
}

std::string counted(std::size_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace

CoreList Topology::threads() const {
  CoreList all;
  for (const PhysicalCore& core : cores) {
    all = joined(all, core.threads);
  }
  return all;
}

std::string Topology::to_text() const {
  return counted(count_of(cores, &PhysicalCore::package), "package") + ", " +
         counted(count_of(cores, &PhysicalCore::node), "NUMA node") + ", " +
         counted(cores.size(), "core") + ", " + counted(threads().size(), "thread");
}

std::optional<Topology> read_topology(const std::string& xml, std::string& fault) {
  const Handle handle = load(xml, fault);
  if (handle == nullptr) {
    return std::nullopt;
  }
  hwloc_topology_t const topology = handle.get();
  std::map<int, PhysicalCore> by_core;
  hwloc_obj_t thread = nullptr;
  while ((thread = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, thread)) != nullptr) {
    if (thread->os_index >= static_cast<unsigned>(kCoresMax)) {
      fault = fmt::format("core {} is beyond what is understood here ({})", thread->os_index,
                          kCoresMax - 1);
      return std::nullopt;
    }
    // Where there are no cores, each thread is one; their numbers must not meet.
    const int number = number_of(topology, HWLOC_OBJ_CORE, thread);
    PhysicalCore& core =
        by_core[number >= 0 ? number : kCoresMax + static_cast<int>(thread->os_index)];
    core.threads = joined(core.threads, {static_cast<int>(thread->os_index)});
    core.node = node_of(topology, thread);
    core.package = number_of(topology, HWLOC_OBJ_PACKAGE, thread);
    const int l3 = number_of(topology, HWLOC_OBJ_L3CACHE, thread);
    core.l3 = l3 >= 0 ? l3 : -2 - core.node;  // no such cache: those of a node count as near
  }
  if (by_core.empty()) {
    fault = "hwloc shows no cores";
    return std::nullopt;
  }
  Topology found;
  for (auto& [number, core] : by_core) {
    found.cores.push_back(std::move(core));
  }
  std::sort(found.cores.begin(), found.cores.end(),
            [](const PhysicalCore& a, const PhysicalCore& b) {
              return a.threads.front() < b.threads.front();
            });
  return found;
}

}  // namespace mserve::pin
