// SPDX-License-Identifier: Apache-2.0
// mserve-cluster beside a broker, with links that do nothing but say how they were started.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "support/broker_process.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

namespace mserve::test {

/// The state file of a broker; null while there is none.
inline boost::json::value cluster_state(const Broker& broker) {
  boost::json::error_code fault;
  const std::string text = read_file(broker.directory() + "/" + broker.name() + ".cluster.json");
  boost::json::value value = boost::json::parse(text, fault);
  return fault ? boost::json::value() : value;
}

/// What it says of a peer; null where there is none.
inline boost::json::value peer_in(const boost::json::value& state, const std::string& id) {
  if (state.is_object()) {
    for (const boost::json::value& peer : state.at("peers").as_array()) {
      if (peer.at("id").as_string() == id) {
        return peer;
      }
    }
  }
  return {};
}

/// Something inside, by keys with dots between; null where there is none.
inline boost::json::value inside(boost::json::value value, const std::string& path) {
  std::istringstream keys(path);
  for (std::string key; std::getline(keys, key, '.');) {
    const boost::json::value* const found =
        value.is_object() ? value.as_object().if_contains(key) : nullptr;
    if (found == nullptr) {
      return {};
    }
    boost::json::value next = *found;
    value = std::move(next);
  }
  return value;
}

class Member {
 public:
  /// Starts it. @param args  beside --name, --dir, --cluster-id, --advertise and --shim.
  Member(const Broker& broker, const std::string& id, const std::string& url,
         std::vector<std::string> args = {}, std::map<std::string, std::string> env = {})
      : broker_(broker) {
    const std::string shim = dir_.file("shim");
    std::ofstream(shim) << "#!/bin/sh\necho \"$$ $*\" >>'" << dir_.file("links")
                        << "'\nexec sleep 1000\n";
    std::filesystem::permissions(shim, std::filesystem::perms::owner_all);
    argv_ = {program("mserve-cluster"), "--cluster", url, "--cluster-id", id, "--advertise",
             "host-" + id + ":5000",    "--shim",    shim};
    argv_.insert(argv_.end(), args.begin(), args.end());
    env_ = broker.env();
    env_.insert(env.begin(), env.end());
    start();
  }
  ~Member() {
    process_.end();
    // Links end with whoever started them.
    EXPECT_TRUE(wait_until([this] { return links_that_run().empty(); }, "the links to end"));
    const std::string text = log();
    for (const char* const fault :
         {"Sanitizer", "runtime error:", "terminate called", "assertion"}) {
      EXPECT_EQ(text.find(fault), std::string::npos) << text;
    }
    if (::testing::Test::HasFailure()) {
      std::cerr << "--- log of mserve-cluster\n" << text << "---\n";
    }
  }
  Member(const Member&) = delete;
  Member& operator=(const Member&) = delete;

  void start() {
    process_ = Process(Spawn{.argv = argv_, .env = env_, .stderr_path = dir_.file("log")});
  }
  [[nodiscard]] Process& process() noexcept { return process_; }
  [[nodiscard]] std::string log() const { return read_file(dir_.file("log")); }
  [[nodiscard]] std::size_t count(const std::string& text) const {
    std::istringstream lines(log());
    std::size_t count = 0;
    for (std::string line; std::getline(lines, line);) {
      count += line.find(text) != std::string::npos ? 1 : 0;
    }
    return count;
  }
  void wait_for_log(const std::string& text, std::size_t times = 1) const {
    EXPECT_TRUE(wait_until([&] { return count(text) >= times; }, "the log to say " + text));
  }
  [[nodiscard]] boost::json::value state() const { return cluster_state(broker_); }
  /// Waits until something in what is known of a peer has a value.
  void wait_for_peer(const std::string& id, const std::string& path,
                     const boost::json::value& wanted) const {
    EXPECT_TRUE(wait_until([&] { return inside(peer_in(state(), id), path) == wanted; },
                           id + ": " + path + " to be " + boost::json::serialize(wanted)))
        << boost::json::serialize(state());
  }
  void wait_for_etcd(const std::string& path, const boost::json::value& wanted) const {
    EXPECT_TRUE(wait_until([&] { return inside(state(), "etcd." + path) == wanted; },
                           path + " to be " + boost::json::serialize(wanted)))
        << boost::json::serialize(state());
  }
  void wait_until_gone(const std::string& id) const {
    EXPECT_TRUE(wait_until([&] { return state().is_object() && peer_in(state(), id).is_null(); },
                           id + " to be gone"));
  }
  /// The link that runs to a peer.
  [[nodiscard]] pid_t link_to(const std::string& id) const {
    const boost::json::value pid = inside(peer_in(state(), id), "link.pid");
    return pid.is_int64() ? static_cast<pid_t>(pid.as_int64()) : 0;
  }
  /// How the links were started, first to last; each begins with its pid.
  [[nodiscard]] std::vector<std::string> links() const {
    std::istringstream lines(read_file(dir_.file("links")));
    std::vector<std::string> all;
    for (std::string line; std::getline(lines, line);) {
      all.push_back(line);
    }
    return all;
  }
  /// Waits for a link with these words in its command line.
  void wait_for_link(const std::string& words) const {
    EXPECT_TRUE(wait_until(
        [&] {
          const auto all = links();
          return std::any_of(all.begin(), all.end(), [&](const std::string& line) {
            return line.find(words) != std::string::npos;
          });
        },
        "a link with " + words))
        << read_file(dir_.file("links"));
  }

 private:
  [[nodiscard]] std::vector<pid_t> links_that_run() const {
    std::vector<pid_t> pids;
    for (const std::string& line : links()) {
      const auto pid = static_cast<pid_t>(std::stol(line));
      if (!gone(pid)) {
        pids.push_back(pid);
      }
    }
    return pids;
  }

  const Broker& broker_;
  TempDir dir_;
  std::vector<std::string> argv_;
  std::map<std::string, std::string> env_;
  Process process_;
};

}  // namespace mserve::test
