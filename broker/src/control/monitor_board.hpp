// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/session.hpp"
#include "mserve/shm/monitor_layout.hpp"

namespace mserve::broker {

/// The control thread's share of what the broker shows of itself: who is attached, why a servant
/// gets nothing, and what happened. See shm/monitor_layout.hpp. Threads: the control thread's.
class MonitorBoard {
 public:
  /// @param segment  outlives it.
  explicit MonitorBoard(shm::MonitorSegment& segment);

  /// Fills its row with nothing counted and gives a servant a book (Session::book). Before the data
  /// thread gets to know the session.
  void attach(Session& session);
  /// @param held  kMonitorStopped ...
  void held(std::uint32_t number, std::uint64_t held) noexcept;
  /// The data thread is done with it: row and book are free.
  void detach(const Session& session) noexcept;
  /// @param text  cut to fit; what is not printable ASCII becomes a question mark.
  void tell(shm::MonitorEventKind kind, std::string_view text, const Session* session = nullptr,
            Errc code = Errc::ok) noexcept;

 private:
  shm::MonitorSegment& segment_;
  std::vector<std::uint32_t> free_books_;
  std::uint64_t events_ = 0;
};

}  // namespace mserve::broker
