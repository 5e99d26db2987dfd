// SPDX-License-Identifier: Apache-2.0
// A name server that does not answer.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "cluster/host_lookup.hpp"
#include "support/wait.hpp"

namespace mserve::test {

/// Hosts whose names begin with "silent" are not answered until answer(); all others are this one.
class SilentNames {
 public:
  ~SilentNames() {
    answer();
    wait_until_over();
  }

  [[nodiscard]] cluster::Resolver resolver() const {
    return [shared = shared_](const std::string& host) {
      std::unique_lock lock(shared->mutex);
      if (host.starts_with("silent")) {
        ++shared->asked;
        ++shared->waiting;
        shared->changed.wait(lock, [&] { return shared->answered; });
        --shared->waiting;
      }
      return cluster::HostAnswer{.addresses = {"127.0.0.1"}};
    };
  }
  /// How often one of those was asked for.
  [[nodiscard]] int asked() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->asked;
  }
  void answer() {
    const std::lock_guard lock(shared_->mutex);
    shared_->answered = true;
    shared_->changed.notify_all();
  }
  /// Until nobody waits for an answer any more.
  void wait_until_over() const {
    EXPECT_TRUE(wait_until(
        [this] {
          const std::lock_guard lock(shared_->mutex);
          return shared_->waiting == 0;
        },
        "the look-ups to be over"));
  }

 private:
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    bool answered = false;
    int asked = 0;
    int waiting = 0;
  };
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace mserve::test
