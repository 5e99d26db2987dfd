// SPDX-License-Identifier: Apache-2.0
// AffinityReport as a picture: a column per case, hit rate, mean and p99 below each other.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include "affinity_report.hpp"

namespace mserve::bench {
namespace {

constexpr double kPanelWidth = 180;
constexpr double kPanelHeight = 140;
constexpr double kColumnGap = 16;
constexpr double kRowGap = 20;
constexpr double kLeft = 70;
constexpr double kRight = 14;
constexpr double kLegendTop = 50;
constexpr double kLegendLine = 22;
constexpr double kHeadings = 58;
constexpr double kFoot = 66;
constexpr double kPanelPad = 24;  ///< From a panel's edge to the first load.
constexpr double kDodge = 3.5;    ///< Between policies at one load, so that none hides another.
constexpr double kLetter = 7.6;   ///< About as wide as one is.
constexpr double kTickRoom = 34;  ///< Loads closer than this share a label.
constexpr std::size_t kTicksMax = 6;

/// Each policy by colour, form and, the reference, by its dashes. The colours are told apart with
/// any kind of sight, and stand out from either background.
struct Look {
  const char* light;
  const char* dark;
  const char* marker;
};
constexpr std::array<Look, 7> kLooks = {{
    {"#57606a", "#b1bac4", "M-4-4H4V4H-4Z"},
    {"#0072b2", "#56b4e9", "M0-5A5 5 0 1 0 0 5A5 5 0 1 0 0-5Z"},
    {"#c44e00", "#ff9d5c", "M0-5.5L5.5 4.5H-5.5Z"},
    {"#00805c", "#2fd0a0", "M0-6L6 0L0 6L-6 0Z"},
    {"#a23b84", "#e797d0", "M0 5.5L5.5-4.5H-5.5Z"},
    {"#806600", "#e6c84a", "M-5-2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z"},
    {"#5a3fc0", "#b3a2ff", "M-5-5L0-2L5-5L2 0L5 5L0 2L-5 5L-2 0Z"},
}};

constexpr std::string_view kStyle =
    "text{font-family:system-ui,'Segoe UI','DejaVu Sans',Helvetica,Arial,sans-serif;font-size:13px;"
    "fill:#1f2328}.bold{font-weight:600}.bg{fill:#ffffff}.grid{stroke:#d1d9e0}"
    ".frame{stroke:#818b98;fill:none}.line{fill:none;stroke:currentColor;stroke-width:2}"
    ".range{stroke:currentColor;stroke-width:1.5;stroke-opacity:.55}.marker{fill:currentColor}";
constexpr std::string_view kDarkStyle =
    "text{fill:#e6edf3}.bg{fill:#0d1117}.grid{stroke:#30363d}.frame{stroke:#7d8590}";

/// One figure, drawn in one row of panels.
struct Row {
  const char* title;
  double AffinityResult::*figure;
  double scale;
  bool logarithmic;
};
constexpr std::array<Row, 3> kRows = {{
    {"hit rate, %", &AffinityResult::hit_share, 100, false},
    {"mean, ms (log)", &AffinityResult::mean_ns, 1e-6, true},
    {"p99, ms (log)", &AffinityResult::p99_ns, 1e-6, true},
}};

/// A value axis: its ticks in ascending order, the first and the last at the panel's edges.
struct Axis {
  std::vector<double> ticks;
  bool logarithmic;

  /// 0 at the bottom to 1 at the top; what lies beyond is put at the edge.
  [[nodiscard]] double place(double value) const {
    const auto on = [this](double v) { return logarithmic ? std::log10(v) : v; };
    const double within = std::clamp(value, ticks.front(), ticks.back());
    return (on(within) - on(ticks.front())) / (on(ticks.back()) - on(ticks.front()));
  }
};

/// Numbers such as 1 2 5 10, or 1 10 100 where these are too many, from below `low` to above
/// `high`.
std::vector<double> round_numbers(double low, double high) {
  std::vector<double> all;
  for (const std::vector<double>& steps : {std::vector<double>{1, 2, 5}, std::vector<double>{1}}) {
    all.clear();
    const int first = static_cast<int>(std::floor(std::log10(low)));
    for (int power = first; all.empty() || all.back() < high; ++power) {
      for (const double step : steps) {
        const double number = step * std::pow(10, power);
        if (!all.empty() && all.back() <= low && number <= low) {
          all.back() = number;
        } else if (all.empty() || all.back() < high) {
          all.push_back(number);
        }
      }
    }
    if (all.size() <= kTicksMax) {
      break;
    }
  }
  return all;
}

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    safe += c == '&' ? "&amp;" : c == '<' ? "&lt;" : std::string(1, c);
  }
  return safe;
}

