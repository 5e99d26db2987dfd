// SPDX-License-Identifier: Apache-2.0
#include "broker_side.hpp"

#include <string>

#include "interrupt.hpp"

namespace mserve::bench {
namespace {

constexpr const char* kBrokerName = "bench";

std::vector<std::string> broker_command(const Settings& settings, const std::string& directory) {
  std::vector<std::string> command = {
      settings.broker_path,         "--name",      kBrokerName, "--dir", directory, "--idle",
      to_string(idle_of(settings)), "--log-level", "warning"};
  if (settings.mode == Mode::pair || settings.pin) {
    command.insert(command.end(), {"--core", std::to_string(settings.cores.relaying)});
  }
  return command;
}

std::vector<std::string> echo_command(const Settings& settings, const std::string& directory) {
  std::vector<std::string> command = {own_path(),  "echo-servant",
                                      "--name",    kBrokerName,
                                      "--dir",     directory,
                                      "--idle",    to_string(idle_of(settings)),
                                      "--payload", std::to_string(settings.payload_bytes)};
  if (settings.pin) {
    command.insert(command.end(), {"--core", std::to_string(settings.cores.measuring)});
  }
  return command;
}

}  // namespace

shm::IdleStrategy idle_of(const Settings& settings) noexcept {
  return settings.idle.value_or(settings.mode == Mode::pair ? shm::IdleStrategy::spin
                                                            : shm::IdleStrategy::automatic);
}

BrokerSide::BrokerSide(const Settings& settings) : settings_(settings) {
  if (settings.mode == Mode::running) {
    running_ = attach_kdb_client(
        {settings.broker_name, settings.directory, settings.payload_bytes, idle_of(settings)});
  } else {
    dir_.emplace();
  }
}

int BrokerSide::broker_pid() const noexcept {
  return running_ ? running_->broker_pid() : 0;
}

void BrokerSide::with_trips(const std::function<void(Trips&)>& use) {
  if (running_) {
    use(*running_);
  } else {
    with_own_broker(use);
  }
}

void BrokerSide::with_own_broker(const std::function<void(Trips&)>& use) {
  const std::string& directory = dir_->path();
  const std::string log = directory + "/log";
  Child broker(broker_command(settings_, directory), log);
  if (interrupted()) {
    return;
  }
  const TripOptions options{kBrokerName, directory, settings_.payload_bytes, idle_of(settings_)};
  if (settings_.mode == Mode::pair) {
    const Pinned pinned(settings_.cores.measuring);
    const std::unique_ptr<Trips> trips = attach_pair(options);
    use(*trips);
    return;
  }
  Child servant(echo_command(settings_, directory), log);
  if (!interrupted()) {
    // Attached first: the idle strategy counts the cores that may be used.
    const std::unique_ptr<Trips> trips = attach_client(options);
    const PinnedIf pinned(settings_.pin, settings_.cores.measuring);
    use(*trips);
  }
}

}  // namespace mserve::bench
