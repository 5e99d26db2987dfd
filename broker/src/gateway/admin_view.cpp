// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin_view.hpp"

#include <algorithm>
#include <utility>

namespace mserve::broker {

void SessionBoard::attached(SessionRow row, [[maybe_unused]] const Lock& lock) {
  rows_.push_back(std::move(row));
}

void SessionBoard::held(std::uint32_t number, bool suspended, bool paused) {
  const std::scoped_lock lock(mutex_);
  for (SessionRow& row : rows_) {
    if (row.number == number) {
      row.suspended = suspended;
      row.paused = paused;
    }
  }
}

void SessionBoard::detached(std::uint32_t number) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(rows_, [number](const SessionRow& row) { return row.number == number; });
}

std::vector<SessionRow> SessionBoard::rows() const {
  const std::scoped_lock lock(mutex_);
  return rows_;
}

}  // namespace mserve::broker
