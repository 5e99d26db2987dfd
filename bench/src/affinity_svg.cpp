// SPDX-License-Identifier: Apache-2.0
// AffinityReport as a picture: a column per case, hit rate, mean and p99 below each other.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "affinity_report.hpp"
#include "drawing.hpp"

namespace mserve::bench {
namespace {

constexpr double kPanelWidth = 180;
constexpr double kPanelHeight = 140;
constexpr double kColumnGap = 16;
constexpr double kRowGap = 20;
constexpr double kPanelsLeft = 70;
constexpr double kPanelsRight = 14;
constexpr double kWidthMin = 560;  ///< Of the texts above and below.
constexpr double kLegendTop = 50;
constexpr double kLegendLine = 22;
constexpr double kHeadings = 58;
constexpr double kPanelsFoot = 66;
constexpr double kPanelPad = 24;  ///< From a panel's edge to the first load.
constexpr double kDodge = 3.5;    ///< Between policies at one load, so that none hides another.
constexpr double kLoadRoom = 34;  ///< Loads closer than this share a label.

/// One figure, drawn in one row of panels.
struct PanelRow {
  const char* title;
  double AffinityResult::*figure;
  double scale;
  bool logarithmic;
};
constexpr std::array<PanelRow, 3> kRows = {{
    {"hit rate, %", &AffinityResult::hit_share, 100, false},
    {"mean, ms (log)", &AffinityResult::mean_ns, 1e-6, true},
    {"p99, ms (log)", &AffinityResult::p99_ns, 1e-6, true},
}};

class RoutesPicture {
 public:
  explicit RoutesPicture(const AffinityReport& report)
      : report_(report), columns_(std::min(report.cases.size(), kSvgCasesMax)) {
    width_ = std::max(
        kPanelsLeft + kPanelsRight + across(std::max<std::size_t>(columns_, 1)) - kColumnGap,
        kWidthMin);
    place_legend();
    height_ = top() + static_cast<double>(kRows.size()) * (kPanelHeight + kRowGap) - kRowGap +
              kPanelsFoot;
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
    const double middle = kPanelsLeft + (width_ - kPanelsLeft - kPanelsRight) / 2;
    text(middle, height_ - 30, "middle",
         "load, % of what the servants do when every request is cold");
    text(middle, height_ - 10, "middle",
         "marks: median repetition; strokes: lowest to highest, up to the edge");
    return svg_document(
        {width_, height_, canvas_.take()},
        "What routing gains: hit rate, mean and p99 latency over load, by policy",
        fmt::format("{} servants; a request takes {} us when its route is warm and {} us when it "
                    "is not; marks are medians, strokes go from the lowest to the highest "
                    "repetition.",
                    report_.servants, report_.warm_ns / 1000, report_.cold_ns / 1000));
  }

 private:
  struct Point {
    double x;
    double y;
  };

  template <class... Values>
  void add(fmt::format_string<Values...> form, Values&&... values) {
    canvas_.add(form, std::forward<Values>(values)...);
  }
  void text(double x, double y, const char* anchor, const std::string& words,
            std::string_view more = "") {
    canvas_.text(x, y, anchor, words, more);
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
    return kPanelsLeft + across(column) + kPanelPad + share * (kPanelWidth - 2 * kPanelPad);
  }

  void begin() {
    text(
        kPanelsLeft, 24, "start",
        fmt::format("{} servants: {} \xc2\xb5s when the route is warm, {} \xc2\xb5s when it is not",
                    report_.servants, report_.warm_ns / 1000, report_.cold_ns / 1000),
        " class=\"bold\"");
  }

  void place_legend() {
    Point at{kPanelsLeft, kLegendTop};
    for (const std::string& name : report_.policies) {
      const double wide = 44 + kLetter * static_cast<double>(name.size()) + 16;
      if (at.x > kPanelsLeft && at.x + wide > width_ - kPanelsRight) {
        at = {kPanelsLeft, at.y + kLegendLine};
      }
      legend_.push_back(at);
      at.x += wide;
    }
    legend_end_ = at.y;
  }

  [[nodiscard]] std::string dashes(std::size_t policy) const {
    return policy == report_.reference ? " stroke-dasharray=\"6 4\"" : "";
  }
  void marker(std::size_t policy, Point at) { canvas_.marker(policy, at.x, at.y); }

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
    const double x = kPanelsLeft + across(column) + kPanelWidth / 2;
    text(x, top() - 28, "middle", fmt::format("{} routes, {}", at.routes, at.distribution()),
         " class=\"bold\"");
    text(x, top() - 11, "middle", fmt::format("{} warm per servant", at.warm_routes));
  }

  void draw_loads(std::size_t column) {
    const double y = row_top(kRows.size() - 1) + kPanelHeight + 17;
    double last = -kLoadRoom;
    for (std::size_t load = 0; load < report_.loads.size(); ++load) {
      const double x = x_of(column, load);
      if (x - last >= kLoadRoom) {
        text(x, y, "middle", fmt::format("{:g}", report_.loads[load]));
        last = x;
      }
    }
  }

  [[nodiscard]] Axis axis_of(const PanelRow& row) const {
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
    return log_axis(*low, *high * 1.0001);
  }

  void draw_row(std::size_t r) {
    const PanelRow& row = kRows[r];
    const Axis axis = axis_of(row);
    const double middle = row_top(r) + kPanelHeight / 2;
    text(18, middle, "middle", row.title,
         fmt::format(" transform=\"rotate(-90 18 {:.1f})\"", middle));
    for (const double tick : axis.ticks) {
      text(kPanelsLeft - 8, y_of(r, axis, tick) + 4.5, "end", fmt::format("{:g}", tick));
    }
    for (std::size_t c = 0; c < columns_; ++c) {
      const double left = kPanelsLeft + across(c);
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
  Canvas canvas_;
};

}  // namespace

std::string to_svg(const AffinityReport& report) {
  return RoutesPicture(report).draw();
}

}  // namespace mserve::bench
