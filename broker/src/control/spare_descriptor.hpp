// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>

#include "mserve/shm/unique_fd.hpp"

namespace mserve::broker {

/// A descriptor that is kept back. When the process has no other left, giving it up makes room for
/// one connection: long enough to take it and tell it so, instead of leaving it to wait for ever.
class SpareDescriptor {
 public:
  SpareDescriptor() noexcept { take_back(); }

  /// @return false when there is none: it was given up before and could not be had back.
  [[nodiscard]] bool give_up() noexcept {
    const bool had = static_cast<bool>(fd_);
    fd_.reset();
    return had;
  }
  void take_back() noexcept {
    if (!fd_) {
      fd_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    }
  }

 private:
  shm::UniqueFd fd_;
};

}  // namespace mserve::broker
