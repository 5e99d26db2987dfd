// SPDX-License-Identifier: Apache-2.0
#include "watchers.hpp"

#include <chrono>
#include <string_view>
#include <vector>

#include "cores.hpp"
#include "waiting.hpp"

namespace mserve::bench {
namespace {

using namespace std::chrono_literals;

constexpr auto kEvery = 100ms;
constexpr auto kServesWithin = 10s;

std::vector<std::string> stat_command(const TripOptions& broker, std::vector<std::string> what) {
  std::vector<std::string> command = {find_tool("mserve-stat"), "--name", broker.broker, "--dir",
                                      broker.directory};
  command.insert(command.end(), what.begin(), what.end());
  return command;
}

/// The port behind "http://127.0.0.1:" in what `serve` said; empty while it has said nothing.
std::string port_in(const std::string& said) {
  constexpr std::string_view kUrlStart = "http://127.0.0.1:";
  const std::size_t found = said.find(kUrlStart);
  if (found == std::string::npos) {
    return {};
  }
  const std::size_t from = found + kUrlStart.size();
  const std::size_t end = said.find_first_not_of("0123456789", from);
  return end != std::string::npos ? said.substr(from, end - from) : "";
}

/// @return false: no answer, or another than a page of counters.
bool fetch(const std::string& port) {
  const std::string answer = http_get(port, "/metrics");
  return answer.starts_with("HTTP/1.1 200") && answer.find("\nmserve_") != std::string::npos;
}

/// Starts what lives as long as this on a core.
Child started_on(int core, std::vector<std::string> command, const std::string& log) {
  const Pinned pinned(core);
  return Child(std::move(command), log, Child::Ready::not_at_all);
}

}  // namespace

Watchers::Watchers(const TripOptions& broker, int core)
    : top_(started_on(core, stat_command(broker, {"top", "--json", "--interval", "0.1"}),
                      dir_.path() + "/top")),
      serve_(started_on(core, stat_command(broker, {"serve", "--port", "0"}),
                        dir_.path() + "/serve")) {
  const std::string log = dir_.path() + "/serve";
  const auto fault = [&log] { return "mserve-stat serve does not serve: " + contents_of(log); };
  wait_for(
      kServesWithin, [&] { return !(port_ = port_in(contents_of(log))).empty(); }, fault);
  wait_for(
      kServesWithin, [&] { return fetch(port_); }, fault);
  fetching_ = std::thread([this, core] { fetch_again_and_again(core); });
}

Watchers::~Watchers() {
  over_.store(true, std::memory_order_relaxed);
  fetching_.join();
}

void Watchers::fetch_again_and_again(int core) {
  (void)pin_to(core);
  auto due = std::chrono::steady_clock::now();
  while (!over_.load(std::memory_order_relaxed)) {
    fetched_.fetch_add(fetch(port_) ? 1 : 0, std::memory_order_relaxed);
    due += kEvery;
    std::this_thread::sleep_until(due);
  }
}

}  // namespace mserve::bench
