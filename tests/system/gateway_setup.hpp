// SPDX-License-Identifier: Apache-2.0
// What the tests of the gateway share: brokers with one, clients at it, servants made by hand.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/message.hpp"
#include "mserve/kdb/value.hpp"
#include "standin/raw_client.hpp"
#include "support/raw_peer.hpp"
#include "support/wait.hpp"

namespace mserve::test {

using kdb::MessageKind;
using kdb::Value;

/// Which thread serves the connections is the machine's business, unless MSERVE_TEST_GATEWAY_THREAD
/// says so.
inline BrokerSetup with_gateway(std::vector<std::string> args = {}, int servants = 2) {
  const char* const thread = std::getenv("MSERVE_TEST_GATEWAY_THREAD");
  if (thread != nullptr && std::find(args.begin(), args.end(), "--gateway-thread") == args.end()) {
    args.insert(args.end(), {"--gateway-thread", thread});
  }
  BrokerSetup setup;
  setup.args = std::move(args);
  setup.servants = servants;
  setup.servant_args = "--rows 1000";
  setup.gateway = true;
  return setup;
}

/// A client whose handshake is done.
inline RawClient connect(const Broker& broker, std::uint8_t capability = 3) {
  RawClient client = RawClient::tcp(broker.port());
  EXPECT_EQ(client.handshake("bob:pw", capability), std::min<std::uint8_t>(capability, 6));
  return client;
}

/// What is said at a port to whoever sends `bytes`, until it is closed; empty: nobody listens.
inline std::string said_at(std::uint16_t port, const std::string& bytes) {
  RawClient client = RawClient::tcp(port);
  if (!client.connected() || (!bytes.empty() && !client.send_text(bytes))) {
    return {};
  }
  constexpr std::size_t kMost = 4096;
  const std::vector<std::byte> said = client.receive_bytes(kMost);
  return {reinterpret_cast<const char*>(said.data()), said.size()};
}

/// The status and the body of what /healthz says: `200 ok`.
inline std::string health_of(std::uint16_t port) {
  const std::string answer = said_at(port, "GET /healthz HTTP/1.0\r\n\r\n");
  const std::size_t body = answer.find("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.1 ") || body == std::string::npos) {
    return answer;
  }
  return answer.substr(9, 4) + answer.substr(body + 4, answer.size() - body - 5);
}

inline Value text(const std::string& value) {
  return Value::chars(value);
}
inline Value list(std::vector<Value> items) {
  return Value::list(std::move(items));
}

/// Sends as LBT's clients do.
inline void send_with_id(RawClient& client, int id, const std::string& query) {
  EXPECT_TRUE(client.send(list({Value::int_atom(id), text(query)}), MessageKind::async));
}

/// The answer of a servant made by hand: an encoded object.
inline bool answer(RawPeer& servant, std::uint64_t id, std::span<const std::byte> object) {
  shm::FrameHeader head;
  head.kind = shm::Kind::reply;
  head.id = id;
  head.aux = shm::pack(shm::ReplyAux{servant.welcome().servant, 0});
  return servant.send(head, {}, object);
}

}  // namespace mserve::test
