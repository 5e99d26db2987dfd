// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mserve/client/client.hpp"
#include "mserve/client/query.hpp"
#include "support/raw_peer.hpp"
#include "support/wait.hpp"

namespace mserve::test {

/// Sends opaque bytes and waits for what comes back.
[[nodiscard]] inline Result<OwnedReply> call_opaque(Client& client,
                                                    std::span<const std::byte> payload,
                                                    SendOptions options = {}) {
  options.opaque = true;
  return client.call(payload, options, watchdog());
}

/// Expects that some servant sends these bytes back as they are.
inline void expect_echo(Client& client, std::span<const std::byte> payload) {
  const auto reply = call_opaque(client, payload);
  ASSERT_TRUE(reply) << to_string(reply.error().code) << ": " << client.last_failure();
  EXPECT_EQ(reply.value()->status, Errc::ok);
  EXPECT_TRUE(std::equal(reply.value()->payload.begin(), reply.value()->payload.end(),
                         payload.begin(), payload.end()))
      << payload.size() << " bytes";
}

/// The status that a request ends with: of its reply, or why it got none.
[[nodiscard]] inline Errc status_of(const Result<OwnedReply>& reply) {
  return reply ? reply.value()->status : reply.error().code;
}

/// Sends one opaque request; its id.
[[nodiscard]] inline std::uint64_t send_opaque(Client& client, std::span<const std::byte> payload,
                                               SendOptions options = {}) {
  options.opaque = true;
  const auto id = client.send(payload, options, watchdog());
  EXPECT_TRUE(id) << to_string(id.error().code);
  return id ? id.value() : 0;
}

/// Waits for the answer to one request; a status other than ok is an answer too.
[[nodiscard]] inline mserve::Reply await(Client& client, std::uint64_t id) {
  mserve::Reply reply;
  const Errc code = client.await(id, reply, watchdog());
  EXPECT_EQ(code, Errc::ok) << to_string(code);
  return reply;
}

/// qsvr of an info extension.
[[nodiscard]] inline std::string servant_of(const mserve::Reply& reply) {
  EXPECT_TRUE(reply.info.has_value());
  return reply.info ? std::string(reply.info->servant) : std::string();
}

}  // namespace mserve::test
