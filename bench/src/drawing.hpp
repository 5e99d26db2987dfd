// SPDX-License-Identifier: Apache-2.0
// What all pictures share: colours, axes, and the text of an SVG document.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mserve::bench {

/// How one of several things that are compared looks: a colour for light and one for dark
/// backgrounds, and a marker's path. The colours are told apart with any kind of sight.
struct Look {
  const char* light;
  const char* dark;
  const char* marker;
};
inline constexpr std::array<Look, 8> kLooks = {{
    {"#57606a", "#b1bac4", "M-4-4H4V4H-4Z"},
    {"#0072b2", "#56b4e9", "M0-5A5 5 0 1 0 0 5A5 5 0 1 0 0-5Z"},
    {"#c44e00", "#ff9d5c", "M0-5.5L5.5 4.5H-5.5Z"},
    {"#00805c", "#2fd0a0", "M0-6L6 0L0 6L-6 0Z"},
    {"#a23b84", "#e797d0", "M0 5.5L5.5-4.5H-5.5Z"},
    {"#806600", "#e6c84a", "M-5-2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z"},
    {"#5a3fc0", "#b3a2ff", "M-5-5L0-2L5-5L2 0L5 5L0 2L-5 5L-2 0Z"},
    {"#b3261e", "#ff8a80", "M-5 0L0-3L5 0L0 3Z"},
}};

/// Rules for text, `bold`, `muted`, `bg`, `grid`, `frame`, `line`, `range`, `band`, `bar`,
/// `marker`, and the colour classes p0, p1, ... of kLooks, for light and dark.
[[nodiscard]] std::string style_sheet();

/// About as wide as one letter of 13 pixels is, to leave room for texts.
inline constexpr double kLetter = 7.6;

/// A value axis: its ticks in ascending order, the first and the last at the panel's edges.
struct Axis {
  std::vector<double> ticks;
  bool logarithmic = false;

  /// 0 at the lower end to 1 at the upper; what lies beyond is put at the edge.
  [[nodiscard]] double place(double value) const;
};

/// Numbers such as 1 2 5 10, or 1 10 100 where these are too many, from below `low` (above 0) to
/// above `high`.
[[nodiscard]] Axis log_axis(double low, double high);
/// 0 to above `high` in round steps.
[[nodiscard]] Axis linear_axis(double high);

/// A text for use in SVG or HTML.
[[nodiscard]] std::string escaped(std::string_view text);

/// The inside of an SVG element, piece by piece.
class Canvas {
 public:
  template <class... Values>
  void add(fmt::format_string<Values...> form, Values&&... values) {
    fmt::format_to(std::back_inserter(text_), form, std::forward<Values>(values)...);
    text_ += '\n';
  }
  /// @param anchor  "start", "middle" or "end".
  /// @param more    further attributes, with a space before each.
  void text(double x, double y, const char* anchor, std::string_view words,
            std::string_view more = "") {
    add("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>", x, y, anchor, more,
        escaped(words));
  }
  /// A marker of kLooks in the current colour.
  void marker(std::size_t look, double x, double y) {
    add("<path class=\"marker\" transform=\"translate({:.1f} {:.1f})\" d=\"{}\"/>", x, y,
        kLooks[look % kLooks.size()].marker);
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

/// A drawing without its frame: to be put into a document of its own, or into a page.
struct Drawing {
  double width = 0;
  double height = 0;
  std::string body;
};

/// An SVG document.
/// @param title        for those who cannot see it.
/// @param description  the same, longer; may be empty.
/// @param styled       with style_sheet() and background; not inside a page that has both.
[[nodiscard]] std::string svg_document(const Drawing& drawing, std::string_view title,
                                       std::string_view description, bool styled = true);

}  // namespace mserve::bench
