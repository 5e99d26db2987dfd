// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cores.hpp"
#include "ends.hpp"
#include "mserve/shm/histogram.hpp"
#include "timer.hpp"

namespace mserve::bench {

/// Gaps between arrivals, in units of their mean; used round and round.
[[nodiscard]] std::vector<double> poisson_gaps(std::uint64_t seed);
[[nodiscard]] std::vector<double> even_gaps();

/// A client that keeps several requests under way; in pair mode also the servant that answers them,
/// on the same thread. Failures are thrown as std::runtime_error.
class Load {
 public:
  /// Attaches. @param with_servant  pair mode: this thread spins; else it waits as options.idle
  /// says.
  Load(const TripOptions& options, bool with_servant);

  /// Keeps `window` requests under way for `duration_ns`, then waits for what is still under way.
  /// @return requests answered per second.
  double saturate(std::uint32_t window, std::uint64_t duration_ns);

  /// What an open loop did.
  struct OpenLoop {
    std::uint64_t meant = 0;    ///< Requests that were to be sent.
    std::uint64_t unsent = 0;   ///< Of these: given up, because twice the time had passed.
    double answered_per_s = 0;  ///< Within the time, without its first 15 %.
  };
  /// Instead of a rate: each request is due as soon as it can be sent.
  static constexpr double kAtOnce = std::numeric_limits<double>::infinity();
  /// Sends at the times that `gaps` and `per_second` say, whether or not earlier requests were
  /// answered; with kAtOnce that is the most that this loop, with all its reads of the clock, can
  /// do. Samples go from the time that was meant until the answer was checked; those meant within
  /// the first 15 % are thrown away, and what was never sent counts with how late it is.
  OpenLoop open_loop(const Timer& timer, const std::vector<double>& gaps, double per_second,
                     std::uint64_t duration_ns, shm::Histogram& samples);

 private:
  bool serve();
  template <class OnAnswer>
  bool take_answers(OnAnswer on_answer);
  bool send_one();
  void rest(bool worked);
  void watch();

  std::optional<shm::Attachment> servant_;
  shm::Attachment client_;
  shm::FrameHeader header_;
  std::vector<std::byte> request_;
  std::vector<std::byte> answer_;
  shm::Idler idler_;
  std::uint32_t idle_passes_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t answered_ = 0;
};

/// Whom a load meets.
struct LoadSettings {
  bool processes = false;  ///< Servant and client are processes of their own; else one thread.
  std::size_t payload_bytes = 40;
  std::uint32_t window = 64;  ///< Also what the servant holds at once.
  CorePair cores;             ///< Pair mode: who runs where.
  std::string broker_path;
};

/// Starts a broker and what belongs to it, calls `use` on a thread that is pinned in pair mode, and
/// stops everything. Returns without calling it when interrupted().
void with_load(const LoadSettings& settings, const std::function<void(Load&)>& use);

}  // namespace mserve::bench
