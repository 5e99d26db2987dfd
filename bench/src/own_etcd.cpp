// SPDX-License-Identifier: Apache-2.0
#include "own_etcd.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "kdb_peer.hpp"
#include "subcommand.hpp"
#include "waiting.hpp"

namespace mserve::bench {
namespace {

constexpr auto kAnswersWithin = std::chrono::seconds(60);

std::vector<std::string> etcd_command(const std::string& path, const std::string& directory,
                                      const std::string& url) {
  const std::string peers = "http://127.0.0.1:" + std::to_string(free_port());
  // Alone it elects itself, and need not wait for others for a second before.
  return {path,
          "--heartbeat-interval",
          "20",
          "--election-timeout",
          "100",
          "--data-dir",
          directory + "/data",
          "--listen-client-urls",
          url,
          "--advertise-client-urls",
          url,
          "--listen-peer-urls",
          peers,
          "--initial-advertise-peer-urls",
          peers,
          "--initial-cluster",
          "default=" + peers};
}

}  // namespace

std::string etcd_path_of(const std::string& given) {
  if (given.find('/') != std::string::npos) {
    if (access(given.c_str(), X_OK) == 0) {
      return given;
    }
    throw CannotMeasure("there is no etcd at " + given + ", or it cannot be executed");
  }
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (const std::string found = folder + "/" + given; access(found.c_str(), X_OK) == 0) {
      return found;
    }
  }
  throw CannotMeasure("there is no " + given +
                      " on PATH, which brokers of a cluster find one another in: apt-get install "
                      "etcd-server, or say where it is");
}

OwnEtcd::OwnEtcd(const std::string& path)
    : port_(std::to_string(free_port())),
      url_("http://127.0.0.1:" + port_),
      etcd_(etcd_command(path, dir_.path(), url_), dir_.path() + "/log", Child::Ready::not_at_all) {
  const std::string log = dir_.path() + "/log";
  wait_for(
      kAnswersWithin,
      [&] {
        if (has_ended(etcd_.pid())) {
          throw std::runtime_error("etcd ended: " + contents_of(log));
        }
        return http_get(port_, "/health").find(R"("health":"true")") != std::string::npos;
      },
      [&] { return "etcd does not answer: " + contents_of(log); });
}

}  // namespace mserve::bench
