// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core_list.hpp"

namespace mserve::pin {

/// Words parted by blanks.
[[nodiscard]] std::vector<std::string> words_of(std::string_view text);
/// Lines, without their ends.
[[nodiscard]] std::vector<std::string> lines_of(std::string_view text);

/// The files below /sys and /proc of one machine: this one, or one that a directory describes. Only
/// reads. Any thread.
class MachineFiles {
 public:
  /// @param root  put before each path; empty: this machine.
  explicit MachineFiles(std::string root = {}) : root_(std::move(root)) {}

  /// Whether these are the files of the machine that this runs on.
  [[nodiscard]] bool live() const noexcept { return root_.empty(); }
  /// All of a file, at most 4 MiB. @return nothing when it is not there or cannot be read.
  [[nodiscard]] std::optional<std::string> read(const std::string& path) const;
  /// Its first line, without blanks around it.
  [[nodiscard]] std::optional<std::string> line(const std::string& path) const;
  /// Its first line as a number.
  [[nodiscard]] std::optional<std::int64_t> number(const std::string& path) const;
  /// Its first line as a list of cores.
  [[nodiscard]] std::optional<CoreList> cores(const std::string& path) const;
  [[nodiscard]] bool exists(const std::string& path) const;
  /// Names of what lies in a directory, sorted.
  [[nodiscard]] std::vector<std::string> list(const std::string& path) const;
  /// Where a symbolic link leads.
  [[nodiscard]] std::optional<std::string> link(const std::string& path) const;

 private:
  std::string root_;
};

}  // namespace mserve::pin
