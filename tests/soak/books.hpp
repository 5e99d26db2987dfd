// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace mserve::test {

/// The kinds of faults that a soak injects.
enum class Fault : std::uint8_t {
  kill_client,
  kill_servant,
  term_servant,
  kill_shim,
  kill_q,
  stop_and_go,
  hostile_client,
  hostile_servant,
  hang_up,
  kill_broker,
  stop_broker,
};
inline constexpr std::size_t kFaults = 11;
inline constexpr std::array<const char*, kFaults> kFaultNames = {
    "kill -9 of a client",
    "kill -9 of a servant",
    "SIGTERM of a launched servant",
    "kill -9 of a shim",
    "kill -9 of a q process",
    "SIGSTOP, later SIGCONT",
    "client that writes random words",
    "servant that writes random words",
    "hang-up at the gateway",
    "kill -9 of the broker, and restart",
    "SIGTERM of the broker, and restart"};

/// What was injected, and what became of every request. Any thread.
class SoakBooks {
 public:
  void injected(Fault fault) noexcept { add(faults_[static_cast<std::size_t>(fault)]); }
  void sent() noexcept { add(sent_); }
  void answered() noexcept { add(answered_); }
  /// @param why  one of few words: each is kept.
  void failed(const std::string& why, std::uint64_t count = 1);
  /// Its client hung up before the answer.
  void abandoned(std::uint64_t count) noexcept { add(abandoned_, count); }
  /// An answer to nothing that was asked, or a second one.
  void duplicated() noexcept { add(duplicated_); }
  /// An answer with other bytes than it should have.
  void wrong() noexcept { add(wrong_); }

  [[nodiscard]] std::uint64_t faults(Fault fault) const noexcept {
    return get(faults_[static_cast<std::size_t>(fault)]);
  }
  [[nodiscard]] std::uint64_t faults() const noexcept;
  [[nodiscard]] std::uint64_t count_sent() const noexcept { return get(sent_); }
  [[nodiscard]] std::uint64_t count_answered() const noexcept { return get(answered_); }
  [[nodiscard]] std::uint64_t count_failed() const noexcept { return get(failed_); }
  /// Sent, and nothing was heard of it. To be asked when nobody sends any more.
  [[nodiscard]] std::uint64_t lost() const noexcept;

  /// The whole balance but the leaks, as a table.
  [[nodiscard]] std::string table() const;
  /// Nothing lost, twice or wrong; something answered; each kind of fault injected.
  [[nodiscard]] bool balanced() const noexcept;

 private:
  using Count = std::atomic<std::uint64_t>;
  // Counts, and nothing comes with them.
  static void add(Count& count, std::uint64_t more = 1) noexcept {
    count.fetch_add(more, std::memory_order_relaxed);
  }
  static std::uint64_t get(const Count& count) noexcept {
    return count.load(std::memory_order_relaxed);
  }

  std::array<Count, kFaults> faults_{};
  Count sent_{0};
  Count answered_{0};
  Count failed_{0};
  Count abandoned_{0};
  Count duplicated_{0};
  Count wrong_{0};
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> reasons_;  ///< Of failed_; with mutex_.
};

}  // namespace mserve::test
