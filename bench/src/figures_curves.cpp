// SPDX-License-Identifier: Apache-2.0
// The percentile curves of a section.
#include <algorithm>
#include <array>
#include <cmath>

#include "figures_drawing.hpp"

namespace mserve::bench {
namespace {

constexpr double kLeft = 76;
constexpr double kRight = 20;

/// Percentiles that the axis names.
constexpr std::array<std::pair<double, const char*>, 7> kTicks = {{{0, "min"},
                                                                   {50, "p50"},
                                                                   {90, "p90"},
                                                                   {99, "p99"},
                                                                   {99.9, "p99.9"},
                                                                   {99.99, "p99.99"},
                                                                   {99.999, "p99.999"}}};

/// log10(1 / (1 - p)).
double decades(double percent) {
  return -std::log10(1 - percent / 100);
}

class Curves {
 public:
  Curves(const Section& section, double width, double height)
      : section_(section), kept_(kept_of(section)), width_(width), height_(height) {
    for (const Row& row : section.rows) {
      points_.push_back(shown_points(row));
      last_ = std::max(last_, points_.back());
    }
    x_end_ = decades(kCurvePercents[last_ - 1]);
    axis_ = value_axis();
  }

  Drawing draw() {
    draw_grid();
    for (std::size_t r = 0; r < section_.rows.size(); ++r) {
      draw_row(r);
    }
    return {width_, height_, canvas_.take()};
  }

 private:
  /// Points of the curve that have at least one sample beyond them in each repetition, at least 2.
  [[nodiscard]] std::size_t shown_points(const Row& row) const {
    std::uint64_t samples = UINT64_MAX;
    for (const std::size_t r : kept_.repetitions) {
      const std::uint64_t count = row.figures.at(r).quantiles.count;
      samples = count > 0 ? std::min(samples, count) : samples;
    }
    samples = samples != UINT64_MAX ? samples : 0;
    std::size_t n = 2;
    while (n < kCurvePercents.size() &&
           static_cast<double>(samples) * (1 - kCurvePercents[n] / 100) >= 1) {
      ++n;
    }
    return n;
  }
  [[nodiscard]] double x_of(double percent) const {
    return kLeft + (width_ - kLeft - kRight) * decades(percent) / x_end_;
  }
  [[nodiscard]] double y_of(double ns) const {
    return kChartTop + (height_ - kChartTop - kChartBottom) * (1 - axis_.place(std::max(ns, 1.0)));
  }

  [[nodiscard]] Axis value_axis() const {
    double low = 1e18;
    double high = 1;
    for (std::size_t r = 0; r < section_.rows.size(); ++r) {
      for (std::size_t i = 0; i < points_[r]; ++i) {
        const double ns = curve_of(section_.rows[r], kept_, i).median;
        low = std::min(low, std::max(ns, 1.0));
        high = std::max(high, ns);
      }
    }
    return log_axis(low, high * 1.0001);
  }

  void draw_grid() {
    const double bottom = height_ - kChartBottom;
    for (const double tick : axis_.ticks) {
      canvas_.add("<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", kLeft, y_of(tick),
                  width_ - kRight);
      canvas_.text(kLeft - 8, y_of(tick) + 4.5, "end", drawn(Unit::ns, tick));
    }
    for (const auto& [percent, name] : kTicks) {
      if (decades(percent) > x_end_ + 1e-9) {
        break;
      }
      canvas_.add("<path class=\"grid\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", x_of(percent), kChartTop,
                  bottom);
      if (percent > 0) {
        canvas_.text(x_of(percent), bottom + 18, "middle", name);
      }
    }
    canvas_.add(
        "<rect class=\"frame\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
        "height=\"{:.1f}\"/>",
        kLeft, kChartTop, width_ - kLeft - kRight, bottom - kChartTop);
    canvas_.text(kLeft + (width_ - kLeft - kRight) / 2, bottom + 40, "middle",
                 "percentile, spread by 1 / (1 - p)", " class=\"muted\"");
  }

  void draw_row(std::size_t r) {
    const Row& row = section_.rows[r];
    std::string line;
    std::string back;
    std::string there;
    for (std::size_t i = 0; i < points_[r]; ++i) {
      const Spread s = curve_of(row, kept_, i);
      const double x = x_of(kCurvePercents[i]);
      line += fmt::format("{}{:.1f} {:.1f}", i == 0 ? "M" : "L", x, y_of(s.median));
      there += fmt::format("{}{:.1f} {:.1f}", i == 0 ? "M" : "L", x, y_of(s.high));
      back.insert(0, fmt::format("L{:.1f} {:.1f}", x, y_of(s.low)));
    }
    canvas_.add("<g class=\"p{}\">", r % kLooks.size());
    canvas_.add("<path class=\"band\" d=\"{}{}Z\"/>", there, back);
    canvas_.add("<path class=\"line\"{} d=\"{}\"/>",
                r >= kLooks.size() ? " stroke-dasharray=\"6 4\"" : "", line);
    for (std::size_t i = 0; i < points_[r]; ++i) {
      const double percent = kCurvePercents[i];
      if (percent > 0 && std::any_of(kTicks.begin(), kTicks.end(),
                                     [percent](const auto& t) { return t.first == percent; })) {
        canvas_.marker(r, x_of(percent), y_of(curve_of(row, kept_, i).median));
      }
    }
    canvas_.add("</g>");
  }

  const Section& section_;
  Kept kept_;
  double width_;
  double height_;
  std::vector<std::size_t> points_;  ///< By row: how many of kCurvePercents are drawn.
  std::size_t last_ = 2;
  double x_end_ = 1;
  Axis axis_;
  Canvas canvas_;
};

}  // namespace

Drawing curves_of(const Section& section, double width, double height) {
  return Curves(section, width, height).draw();
}

}  // namespace mserve::bench
