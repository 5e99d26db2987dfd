// SPDX-License-Identifier: Apache-2.0
// What the tests of links share: brokers to link to, links as `mserve-qshim --peer` makes them, and
// links made by hand.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "system/way_setup.hpp"

namespace mserve::test {

/// A link to the broker `to`. Its patience is long, since a loaded machine may hold anybody up.
inline std::vector<std::string> to_peer(const Broker& to, const std::string& id,
                                        const std::string& tags = "",
                                        const std::string& heartbeat = "5") {
  return {"--peer",
          "--q",
          "127.0.0.1:" + std::to_string(to.port()),
          "--name",
          "peer-" + id,
          "--tags",
          "peer=" + id + " " + tags,
          "--tier",
          "1",
          "--heartbeat",
          heartbeat};
}

inline StandinOptions lbt() {
  StandinOptions options;
  options.form = Form::lbt;
  return options;
}

/// A broker with one q. One that speaks LBT's form can tell the options that it got, but its errors
/// are texts.
struct Site {
  explicit Site(std::vector<std::string> args = {}, StandinOptions options = lbt())
      : broker(with_gateway(std::move(args), 0)), q(broker, std::move(options)) {
    broker.wait_for_counter("servants", 1);
  }
  Broker broker;
  ServedQ q;
};

/// A link made by hand, attached.
inline RawPeer raw_link(const Broker& broker, const std::string& id, std::uint32_t servants,
                        std::uint32_t credit = 4) {
  RawPeer link(
      broker,
      {.role = shm::Role::servant, .name = "peer-" + id, .credit = credit, .tags = "peer=" + id});
  broker.wait_for_counter("servants", servants);
  return link;
}

/// The request that comes next at a servant made by hand.
inline Frame next_request(RawPeer& servant) {
  return servant.take().value_or(Frame{});
}

}  // namespace mserve::test
