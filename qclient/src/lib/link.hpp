// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "mserve/client/options.hpp"
#include "mserve/shm/attachment.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/ring.hpp"

namespace mserve {

/// One session as ClientCore sees it: three rings, and a few calls that are rare. The rings are
/// used directly, so that a virtual call never lies on the way of a message; what is not in rings
/// (another transport, a peer played by a test) fills some of its own.
class Link {
 public:
  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  virtual ~Link() = default;

  [[nodiscard]] virtual shm::RingProducer& outgoing() noexcept = 0;
  [[nodiscard]] virtual shm::RingConsumer& incoming() noexcept = 0;
  [[nodiscard]] virtual shm::RingProducer& control() noexcept = 0;
  [[nodiscard]] virtual const shm::SessionInfo& info() const noexcept = 0;

  // The rest means what it means in shm::Attachment.
  virtual void wake_broker() noexcept = 0;
  [[nodiscard]] virtual Errc wait(std::uint64_t deadline_ns) noexcept = 0;
  [[nodiscard]] virtual bool prepare_sleep() noexcept = 0;
  [[nodiscard]] virtual Errc finish_sleep() noexcept = 0;
  [[nodiscard]] virtual Errc check() noexcept = 0;
  [[nodiscard]] virtual std::string closing_reason() const = 0;
  [[nodiscard]] virtual int fd() const noexcept = 0;
};

/// Makes a session within `attach_ns`. `reason` may be null.
using LinkFactory =
    std::function<Result<std::unique_ptr<Link>>(std::uint64_t attach_ns, std::string* reason)>;

/// Sessions with the broker that `options` (validated) names.
[[nodiscard]] LinkFactory attach_to_broker(const ClientOptions& options);

}  // namespace mserve