class Picture {
 public:
  explicit Picture(const AffinityReport& report)
      : report_(report), columns_(std::min(report.cases.size(), kSvgCasesMax)) {
    width_ = kLeft + kRight + across(std::max<std::size_t>(columns_, 1)) - kColumnGap;
    place_legend();
    height_ =
        top() + static_cast<double>(kRows.size()) * (kPanelHeight + kRowGap) - kRowGap + kFoot;
  }

  std::string draw() {
    begin();
    draw_legend();
    for (std::size_t c = 0; c < columns_; ++c) {
      draw_heading(c);
      draw_loads(c);
    }
    for (std::size_t r = 0; r < kRows.size(); ++r) {
      draw_row(r);
    }
    const double middle = kLeft + (width_ - kLeft - kRight) / 2;
    text(middle, height_ - 30, "middle",
         "load, % of what the servants do when every request is cold");
    text(middle, height_ - 10, "middle",
         "marks: median repetition; strokes: lowest to highest, up to the edge");
    return svg_ + "</svg>\n";
  }

 private:
  struct Point {
    double x;
    double y;
  };

  template <class... Values>
  void add(fmt::format_string<Values...> form, Values&&... values) {
    fmt::format_to(std::back_inserter(svg_), form, std::forward<Values>(values)...);
    svg_ += '\n';
  }
  void text(double x, double y, const char* anchor, const std::string& words,
            const char* more = "") {
    add("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>", x, y, anchor, more,
        escaped(words));
  }

  static double across(std::size_t columns) {
    return static_cast<double>(columns) * (kPanelWidth + kColumnGap);
  }
  [[nodiscard]] double top() const { return legend_end_ + kHeadings; }
  [[nodiscard]] double row_top(std::size_t row) const {
    return top() + static_cast<double>(row) * (kPanelHeight + kRowGap);
  }

  /// Where a load stands in its panel.
  [[nodiscard]] double x_of(std::size_t column, std::size_t load) const {
    const auto [low, high] = std::minmax_element(report_.loads.begin(), report_.loads.end());
    const double share = *high > *low ? (report_.loads[load] - *low) / (*high - *low) : 0.5;
    return kLeft + across(column) + kPanelPad + share * (kPanelWidth - 2 * kPanelPad);
  }

  void begin() {
    add("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
        "width=\"{0:.0f}\" height=\"{1:.0f}\" role=\"img\">",
        width_, height_);
    add("<title>What routing gains: hit rate, mean and p99 latency over load, by policy</title>");
    add("<desc>{} servants; a request takes {} us when its route is warm and {} us when it is not; "
        "marks are medians, strokes go from the lowest to the highest repetition.</desc>",
        report_.servants, report_.warm_ns / 1000, report_.cold_ns / 1000);
    svg_ += "<style>" + std::string(kStyle);
    for (std::size_t i = 0; i < kLooks.size(); ++i) {
      svg_ += fmt::format(".p{}{{color:{}}}", i, kLooks[i].light);
    }
    svg_ += "@media (prefers-color-scheme:dark){" + std::string(kDarkStyle);
    for (std::size_t i = 0; i < kLooks.size(); ++i) {
      svg_ += fmt::format(".p{}{{color:{}}}", i, kLooks[i].dark);
    }
    svg_ += "}</style>\n";
    add("<rect class=\"bg\" width=\"{:.0f}\" height=\"{:.0f}\"/>", width_, height_);
    text(
        kLeft, 24, "start",
        fmt::format("{} servants: {} \xc2\xb5s when the route is warm, {} \xc2\xb5s when it is not",
                    report_.servants, report_.warm_ns / 1000, report_.cold_ns / 1000),
        " class=\"bold\"");
  }

  void place_legend() {
    Point at{kLeft, kLegendTop};
    for (const std::string& name : report_.policies) {
      const double wide = 44 + kLetter * static_cast<double>(name.size()) + 16;
      if (at.x > kLeft && at.x + wide > width_ - kRight) {
        at = {kLeft, at.y + kLegendLine};
      }
      legend_.push_back(at);
      at.x += wide;
    }
    legend_end_ = at.y;
  }

  [[nodiscard]] std::string dashes(std::size_t policy) const {
    return policy == report_.reference ? " stroke-dasharray=\"6 4\"" : "";
  }
  void marker(std::size_t policy, Point at) {
    add("<path class=\"marker\" transform=\"translate({:.1f} {:.1f})\" d=\"{}\"/>", at.x, at.y,
        kLooks[policy % kLooks.size()].marker);
  }

