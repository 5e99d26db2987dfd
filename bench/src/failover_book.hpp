// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mserve::bench {

/// What a client saw of the loss of a host.
struct FailoverFigures {
  std::uint64_t wait_ns = 0;     ///< Longest that a request which was at that host took.
  std::uint64_t silence_ns = 0;  ///< Longest time without the answer to any request.
  std::uint64_t sent = 0;
  std::uint64_t moved = 0;   ///< Sent to that host and, when it was lost, again to another one.
  std::uint64_t failed = 0;  ///< Answered with an error.
  std::uint64_t lost = 0;    ///< Not answered (yet).
  std::uint64_t twice = 0;   ///< Answered more than once.
  std::map<std::string, std::uint64_t> errors{};  ///< What those that failed were told.
};

/// The books of a client: what became of each of its requests, which are numbered from 1. Times are
/// of one clock, in nanoseconds, and do not go backwards.
class FailoverBook {
 public:
  /// A request was sent. @return its number.
  std::uint64_t send(std::uint64_t now);
  /// Whether there is a request of that number; what follows takes no other.
  [[nodiscard]] bool knows(std::uint64_t id) const noexcept { return id > 0 && id <= sent_.size(); }

  /// Its result came. @param servant  who answered, as the broker that was asked calls it.
  /// @param held_ns  how long it was at that broker before it was sent there, to that servant.
  void answer(std::uint64_t id, std::uint64_t now, std::string_view servant, std::uint64_t held_ns);
  /// It failed.
  void fail(std::uint64_t id, const std::string& error);

  /// From now on that servant does not answer, and silence counts until end_of_silence().
  void lose(std::string_view servant);
  /// No answer has come until now.
  void hear_nothing(std::uint64_t now);
  void end_of_silence() noexcept { listening_ = false; }

  [[nodiscard]] std::uint32_t under_way() const noexcept { return under_way_; }
  [[nodiscard]] FailoverFigures figures() const;

 private:
  struct Sent {
    std::uint64_t at_ns = 0;
    std::uint32_t answers = 0;
  };
  /// @return false: it had one already.
  bool first_answer(std::uint64_t id);

  std::vector<Sent> sent_;  ///< By number, from 1.
  std::uint32_t under_way_ = 0;
  std::string lost_;
  bool listening_ = false;
  std::uint64_t heard_ns_ = 0;  ///< The last result.
  FailoverFigures figures_;
};

}  // namespace mserve::bench
