// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "mserve/client/options.hpp"
#include "mserve/client/query.hpp"
#include "mserve/kdb/print.hpp"

namespace mserve::tool {

/// How answers are shown.
struct OutputStyle {
  bool json = false;        ///< One JSON object per answer.
  bool quiet = false;       ///< The result alone, without info and headings.
  bool with_id = false;     ///< `ID: 1` first and an empty line last, as the q scripts do.
  std::size_t rows = 0;     ///< 0: the terminal's, or 25.
  std::size_t columns = 0;  ///< 0: the terminal's, or 80.
};

/// What goes to standard output and to standard error.
struct Shown {
  std::string out;
  std::string err;
};

/// The size to show values with: the style's, else the terminal's behind standard output, else q's
/// 25 x 80.
[[nodiscard]] kdb::Console console_of(const OutputStyle& style) noexcept;

/// An answer: the result, or 'text when the servant answered with an error.
[[nodiscard]] Shown show_answer(const Answer& answer, const OutputStyle& style);

/// No answer. @param id  0: nothing was sent. @param detail  one sentence that says more, or empty.
[[nodiscard]] Shown show_failure(std::uint64_t id, Errc code, std::string_view detail,
                                 const OutputStyle& style);

/// No session. @param asked  what was looked for and where, which decides what helps.
[[nodiscard]] Shown show_no_session(Errc code, std::string_view detail, const ClientOptions& asked,
                                    const OutputStyle& style);

}  // namespace mserve::tool
