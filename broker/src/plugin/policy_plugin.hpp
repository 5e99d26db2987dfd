// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "dispatch/policies.hpp"
#include "mserve/plugin.h"
#include "mserve/shm/counters.hpp"

namespace mserve::broker {

/// A plugin's policy as the Dispatcher sees one: whatever the plugin answers, what is chosen is a
/// servant that may be chosen.
class PluginPolicy final : public ServantPolicy {
 public:
  /// @param table   of load_policy_plugin().
  /// @param faults  counts wrong answers; one thread calls this object, which is the counter's.
  /// @throws std::bad_alloc, also when the plugin gives no state.
  PluginPolicy(const mserve_policy_table& table, std::uint32_t servants_max, shm::Counter& faults);
  ~PluginPolicy() override;
  PluginPolicy(const PluginPolicy&) = delete;
  PluginPolicy& operator=(const PluginPolicy&) = delete;

  void renew(std::uint32_t servant) noexcept override;
  void enter(const FreeServant& servant) noexcept override;
  void leave(std::uint32_t servant, bool sent) noexcept override;
  [[nodiscard]] std::uint32_t choose() const noexcept override;
  [[nodiscard]] bool contains(std::uint32_t servant) const noexcept override {
    return entered_.test(servant);
  }

 private:
  const mserve_policy_table& table_;
  std::uint32_t servants_max_;
  Bitmap entered_;  // Those that may be chosen.
  void* state_;
  shm::Counter& faults_;
};

/// Makes them of one plugin.
class PluginPolicies final : public PolicySource {
 public:
  /// Both outlive this and what it makes.
  PluginPolicies(const mserve_policy_table& table, shm::Counter& faults) noexcept
      : table_(table), faults_(faults) {}
  [[nodiscard]] std::unique_ptr<ServantPolicy> make(std::uint32_t servants_max) const override {
    return std::make_unique<PluginPolicy>(table_, servants_max, faults_);
  }

 private:
  const mserve_policy_table& table_;
  shm::Counter& faults_;
};

}  // namespace mserve::broker
