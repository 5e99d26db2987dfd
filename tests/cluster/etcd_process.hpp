// SPDX-License-Identifier: Apache-2.0
// A real etcd on loopback, and what stands between it and whoever talks to it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support/process.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {

/// Whether etcd and etcdctl are on PATH.
[[nodiscard]] bool etcd_is_here();

/// A certificate and its key; whoever has them is trusted.
struct EtcdTls {
  std::string cert{};
  std::string key{};
};

/// One node at free ports, with its data in a directory of its own. Ended by its pid.
class Etcd {
 public:
  /// Starts it and waits until it answers. @param tls  given: it speaks TLS alone, and asks for a
  /// certificate.
  explicit Etcd(EtcdTls tls = {});
  Etcd(const Etcd&) = delete;
  Etcd& operator=(const Etcd&) = delete;

  [[nodiscard]] const std::string& url() const noexcept { return url_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
  /// SIGKILL.
  void kill();
  /// Again, with the same data at the same ports.
  void start();

  /// etcdctl, which must work. @return what it prints.
  std::string ctl(std::vector<std::string> args) const;
  /// The value of a key; empty: there is none.
  [[nodiscard]] std::string get(const std::string& key) const;
  void put(const std::string& key, const std::string& value) const;
  void remove(const std::string& key) const;

 private:
  /// What etcdctl needs to reach it.
  [[nodiscard]] std::vector<std::string> ctl_flags() const;

  TempDir dir_;
  EtcdTls tls_;
  std::uint16_t port_ = 0;
  std::uint16_t peer_port_ = 0;
  std::string url_;
  Process process_;
};

}  // namespace mserve::test
