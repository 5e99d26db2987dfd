// SPDX-License-Identifier: Apache-2.0
#include "broker_side.hpp"

#include <optional>
#include <stdexcept>

#include "cluster_side.hpp"
#include "interrupt.hpp"
#include "kdb_peer.hpp"
#include "watchers.hpp"

namespace mserve::bench {
shm::IdleStrategy idle_of(const RttSettings& settings) noexcept {
  return settings.idle.value_or(settings.mode == Mode::pair ? shm::IdleStrategy::spin
                                                            : shm::IdleStrategy::automatic);
}

shm::IdleStrategy idle_of_gateway(const RttSettings& settings) noexcept {
  return settings.idle.value_or(shm::IdleStrategy::automatic);
}

BrokerSide::BrokerSide(const RttSettings& settings) : settings_(settings) {
  if (settings.mode == Mode::running) {
    running_ = attach_kdb_client(
        {settings.broker_name, settings.directory, settings.payload_bytes, idle_of(settings)});
  }
}

int BrokerSide::broker_pid() const noexcept {
  return running_ ? running_->broker_pid() : 0;
}

void BrokerSide::with_trips(Extra extra, const std::function<void(Trips&)>& use) {
  if (running_) {
    use(*running_);
  } else {
    with_own_broker(extra, use);
  }
}

void BrokerSide::with_own_broker(Extra extra, const std::function<void(Trips&)>& use) {
  const bool pinned_broker = settings_.mode == Mode::pair || settings_.pin;
  // It shares our core, not that of the broker's data thread, as watchers do.
  std::optional<ClusterSide> cluster;
  if (extra == Extra::cluster) {
    cluster.emplace(settings_.etcd_path, settings_.broker_path, settings_.cores.measuring);
  }
  if (interrupted()) {
    return;
  }
  const bool gateway = extra == Extra::gateway || extra == Extra::cluster;
  const shm::IdleStrategy idle = gateway ? idle_of_gateway(settings_) : idle_of(settings_);
  const std::vector<std::string> further =
      cluster   ? cluster->options_of_measured()
      : gateway ? gateway_options(free_port(), settings_.cores.measuring)
                : std::vector<std::string>{};
  OwnBroker broker(settings_.broker_path, idle,
                   pinned_broker ? std::optional(settings_.cores.relaying) : std::nullopt, further);
  if (cluster) {
    ClusterSide::wait_for_link(broker);
  }
  if (interrupted()) {
    return;
  }
  TripOptions options = broker.trip_options(settings_.payload_bytes);
  options.idle = idle_of(settings_);
  options.want_info = extra == Extra::stamps;
  if (settings_.mode == Mode::pair) {
    // They share our core, not the broker's: whoever looks has no business there.
    std::optional<Watchers> watchers;
    if (extra == Extra::watched) {
      watchers.emplace(options, settings_.cores.measuring);
    }
    const Pinned pinned(settings_.cores.measuring);
    const std::unique_ptr<Trips> trips = attach_pair(options);
    if (cluster) {
      cluster->wait_for_link_back();
    }
    use(*trips);
    if (watchers && watchers->fetched() == 0 && !interrupted()) {
      throw std::runtime_error("nobody could look at the broker while it was measured");
    }
    return;
  }
  options.core = settings_.pin ? settings_.cores.measuring : -1;
  broker.start_echo_servant(options);
  if (!interrupted()) {
    // Attached first: the idle strategy counts the cores that may be used.
    const std::unique_ptr<Trips> trips = attach_client(options);
    const PinnedIf pinned(settings_.pin, settings_.cores.measuring);
    use(*trips);
  }
}

}  // namespace mserve::bench
