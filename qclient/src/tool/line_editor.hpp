// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace mserve::tool {

/// A line of text from the terminal, with editing and history, while something else goes on: before
/// each key `wait_for_key` is called, which may print through above().
class LineEditor {
 public:
  /// @param wait_for_key  blocks until standard input is readable (true), or the line is to be
  /// given up (false).
  /// @param history_file  loaded now and saved by the destructor; empty: none.
  LineEditor(std::string prompt, std::string history_file, std::function<bool()> wait_for_key);
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;
  ~LineEditor();

  /// The next line, without its end; nothing at the end of input. A line that was given up is
  /// empty.
  [[nodiscard]] std::optional<std::string> read();

  /// Prints whole lines above the one that is being edited.
  void above(std::string_view text);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// $XDG_STATE_HOME/mserve/history, else ~/.local/state/mserve/history; makes the folders. Empty
/// when that is impossible.
[[nodiscard]] std::string default_history_file();

}  // namespace mserve::tool
