// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cores.hpp"
#include "figures.hpp"
#include "mserve/shm/histogram.hpp"
#include "timer.hpp"

namespace mserve::bench {

/// How long a section is measured, and how often.
struct Plan {
  double seconds = 5;  ///< All repetitions together, line probes included.
  int repetitions = 5;
  /// The line between these two is probed before and after each repetition; nothing: no probe,
  /// because what is measured does not depend on two certain cores.
  std::optional<CorePair> probed{};
};

/// What subcommands measure with, and where their figures go: prints tables to stdout as they
/// arrive, progress to a terminal on stderr, and collects everything in a Document.
class Run {
 public:
  /// Describes the machine, measures the timer, prints both.
  /// @param command  as it was typed.
  Run(std::string command, double seconds);

  [[nodiscard]] const Timer& timer() const noexcept { return timer_; }
  [[nodiscard]] Document& document() noexcept { return document_; }

  /// Measures a section: `repeat(ns)` adds one figure to each row, within about `ns`, and is
  /// called once for each repetition. Returns early, with fewer repetitions, when interrupted().
  /// The section becomes the document's last. What `repeat` throws is passed on.
  void measure(Section section, const Plan& plan,
               const std::function<void(Section& section, std::uint64_t ns)>& repeat);

  /// As above, where one repetition gives figures of several sections. Tables follow at the end.
  void measure(std::vector<Section> sections, const Plan& plan,
               const std::function<void(std::vector<Section>& sections, std::uint64_t ns)>& repeat);

  /// What is being done now, shown beside the number of the repetition.
  void say(const char* what) const;

  /// Tells it now and keeps it in the document.
  void add_warning(std::string text);
  /// The same of a part that failed; the exit code tells.
  void add_failure(std::string text);
  [[nodiscard]] bool failed() const noexcept { return failed_; }

 private:
  void clear_progress() const;
  void add(Section section, bool with_repetitions);

  Timer timer_;
  Document document_;
  std::string progress_;  ///< "rtt: repetition 2 of 5".
  bool show_progress_;
  bool failed_ = false;
};

/// Of a measurement: run before it and thrown away.
inline constexpr double kWarmUpShare = 0.15;

/// Runs `measure(duration_ns, histogram)` for a warm-up, whose samples are thrown away, then for
/// the record.
template <class Measure>
std::unique_ptr<shm::Histogram> measure_warm(std::uint64_t duration_ns, Measure measure) {
  auto samples = std::make_unique<shm::Histogram>();
  const auto warm_up_ns =
      static_cast<std::uint64_t>(static_cast<double>(duration_ns) * kWarmUpShare);
  measure(warm_up_ns, *samples);
  samples->reset();
  measure(duration_ns - warm_up_ns, *samples);
  return samples;
}

/// The floor's relay of two threads for `duration_ns`; pins the calling thread meanwhile.
[[nodiscard]] std::unique_ptr<shm::Histogram> measure_floor(const CorePair& cores,
                                                            std::size_t payload_bytes,
                                                            const Timer& timer,
                                                            std::uint64_t duration_ns);

/// "56 ms" of 1 s: a share of a time.
[[nodiscard]] inline std::uint64_t share_of(std::uint64_t ns, double share) noexcept {
  return static_cast<std::uint64_t>(static_cast<double>(ns) * share);
}

}  // namespace mserve::bench
