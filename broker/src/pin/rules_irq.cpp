// SPDX-License-Identifier: Apache-2.0
// Whose devices interrupt the cores.
#include <fmt/format.h>

#include <algorithm>

#include "pin/finding.hpp"
#include "pin/interrupts.hpp"

namespace mserve::pin {

namespace {

constexpr std::size_t kNamed = 3;  // a server has hundreds; the busiest tell enough

std::string named(const std::vector<Arriving>& busy) {
  std::string text;
  for (std::size_t i = 0; i < std::min(busy.size(), kNamed); ++i) {
    text += fmt::format("{}{} {} ({} since boot)", i == 0 ? "" : ", ", busy[i].id, busy[i].name,
                        busy[i].count);
  }
  if (busy.size() > kNamed) {
    text += fmt::format(" and {} more", busy.size() - kNamed);
  }
  return text;
}

std::string how_to_move(const AuditInput& in, const std::vector<Arriving>& busy) {
  const CoreList others = minus(in.online, in.cores);
  if (others.empty()) {
    return "every core is chosen, so there is none to move them to; choose fewer with --cores";
  }
  std::string ids;
  for (const Arriving& one : busy) {
    ids += (ids.empty() ? "" : " ") + one.id;
  }
  return fmt::format(
      "for i in {}; do echo {} > /proc/irq/$i/smp_affinity_list; done (with irqbalance: "
      "IRQBALANCE_BANNED_CPULIST={} in /etc/default/irqbalance; where the kernel manages one and "
      "refuses, boot with isolcpus=managed_irq,...)",
      ids, cores_text(others), cores_text(in.cores));
}

}  // namespace

void look_at_interrupts(const AuditInput& in, Findings& out) {
  const std::vector<Interrupt> all = read_interrupts(in.files);
  const std::string where = "/proc/interrupts, /proc/irq/*/effective_affinity_list";
  if (all.empty()) {
    out.push_back(
        {.topic = "irq", .seen = "interrupts cannot be read", .where = "/proc/interrupts"});
    return;
  }
  if (!tells_affinity(in.files, all)) {
    out.push_back({.topic = "irq",
                   .seen = "to which cores the kernel sends interrupts cannot be read",
                   .where = "/proc/irq/*/smp_affinity_list"});
    return;
  }
  for (const int core : in.cores) {
    std::vector<Arriving> busy = arriving_at(in.files, all, core);
    const std::size_t routed = busy.size();
    std::erase_if(busy, [](const Arriving& one) { return one.count == 0; });
    Finding f{.topic = "irq", .where = where};
    if (busy.empty()) {
      f.level = Level::ok;
      f.seen =
          fmt::format("no device has interrupted core {} of those sent there ({})", core, routed);
    } else {
      f.level = Level::costs;
      f.seen = fmt::format("core {} takes the interrupts {}", core, named(busy));
      f.cost = "2 to 20 us each time, with what the kernel does behind it";
      f.mend = how_to_move(in, busy);
    }
    out.push_back(f);
  }
}

}  // namespace mserve::pin
