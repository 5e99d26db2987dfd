// SPDX-License-Identifier: Apache-2.0
#include "own_broker.hpp"

namespace mserve::bench {
namespace {

constexpr int kLinesShown = 20;

std::vector<std::string> broker_command(const std::string& path, const std::string& directory,
                                        shm::IdleStrategy idle, std::optional<int> core,
                                        const std::vector<std::string>& options) {
  std::vector<std::string> command = {path,     "--name",        kBrokerName,   "--dir",  directory,
                                      "--idle", to_string(idle), "--log-level", "warning"};
  if (core) {
    command.insert(command.end(), {"--core", std::to_string(*core)});
  }
  command.insert(command.end(), options.begin(), options.end());
  return command;
}

}  // namespace

OwnBroker::OwnBroker(const std::string& path, shm::IdleStrategy idle, std::optional<int> core,
                     const std::vector<std::string>& options)
    : broker_(std::make_unique<Child>(broker_command(path, dir_.path(), idle, core, options),
                                      dir_.path() + "/log")) {}

OwnBroker::~OwnBroker() {
  while (!servants_.empty()) {
    servants_.pop_back();
  }
}

TripOptions OwnBroker::trip_options(std::size_t payload_bytes) const {
  TripOptions options;
  options.broker = kBrokerName;
  options.directory = dir_.path();
  options.payload_bytes = payload_bytes;
  return options;
}

std::string OwnBroker::said() const {
  std::string log = contents_of(dir_.path() + "/log");
  std::size_t from = log.size();
  for (int i = 0; i <= kLinesShown && from != std::string::npos && from > 0; ++i) {
    from = log.rfind('\n', from - 1);
  }
  return from == std::string::npos || from == 0 ? log : log.substr(from + 1);
}

void OwnBroker::start_echo_servant(const TripOptions& options) {
  std::vector<std::string> command = {own_path(),  "echo-servant",
                                      "--name",    options.broker,
                                      "--dir",     options.directory,
                                      "--idle",    to_string(options.idle),
                                      "--payload", std::to_string(options.payload_bytes),
                                      "--credit",  std::to_string(options.credit)};
  if (options.core >= 0) {
    command.insert(command.end(), {"--core", std::to_string(options.core)});
  }
  servants_.push_back(std::make_unique<Child>(std::move(command), dir_.path() + "/log"));
}

}  // namespace mserve::bench
