// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "servant_log.hpp"

namespace mserve::shim {

/// Takes one line, valid during the call.
using LogFunction = std::function<void(const ServantLogLine& line)>;

/// What the shim tells people. Whoever can cause a line again and again fills no disk with it.
class ShimLog {
 public:
  explicit ShimLog(LogFunction write) : write_(std::move(write)) {}

  /// What happens once in a while.
  void event(std::string_view what, std::string_view text = {}) const {
    write_({.event = what, .text = text});
  }
  /// The same, of what is not as it should be.
  void trouble(std::string_view what, std::string_view text = {}) const {
    write_({.level = ServantLogLine::Level::warning, .event = what, .text = text});
  }

  /// A failure that repeats while its cause lasts: told once, until `what` says something else or
  /// recovered() was called.
  void failure(std::string_view what, const std::string& text) {
    std::string line = std::string(what) + ": " + text;
    if (line != last_failure_) {
      last_failure_ = std::move(line);
      trouble(what, text);
    }
  }
  void recovered() { last_failure_.clear(); }

  /// What a peer can cause at any rate: kWarningsMax lines a second, and then how many were left
  /// out.
  void warning(std::string_view line, std::uint64_t now_ns) {
    if (now_ns - second_began_ns_ >= kSecondNs) {
      second_began_ns_ = now_ns;
      warnings_ = 0;
      if (suppressed_ > 0) {
        trouble("warning", std::to_string(suppressed_) + " more warnings left out");
        suppressed_ = 0;
      }
    }
    if (warnings_ < kWarningsMax) {
      ++warnings_;
      trouble("warning", line);
    } else {
      ++suppressed_;
    }
  }

 private:
  static constexpr std::uint64_t kSecondNs = 1'000'000'000;
  static constexpr std::uint32_t kWarningsMax = 5;

  LogFunction write_;
  std::string last_failure_;
  std::uint64_t second_began_ns_ = 0;
  std::uint32_t warnings_ = 0;
  std::uint64_t suppressed_ = 0;
};

}  // namespace mserve::shim
