// SPDX-License-Identifier: Apache-2.0
#include "control/monitor_board.hpp"

#include "mserve/shm/rendezvous.hpp"
#include "wall_clock.hpp"

namespace mserve::broker {

MonitorBoard::MonitorBoard(shm::MonitorSegment& segment) : segment_(segment) {
  // The lowest are given out first, so that few pages are in use.
  for (auto book = static_cast<std::uint32_t>(segment.books().size()); book > 1; --book) {
    free_books_.push_back(book - 1);
  }
}

void MonitorBoard::attach(Session& session) {
  if (session.is_servant() && !free_books_.empty()) {
    session.book = free_books_.back();
    free_books_.pop_back();
  }
  shm::MonitorIdentity identity{
      .number = session.number + 1,
      .generation = session.generation,
      .role = static_cast<std::uint32_t>(session.role),
      .pid = session.pid,
      .uid = session.uid,
      .credit = session.is_servant() ? session.credit : 0,
      .weight = session.is_servant() ? session.weight : 0,
      .tier = session.tier,
      .book = session.book,
      .ring_in_bytes = static_cast<std::uint32_t>(session.in.capacity()),
      .ring_out_bytes = static_cast<std::uint32_t>(session.out.capacity()),
      .attached_at = wall_now()};
  shm::set_reason(identity.name, session.name);
  shm::set_reason(identity.tags, session.tags);
  shm::MonitorRow& row = segment_.rows()[session.number];
  row.version.begin_change();
  row.held.store(0, std::memory_order_release);  // M2
  shm::MonitorBusy& busy = row.busy;
  for (shm::Counter* const count : {&busy.requests, &busy.answered, &busy.errors, &busy.hits,
                                    &busy.overruns, &busy.interrupts, &busy.kept, &busy.lost}) {
    count->set(0);
  }
  row.now.put({});
  row.identity.put(identity);
  row.version.end_change();
}

void MonitorBoard::held(std::uint32_t number, std::uint64_t held) noexcept {
  segment_.rows()[number].held.store(held, std::memory_order_release);  // M2
}

void MonitorBoard::detach(const Session& session) noexcept {
  shm::MonitorRow& row = segment_.rows()[session.number];
  row.version.begin_change();
  row.identity.put({});
  row.version.end_change();
  if (session.book != 0) {
    free_books_.push_back(session.book);  // never more than there were
  }
}

void MonitorBoard::tell(shm::MonitorEventKind kind, std::string_view text, const Session* session,
                        Errc code) noexcept {
  shm::MonitorEventWords words{.at = wall_now(),
                               .kind = static_cast<std::uint32_t>(kind),
                               .session = session != nullptr ? session->number + 1 : 0,
                               .code = static_cast<std::uint32_t>(code),
                               .pid = session != nullptr ? session->pid : 0};
  shm::set_reason(words.text, text);
  shm::MonitorEvent& place = segment_.events()[events_ % shm::kMonitorEvents];
  place.version.begin_change();
  place.words.put(words);
  place.version.end_change();
  segment_.broker().events.store(++events_, std::memory_order_release);  // M2
}

}  // namespace mserve::broker
