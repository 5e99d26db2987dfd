// SPDX-License-Identifier: Apache-2.0
#include "plugin/policy_plugin.hpp"

#include <new>

namespace mserve::broker {

PluginPolicy::PluginPolicy(const mserve_policy_table& table, std::uint32_t servants_max,
                           shm::Counter& faults)
    : table_(table),
      servants_max_(servants_max),
      entered_(servants_max),
      state_(table.create(servants_max)),
      faults_(faults) {
  if (state_ == nullptr) {
    throw std::bad_alloc();
  }
}

PluginPolicy::~PluginPolicy() {
  table_.destroy(state_);
}

void PluginPolicy::renew(std::uint32_t servant) noexcept {
  table_.renew(state_, servant);
}

void PluginPolicy::enter(const FreeServant& servant) noexcept {
  entered_.set(servant.index);
  const mserve_free_servant told{sizeof(mserve_free_servant),
                                 servant.index,
                                 servant.outstanding,
                                 servant.weight,
                                 servant.routes,
                                 servant.room ? 1U : 0U};
  table_.enter(state_, &told);
}

void PluginPolicy::leave(std::uint32_t servant, bool sent) noexcept {
  entered_.clear(servant);
  table_.leave(state_, servant, sent ? 1 : 0);
}

// hot: a call of the plugin, and one load to check what it says.
std::uint32_t PluginPolicy::choose() const noexcept {
  if (entered_.empty()) {
    return kNone;
  }
  const std::uint32_t servant = table_.choose(state_);
  if (servant < servants_max_ && entered_.test(servant)) [[likely]] {
    return servant;
  }
  faults_.add();
  return entered_.first();
}

}  // namespace mserve::broker
