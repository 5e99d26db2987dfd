// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "own_broker.hpp"
#include "rtt_run.hpp"
#include "trips.hpp"

namespace mserve::bench {

/// What `--idle` means where it was not given.
[[nodiscard]] shm::IdleStrategy idle_of(const RttSettings& settings) noexcept;
/// The same of a broker with a gateway: its thread would never sleep where the data thread spins,
/// and takes the core on which we measure where there are but two.
[[nodiscard]] shm::IdleStrategy idle_of_gateway(const RttSettings& settings) noexcept;

/// The broker of a run. One of ours is started for each repetition and stopped after it, so that no
/// spinning thread is there while floor and probe are measured, and each repetition gets its own
/// memory; one that runs already stays attached all the time.
class BrokerSide {
 public:
  /// Mode running: attaches, and throws when that fails.
  explicit BrokerSide(const RttSettings& settings);

  /// What is measured beside plain round trips. Not in mode running.
  enum class Extra : std::uint8_t {
    none,
    stamps,   ///< Each request asks for the broker's stamps.
    watched,  ///< Others look at the broker meanwhile; mode pair only.
    gateway,  ///< The broker has a gateway that nobody uses, see idle_of_gateway(); mode pair only.
    cluster,  ///< As gateway, and it is in a cluster, with links both ways.
  };
  /// Starts what is needed, calls `use` on a thread pinned as the mode says, stops what it started.
  void with_trips(Extra extra, const std::function<void(Trips&)>& use);

  /// Mode running: process of the broker; else 0.
  [[nodiscard]] int broker_pid() const noexcept;

 private:
  void with_own_broker(Extra extra, const std::function<void(Trips&)>& use);

  const RttSettings& settings_;
  std::unique_ptr<Trips> running_;
};

}  // namespace mserve::bench
