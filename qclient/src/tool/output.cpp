// SPDX-License-Identifier: Apache-2.0
#include "tool/output.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include "mserve/kdb/json.hpp"
#include "mserve/kdb/value.hpp"

namespace mserve::tool {
namespace {

std::string json_error(std::uint64_t id, std::string_view text) {
  return "{\"id\":" + std::to_string(id) +
         ",\"error\":" + kdb::to_json(kdb::Value::chars(std::string(text))) + "}\n";
}

/// @param id  0: of what was not sent.
std::string heading(std::uint64_t id, const OutputStyle& style) {
  return id != 0 && style.with_id && !style.quiet ? "ID: " + std::to_string(id) + "\n"
                                                  : std::string();
}

/// What to do about errors whose words are LBT's or q's, which clients compare with.
std::string_view hint(std::string_view error) {
  struct Hint {
    std::string_view start;
    bool whole;  ///< The error is that, and does not only begin with it.
    std::string_view text;
  };
  static constexpr Hint kHints[] = {
      {"nested evaluation", true,
       "Arguments are values, nothing is evaluated: a symbol has its backtick, `IBM, a text its "
       "quotes."},
      {"unknown command: `.mserve.", false,
       "Calls of .mserve. are for kdb+ connections to the gateway; mserve-stat shows the same."},
      {"unknown command: `", false,
       "No servant has a function of that name; or, where the broker has --roles, yours may not "
       "call it. Other q is for q processes behind mserve-qshim."},
      {"unknown command: ", false,
       "This servant runs calls of listed functions only, such as echo 1; q processes behind "
       "mserve-qshim evaluate q."},
      {"parse", true,
       "Expected is a function's name with values behind it, such as proc1 `IBM or f[1;\"a\"]."},
      {"type", true, "The function's own error: an argument of the wrong type."},
      {"rank", true, "The function's own error: the wrong number of arguments."},
      {"limit", true,
       "Servants parse texts of up to 64 KiB, nested 32 deep; a larger query is for q processes "
       "behind mserve-qshim. Or the answer is above the broker's --max-message."},
  };
  for (const Hint& one : kHints) {
    if (one.whole ? error == one.start : error.starts_with(one.start)) {
      return one.text;
    }
  }
  return {};
}

std::string error_lines(std::string_view error, const OutputStyle& style) {
  const std::string_view more = style.quiet ? std::string_view() : hint(error);
  // As values: whoever answers says what stands there, and it may go to a terminal.
  constexpr kdb::Console kWhole{.height = 2000, .width = 2000};
  return kdb::show(kdb::Value::error(std::string(error)), kWhole) + std::string(more) +
         (more.empty() ? "" : "\n");
}

Shown failure(std::uint64_t id, Errc code, std::string_view detail, std::string_view what_to_do,
              const OutputStyle& style) {
  Shown shown;
  shown.out = style.json ? json_error(id, to_string(code)) : heading(id, style);
  const std::string_view word = to_string(code);
  if (!detail.starts_with(word)) {  // else it says the same, and more
    shown.err = "'" + std::string(word) + "\n";
  }
  if (!detail.empty()) {
    shown.err += (shown.err.empty() ? "'" : "") + std::string(detail) + "\n";
  }
  shown.err += std::string(what_to_do) + "\n";
  return shown;
}

}  // namespace

kdb::Console console_of(const OutputStyle& style) noexcept {
  kdb::Console console;
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
    console.height = size.ws_row;
    console.width = size.ws_col;
  }
  console.height = style.rows != 0 ? style.rows : console.height;
  console.width = style.columns != 0 ? style.columns : console.width;
  return console;
}

Shown show_answer(const Answer& answer, const OutputStyle& style) {
  if (answer.is_error()) {
    const std::string text(answer.result.text_view().value_or(""));
    if (style.json) {
      return {json_error(answer.id, text), {}};
    }
    return {heading(answer.id, style), error_lines(text, style)};
  }
  if (style.json) {
    return {"{\"id\":" + std::to_string(answer.id) +
                (style.quiet ? "" : ",\"info\":" + kdb::to_json(answer.info)) +
                ",\"result\":" + kdb::to_json(answer.result) + "}\n",
            {}};
  }
  const kdb::Console console = console_of(style);
  Shown shown;
  shown.out = heading(answer.id, style);
  if (!style.quiet && !answer.info.is_null()) {
    shown.out += "--info--\n" + kdb::show(answer.info, console) + "--result--\n";
  }
  shown.out += kdb::show(answer.result, console);
  if (style.with_id && !style.quiet) {
    shown.out += "\n";
  }
  return shown;
}

Shown show_failure(std::uint64_t id, Errc code, std::string_view detail, const OutputStyle& style) {
  std::string_view what_to_do = advice(code);
  // Those of the library are for programs.
  if (code == Errc::not_attached) {
    what_to_do = "Nothing was sent. Ask again once the broker is back.";
  } else if (code == Errc::disconnected) {
    what_to_do = "Whether it ran is unknown. Ask again once the broker is back.";
  } else if (code == Errc::too_large) {
    what_to_do =
        "Send less at once, or raise the broker's --max-message; one with --roles takes texts of "
        "up to 64 KiB.";
  } else if (code == Errc::access) {
    // Of the query: whoever may not connect has no session.
    what_to_do =
        "Calls of .mserve. are for the broker's --admin-users over its Unix socket (mserve-stat "
        "shows the same), others for users whose role has them.";
  } else if (code == Errc::timed_out) {
    what_to_do =
        "It may still run, or never have begun: mserve-stat servants shows whether any serves. "
        "Allow more time with --timeout.";
  }
  return failure(id, code, detail, what_to_do, style);
}

Shown show_no_session(Errc code, std::string_view detail, const ClientOptions& asked,
                      const OutputStyle& style) {
  const std::string_view where = asked.broker;
  std::string_view what_to_do = advice(code);
  if (code == Errc::no_broker && where.find("tcp://") != std::string_view::npos) {
    what_to_do = "Start a broker with -p there, or check --name.";
  } else if (code == Errc::no_broker && !asked.directory.empty()) {
    what_to_do = "Start the broker, or check --name and --dir.";
  } else if (code == Errc::access && where.starts_with("tcp://")) {
    // A gateway takes users by password, whichever Unix user asks.
    what_to_do =
        "Give a user and password of the broker's --users file: --user USER:PASSWORD, or "
        "MSERVE_USER, which ps does not show.";
  } else if (code == Errc::timed_out) {
    what_to_do = "Nothing was sent. Look at that process, or allow more time with --timeout.";
  }
  return failure(0, code, detail, what_to_do, style);
}

}  // namespace mserve::tool
