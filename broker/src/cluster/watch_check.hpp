// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "cluster/etcd_messages.hpp"

namespace mserve::cluster {

/// Whether a watch tells what changes: pure, no I/O, no clock.
///
/// A connection may be silent without a fault: a proxy that lost its other side, an etcd that
/// hangs. etcd 3.4 offers nothing for that by its JSON gateway: what `progress_notify` asks for
/// comes every ten minutes, and `progress_request` wants a request that goes on, which HTTP/1.1 has
/// not. To list all every 10 s would be a tenth of what the watches themselves cost (3 MB/s of 200
/// hosts). So the newest revision and the number of keys are asked for, some 200 bytes, and all is
/// listed anew only if the watch has told less than that for a while. Threads: one.
class WatchCheck {
 public:
  /// A watch of the same keys begins behind this listing.
  void listed(const Listing& all);
  void told(const WatchAnswer& answer);

  enum class Verdict : std::uint8_t {
    fine,
    late,    ///< It may be on its way: ask again in a while.
    silent,  ///< What was late at the last look has not been told: list anew.
  };
  /// @param newest  what etcd says now. @param revision  up to which the watch has told.
  [[nodiscard]] Verdict judge(const Newest& newest, std::int64_t revision);
  /// The watch is about to be another: what was late counts for nothing.
  void forget() noexcept { late_.reset(); }

 private:
  std::set<std::string> keys_;  // kKeysMax of them
  std::int64_t unseen_ = 0;     // how many more etcd counts
  bool counted_ = false;        // whether that is known
  bool countable_ = false;      // whether it can be: there are no more than kKeysMax
  std::optional<Newest> late_;
};

}  // namespace mserve::cluster
