// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "child.hpp"
#include "mserve/shm/idle.hpp"
#include "trips.hpp"

namespace mserve::bench {

/// A broker of ours in a directory of its own, and the servants that were started for it. All of
/// them end with this object, servants first.
class OwnBroker {
 public:
  /// Starts it and waits until it serves. Throws std::runtime_error with its log when it does not.
  /// @param core     where its data thread is pinned; nothing: nowhere.
  /// @param options  further options of mserve-broker.
  OwnBroker(const std::string& path, shm::IdleStrategy idle, std::optional<int> core,
            const std::vector<std::string>& options = {});
  ~OwnBroker();
  OwnBroker(const OwnBroker&) = delete;
  OwnBroker& operator=(const OwnBroker&) = delete;

  /// Name and directory, to attach with.
  [[nodiscard]] TripOptions trip_options(std::size_t payload_bytes) const;

  /// A process of its own that echoes, see serve_echo(). Waits until it is attached.
  void start_echo_servant(const TripOptions& options);

  /// The end of what it has logged so far, at most 20 lines.
  [[nodiscard]] std::string said() const;

  [[nodiscard]] int pid() const noexcept { return broker_->pid(); }
  [[nodiscard]] const std::vector<std::unique_ptr<Child>>& servants() const noexcept {
    return servants_;
  }

 private:
  TempDir dir_;
  std::unique_ptr<Child> broker_;
  std::vector<std::unique_ptr<Child>> servants_;
};

}  // namespace mserve::bench
