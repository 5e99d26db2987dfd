// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stat/serve/options.hpp"
#include "stat/serve/watch.hpp"

// What `mserve-stat serve` says to a request: no socket here.
namespace mserve::stat {

/// A request, as it came. Hostile bytes.
struct Ask {
  std::string_view method;
  std::string_view target;
  std::string_view host;  ///< The header; empty: there was none.
};

struct Answer {
  unsigned status = 200;
  std::string body;
  /// Content-Type and what else belongs to this one; without Content-Length.
  std::vector<std::pair<const char*, std::string>> headers{};
};

/// An answer of one line of text.
[[nodiscard]] Answer plain_answer(unsigned status, std::string text);

/// Whether requests for `host`, with or without a port, are meant for this server: a page of
/// somebody else, whose name was made to lead here (DNS rebinding), sends its own name. Addresses,
/// `localhost` and `names` are ours, whatever their case.
[[nodiscard]] bool is_our_host(std::string_view host, const std::vector<std::string>& names);

/// Threads: one.
class Answers {
 public:
  /// @param watch  outlives this.
  Answers(Watch& watch, ServeOptions options);

  /// Answers any request; see `mserve-stat serve --help`. Waits Watch::kWaitNs at most.
  [[nodiscard]] Answer answer(const Ask& ask);
  /// What HAProxy's agent-check is told of the broker, one line: `ready up` while it serves (the
  /// first word undoes an earlier drain), `drain` once it is to shut down, else `down`.
  [[nodiscard]] std::string agent_line();

 private:
  struct Query;

  [[nodiscard]] Answer page() const;
  [[nodiscard]] Answer health();
  [[nodiscard]] Answer metrics();
  [[nodiscard]] Answer api(std::string_view name, const Query& query);
  [[nodiscard]] Answer asked(shm::Verb verb, std::uint32_t count);
  [[nodiscard]] Answer latency(std::uint64_t servant);
  [[nodiscard]] Answer all(std::uint64_t after) const;
  [[nodiscard]] std::string status_json() const;

  Watch& watch_;
  ServeOptions options_;
  std::uint64_t looks_ = 0;
  std::uint64_t drained_epoch_ = 0;  ///< Of the last broker that was seen to shut down.
};

}  // namespace mserve::stat
