// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "child.hpp"
#include "peers/peer.hpp"

namespace mserve::bench {

/// A relay that is a program of its own.
class ChildRelay final : public Relay {
 public:
  /// As Child.
  ChildRelay(std::vector<std::string> command, const std::string& log, Child::Ready how)
      : process_(std::move(command), log, how) {}

  [[nodiscard]] bool ended() override { return has_ended(process_.pid()); }

 private:
  Child process_;
};

}  // namespace mserve::bench
