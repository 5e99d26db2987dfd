// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "options.hpp"

namespace mserve::broker {

/// A key of the configuration, and what holds for it.
struct Setting {
  std::string key;
  std::string value;  ///< As TOML; empty: not given, and there is no default.
  std::string description;
};

/// What reading the configuration again gave. Applied as a whole, if neither `faults` nor `fixed`
/// has anything.
struct Reloaded {
  std::vector<std::string> faults;  ///< What is wrong with it, each with file and line.
  std::vector<Setting> fixed;       ///< What changed and needs a restart.
  std::vector<Setting> changed;
  BrokerOptions options;
  std::string document;  ///< Path of the cluster's document, if one was read.
  /// To be called once all of it holds: what changes next is told by comparing with it. Empty if it
  /// cannot be applied.
  std::function<void()> applied;

  [[nodiscard]] bool refused() const noexcept { return !faults.empty() || !fixed.empty(); }
};

/// What is wrong with each of Reloaded::fixed.
inline constexpr char kNeedsRestart[] = "needs a restart; nothing was changed";

/// Reads it again. Called on the control thread.
using Reload = std::function<Reloaded()>;

}  // namespace mserve::broker
