// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "mserve/client/client.hpp"
#include "tool/exit_code.hpp"
#include "tool/line_editor.hpp"
#include "tool/output.hpp"
#include "tool/repeater.hpp"
#include "tool/settings.hpp"

namespace mserve::tool {

/// The interactive mode: queries go out as they are entered, answers appear above the prompt as
/// they come.
class Prompt {
 public:
  Prompt(Client& client, Settings settings);

  /// Runs until `\\` or the end of input.
  [[nodiscard]] ExitCode run();

 private:
  struct Sent {
    std::string route_text;
    std::uint64_t deadline_ns;
  };

  [[nodiscard]] bool handle(const std::string& line);
  void send(const std::string& text);
  void show_timer();
  [[nodiscard]] bool wait_for_key();
  void pump();
  void expire(std::uint64_t now_ns);
  void give_up_all();
  [[nodiscard]] int sleep_ms(std::uint64_t now_ns) const noexcept;
  void print(const Shown& shown);

  Client& client_;
  Settings settings_;
  Repeater repeater_;
  std::uint64_t skipped_ticks_ = 0;
  std::map<std::uint64_t, Sent> sent_;  ///< By id; the oldest expires first.
  LineEditor editor_;
};

}  // namespace mserve::tool
