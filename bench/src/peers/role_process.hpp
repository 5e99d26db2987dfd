// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "forked.hpp"
#include "peers/peer.hpp"

namespace mserve::bench {

/// A relay or servant of ours: a copy of this process, so that it inherits its ends, which dies
/// with us, however we die.
class RoleProcess final : public Relay {
 public:
  /// @param body  told to call its argument once it can be used; what it throws is printed. It
  ///              should not return.
  /// The caller must be the only thread of its process. Returns when the body is ready, or when
  /// interrupted(). Throws std::runtime_error when it ends before or is not ready after 30 s.
  RoleProcess(std::string name, const std::function<void(const std::function<void()>&)>& body);

  [[nodiscard]] bool ended() override;

 private:
  void wait_until_ready(int ready);

  std::string name_;
  std::unique_ptr<Forked> process_;
};

/// A relay of ours: runs `body` pinned as the options say. With setting.free_threads it is pinned
/// only once it is ready.
[[nodiscard]] std::unique_ptr<Relay> fork_relay(
    const std::string& name, const PeerOptions& options,
    const std::function<void(const std::function<void()>& ready)>& body);

}  // namespace mserve::bench
