// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "child.hpp"

namespace mserve::bench {

/// Where an etcd is that can be started. @param given  its path, or a name to look for on PATH.
/// Throws CannotMeasure, with the package that has it, when there is none.
[[nodiscard]] std::string etcd_path_of(const std::string& given);

/// An etcd of one node on loopback, with its data in a directory of its own.
class OwnEtcd {
 public:
  /// Starts it and waits until it answers. Throws std::runtime_error with its log when it does not.
  explicit OwnEtcd(const std::string& path);

  /// What `mserve-broker --cluster` takes.
  [[nodiscard]] const std::string& url() const noexcept { return url_; }
  [[nodiscard]] int pid() const noexcept { return etcd_.pid(); }

 private:
  TempDir dir_;
  std::string port_;
  std::string url_;
  Child etcd_;
};

}  // namespace mserve::bench
