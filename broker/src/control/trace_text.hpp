// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "data/request_stamps.hpp"

namespace mserve::broker {

/// A request that ended, with what the control thread knows of it beside its stamps. Borrowed.
struct EndedRequest {
  const RequestStamps& stamps;
  std::string_view client{};      ///< Name of its session; empty: that is gone.
  std::optional<uid_t> uid{};     ///< User of that; nothing for one of a gateway.
  std::string_view servant{};     ///< Name; empty: it ran on none, or on one that is gone.
  std::string_view route_name{};  ///< Empty: not known.

  /// How long it waited; all of its time if it was given to no servant.
  [[nodiscard]] Nanos queue_ns() const noexcept { return dispatched_at() - stamps.submitted_at; }
  [[nodiscard]] Nanos execution_ns() const noexcept { return stamps.ended_at - dispatched_at(); }
  [[nodiscard]] Nanos whole_ns() const noexcept { return stamps.ended_at - stamps.submitted_at; }
  /// When it was given to a servant; its end if to none.
  [[nodiscard]] Nanos dispatched_at() const noexcept {
    return stamps.dispatched_at != 0 ? stamps.dispatched_at : stamps.ended_at;
  }
};

/// `0x` and 16 digits, as `mserve-stat routes` shows one; empty for 0, no route.
[[nodiscard]] std::string route_text(std::uint64_t route);

/// How a trace is written; broker/README.md says what is in it. Keeps no more than which servants
/// it named. Threads: one.
class TraceText {
 public:
  enum class Form : std::uint8_t { csv, json };
  /// When the trace begins, by two clocks.
  struct Begin {
    Nanos steady = 0;
    std::int64_t wall = 0;  ///< ns since 1970, UTC.
  };
  /// What a name of a file asks for: csv if it ends so, else json.
  [[nodiscard]] static Form form_of(std::string_view file) noexcept;

  TraceText(Form form, pid_t pid, const Begin& begin) : form_(form), pid_(pid), begin_(begin) {}

  /// What comes before all requests.
  [[nodiscard]] std::string head() const;
  /// Adds one request, whole lines. @param wall_offset  wall clock minus steady clock.
  void append(std::string& text, const EndedRequest& request, std::int64_t wall_offset);
  /// What comes behind all; the text can be read without it.
  [[nodiscard]] std::string_view tail() const noexcept;

 private:
  void append_csv(std::string& text, const EndedRequest& request, std::int64_t wall_offset) const;
  void append_json(std::string& text, const EndedRequest& request);
  void append_event(std::string& text, std::string_view name, char phase, Nanos at,
                    std::uint32_t row, std::string_view more) const;

  Form form_;
  pid_t pid_;
  Begin begin_;
  std::uint64_t waits_ = 0;  ///< Numbers them, so that each has an end of its own.
  std::map<std::uint32_t, std::uint32_t> named_;  ///< Generation by row.
};

}  // namespace mserve::broker
