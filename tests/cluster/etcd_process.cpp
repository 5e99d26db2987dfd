// SPDX-License-Identifier: Apache-2.0
#include "cluster/etcd_process.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "support/test_gateway.hpp"
#include "support/wait.hpp"

namespace mserve::test {

namespace {

bool on_path(const std::string& name) {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (access((folder + "/" + name).c_str(), X_OK) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool etcd_is_here() {
  return on_path("etcd") && on_path("etcdctl");
}

Etcd::Etcd(EtcdTls tls)
    : tls_(std::move(tls)),
      port_(unused_port()),
      peer_port_(unused_port()),
      url_((tls_.cert.empty() ? "http://127.0.0.1:" : "https://127.0.0.1:") +
           std::to_string(port_)) {
  start();
}

std::vector<std::string> Etcd::ctl_flags() const {
  std::vector<std::string> flags{"etcdctl", "--endpoints", url_};
  if (!tls_.cert.empty()) {
    flags.insert(flags.end(), {"--cacert", tls_.cert, "--cert", tls_.cert, "--key", tls_.key});
  }
  return flags;
}

void Etcd::start() {
  const std::string peer = "http://127.0.0.1:" + std::to_string(peer_port_);
  std::vector<std::string> argv{"etcd",
                                "--data-dir",
                                dir_.file("data"),
                                "--listen-client-urls",
                                url_,
                                "--advertise-client-urls",
                                url_,
                                "--listen-peer-urls",
                                peer,
                                "--initial-advertise-peer-urls",
                                peer,
                                "--initial-cluster",
                                "default=" + peer};
  if (!tls_.cert.empty()) {
    argv.insert(argv.end(), {"--cert-file", tls_.cert, "--key-file", tls_.key, "--trusted-ca-file",
                             tls_.cert, "--client-cert-auth"});
  }
  process_ = Process(Spawn{.argv = std::move(argv), .stderr_path = dir_.file("log")});
  EXPECT_TRUE(wait_until(
      [this] {
        std::vector<std::string> asked = ctl_flags();
        asked.insert(asked.end(), {"endpoint", "health"});
        return run_to_end(std::move(asked), {{"ETCDCTL_API", "3"}}).exit_code == 0;
      },
      "etcd to answer"))
      << read_file(dir_.file("log"));
}

void Etcd::kill() {
  process_.end();
}

std::string Etcd::ctl(std::vector<std::string> args) const {
  const std::vector<std::string> flags = ctl_flags();
  args.insert(args.begin(), flags.begin(), flags.end());
  const Output output = run_to_end(std::move(args), {{"ETCDCTL_API", "3"}});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  return output.out;
}

std::string Etcd::get(const std::string& key) const {
  return ctl({"get", "--print-value-only", key});
}

void Etcd::put(const std::string& key, const std::string& value) const {
  (void)ctl({"put", key, value});
}

void Etcd::remove(const std::string& key) const {
  (void)ctl({"del", key});
}

}  // namespace mserve::test
