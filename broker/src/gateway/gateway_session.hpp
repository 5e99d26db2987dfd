// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "mserve/shm/attachment.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/ring.hpp"

namespace mserve::broker {

/// One session as GatewayLink sees it: three rings, and a few calls that are rare. The rings are
/// used directly, so that no virtual call lies on the way of a message; a test fills some in its
/// own memory. Everything means what it means in shm::Attachment. Threads: one at a time.
class GatewaySession {
 public:
  GatewaySession() = default;
  GatewaySession(const GatewaySession&) = delete;
  GatewaySession& operator=(const GatewaySession&) = delete;
  virtual ~GatewaySession() = default;

  [[nodiscard]] virtual shm::RingProducer& outgoing() noexcept = 0;
  [[nodiscard]] virtual shm::RingConsumer& incoming() noexcept = 0;
  [[nodiscard]] virtual shm::RingProducer& control() noexcept = 0;
  [[nodiscard]] virtual const shm::SessionInfo& info() const noexcept = 0;
  virtual void wake_broker() noexcept = 0;
  [[nodiscard]] virtual bool prepare_sleep() noexcept = 0;
  [[nodiscard]] virtual Errc finish_sleep() noexcept = 0;
  [[nodiscard]] virtual Errc check() noexcept = 0;
  [[nodiscard]] virtual std::string closing_reason() const = 0;
  [[nodiscard]] virtual int fd() const noexcept = 0;
};

/// Attaches to the broker (this process itself) as its gateway. Blocks for the handshake.
/// @param reason  one sentence when it fails.
[[nodiscard]] Result<std::unique_ptr<GatewaySession>> attach_gateway(
    const shm::AttachOptions& options, std::string& reason);

}  // namespace mserve::broker