  void draw_legend() {
    for (std::size_t p = 0; p < report_.policies.size(); ++p) {
      const Point at = legend_[p];
      add("<g class=\"p{}\">", p % kLooks.size());
      add("<path class=\"line\"{} d=\"M{:.1f} {:.1f}h34\"/>", dashes(p), at.x, at.y - 4);
      marker(p, {at.x + 17, at.y - 4});
      add("</g>");
      text(at.x + 42, at.y, "start", report_.policies[p]);
    }
  }

  void draw_heading(std::size_t column) {
    const AffinityCase& at = report_.cases[column];
    const double x = kLeft + across(column) + kPanelWidth / 2;
    text(x, top() - 28, "middle", fmt::format("{} routes, {}", at.routes, at.distribution()),
         " class=\"bold\"");
    text(x, top() - 11, "middle", fmt::format("{} warm per servant", at.warm_routes));
  }

  void draw_loads(std::size_t column) {
    const double y = row_top(kRows.size() - 1) + kPanelHeight + 17;
    double last = -kTickRoom;
    for (std::size_t load = 0; load < report_.loads.size(); ++load) {
      const double x = x_of(column, load);
      if (x - last >= kTickRoom) {
        text(x, y, "middle", fmt::format("{:g}", report_.loads[load]));
        last = x;
      }
    }
  }

  [[nodiscard]] Axis axis_of(const Row& row) const {
    if (!row.logarithmic) {
      return {{0, 25, 50, 75, 100}, false};
    }
    std::vector<double> values;
    for (std::size_t c = 0; c < columns_; ++c) {
      for (const auto& at_load : report_.cases[c].cells) {
        for (const AffinityCell& cell : at_load) {
          values.push_back(cell.spread(row.figure, row.scale).median);
        }
      }
    }
    std::erase_if(values, [](double v) { return v <= 0; });
    if (values.empty()) {
      return {{0.1, 1}, true};
    }
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    return {round_numbers(*low, *high * 1.0001), true};
  }

  void draw_row(std::size_t r) {
    const Row& row = kRows[r];
    const Axis axis = axis_of(row);
    const double middle = row_top(r) + kPanelHeight / 2;
    text(18, middle, "middle", row.title,
         fmt::format(" transform=\"rotate(-90 18 {:.1f})\"", middle).c_str());
    for (const double tick : axis.ticks) {
      text(kLeft - 8, y_of(r, axis, tick) + 4.5, "end", fmt::format("{:g}", tick));
    }
    for (std::size_t c = 0; c < columns_; ++c) {
      const double left = kLeft + across(c);
      for (const double tick : axis.ticks) {
        add("<path class=\"grid\" d=\"M{:.1f} {:.1f}h{:.0f}\"/>", left, y_of(r, axis, tick),
            kPanelWidth);
      }
      add("<rect class=\"frame\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.0f}\" height=\"{:.0f}\"/>",
          left, row_top(r), kPanelWidth, kPanelHeight);
      for (std::size_t p = 0; p < report_.policies.size(); ++p) {
        draw_policy(r, axis, c, p);
      }
    }
  }

  [[nodiscard]] double y_of(std::size_t row, const Axis& axis, double value) const {
    return row_top(row) + kPanelHeight * (1 - axis.place(value));
  }

  void draw_policy(std::size_t r, const Axis& axis, std::size_t column, std::size_t policy) {
    const double aside =
        (static_cast<double>(policy) - static_cast<double>(report_.policies.size() - 1) / 2) *
        kDodge;
    std::string line;
    std::string ranges;
    std::vector<Point> points;
    for (std::size_t load = 0; load < report_.loads.size(); ++load) {
      const AffinityCell& cell = report_.cases[column].cells[load][policy];
      if (cell.repetitions.empty()) {
        continue;
      }
      const Spread s = cell.spread(kRows[r].figure, kRows[r].scale);
      const Point at{x_of(column, load) + aside, y_of(r, axis, s.median)};
      line += fmt::format("{}{:.1f} {:.1f}", points.empty() ? "M" : "L", at.x, at.y);
      ranges +=
          fmt::format("M{:.1f} {:.1f}V{:.1f}", at.x, y_of(r, axis, s.low), y_of(r, axis, s.high));
      points.push_back(at);
    }
    if (points.empty()) {
      return;
    }
    add("<g class=\"p{}\">", policy % kLooks.size());
    add("<path class=\"range\" d=\"{}\"/>", ranges);
    add("<path class=\"line\"{} d=\"{}\"/>", dashes(policy), line);
    for (const Point at : points) {
      marker(policy, at);
    }
    add("</g>");
  }

  const AffinityReport& report_;
  std::size_t columns_;
  double width_ = 0;
  double height_ = 0;
  std::vector<Point> legend_;
  double legend_end_ = kLegendTop;
  std::string svg_;
};

}  // namespace

std::string to_svg(const AffinityReport& report) {
  return Picture(report).draw();
}

}  // namespace mserve::bench
