// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "figures.hpp"
#include "hosts_change.hpp"
#include "hosts_sim.hpp"

namespace mserve::bench {

/// What it costs that everybody knows of everybody, and has a link to everybody.
struct HostsCosts {
  std::uint64_t links = 0;             ///< One for each ordered pair of hosts, a process each.
  std::uint64_t heartbeats_per_s = 0;  ///< Messages, question and answer, of all links.
  double messages_per_request = 0;     ///< Between hosts, without heartbeats.
  std::uint64_t writes_per_s = 0;      ///< To etcd, at most.
  std::uint64_t events_per_s = 0;      ///< From etcd to all that watch, at most.
  std::uint64_t event_bytes = 0;       ///< Of one of them.
};
[[nodiscard]] HostsCosts costs_of(const HostsResult& result);

/// What etcd's JSON gateway tells a watcher of one change of a broker's key.
[[nodiscard]] std::string watch_event_sample();

/// What stands above the figures.
void print_heading(std::FILE* out, const HostsSettings& settings);
/// One column for each cluster.
void print_table(std::FILE* out, std::span<const HostsResult> results);
/// One column for each change: how many requests found their route at hand, and homes that moved.
void print_changes(std::FILE* out, std::span<const HostsChange> changes);
/// Everything as one JSON document.
[[nodiscard]] std::string to_json(const HostsSettings& settings,
                                  std::span<const HostsResult> results,
                                  std::span<const HostsChange> changes);
/// How long requests waited, and the shares, with a row for each cluster; then the requests that
/// found their route at hand, with three rows for each change.
[[nodiscard]] std::vector<Section> sections_of(std::span<const HostsResult> results,
                                               std::span<const HostsChange> changes);

}  // namespace mserve::bench
