// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

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

  /// Where the session goes: a broker's name, or `tcp://host:port`.
  [[nodiscard]] virtual const std::string& endpoint() const noexcept = 0;
  /// True for a gateway: check() moves bytes, so it is called on every pass; replies are a
  /// gateway's answers; and neither opaque bytes nor anything but kdb+ objects can be sent.
  [[nodiscard]] virtual bool remote() const noexcept { return false; }
};

/// Makes a session within `attach_ns`. `reason` may be null; it receives what failed, also when
/// something else then worked.
using LinkFactory =
    std::function<Result<std::unique_ptr<Link>>(std::uint64_t attach_ns, std::string* reason)>;

/// Sessions with the broker called `name` on this host.
[[nodiscard]] LinkFactory attach_to_broker(const ClientOptions& options, const std::string& name);

/// Where a core gets its sessions from.
struct LinkSource {
  LinkSource() = default;
  LinkSource(LinkFactory one) : any(std::move(one)) {}  // NOLINT: implicit by design

  /// The next session, wherever there is one.
  LinkFactory any;
  /// The local broker, if `any` may lead elsewhere: tried now and then to get back to it.
  LinkFactory home;
  /// Repeatable requests are kept, to be sent again when a session was lost.
  bool keep_copies = false;
  /// ClientOptions::user, or the name that the system knows this user by; may be empty.
  std::string user;
};

/// Sessions as `options` (validated) lists them: the local broker first, else the TCP endpoints in
/// order. Failures name each of them and say why.
[[nodiscard]] LinkSource links_of(const ClientOptions& options);

}  // namespace mserve
