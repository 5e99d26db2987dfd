// SPDX-License-Identifier: Apache-2.0
// The rows of a section as bars beside each other, and both kinds of drawing together.
#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "figures_drawing.hpp"

namespace mserve::bench {
namespace {

constexpr double kRowHeight = 38;
constexpr double kBarHeight = 11;
constexpr double kMarkerRoom = 18;
constexpr double kNameRoomMax = 230;
constexpr double kNameLetter = 8.4;  ///< Wide fonts must not reach the marker.
constexpr double kFigureRoom = 76;   ///< Behind the bars, for their figures.
constexpr double kRatioLine = 20;
constexpr double kTickRoom = 54;        ///< Ticks closer than this share a label.
constexpr double kLinearRatioMax = 20;  ///< Rates that differ by more are drawn logarithmically.
constexpr double kTitleRoom = 52;
constexpr double kTitleLine = 20;  ///< Of this, where there is a title.
constexpr double kCurvesWidth = 460;
constexpr double kCurvesHeight = 300;
constexpr double kFoot = 14;

class Bars {
 public:
  Bars(const Section& section, double width)
      : section_(section),
        kept_(kept_of(section)),
        percentiles_(section.unit == Unit::ns ? std::vector<std::size_t>{kP50, kP99}
                                              : std::vector<std::size_t>{0}),
        width_(width),
        height_(kChartTop + kRowHeight * static_cast<double>(section.rows.size()) + kChartBottom +
                kRatioLine * static_cast<double>(section.comparisons.size())) {
    double letters = 4;
    for (const Row& row : section.rows) {
      letters = std::max(letters, static_cast<double>(row.name.size()));
    }
    left_ = kMarkerRoom + std::min(letters * kNameLetter, kNameRoomMax) + 8;
    axis_ = value_axis();
  }

  Drawing draw() {
    draw_grid();
    for (std::size_t r = 0; r < section_.rows.size(); ++r) {
      draw_row(r);
    }
    draw_ratios();
    return {width_, height_, canvas_.take()};
  }

 private:
  [[nodiscard]] double right() const { return width_ - kFigureRoom; }
  [[nodiscard]] double bottom() const {
    return kChartTop + kRowHeight * static_cast<double>(section_.rows.size());
  }
  [[nodiscard]] double x_of(double value) const {
    return left_ + (right() - left_) * axis_.place(value);
  }

  [[nodiscard]] Axis value_axis() const {
    double low = 1e18;
    double high = 0;
    for (const Row& row : section_.rows) {
      for (const std::size_t p : percentiles_) {
        const Spread s = spread_of(section_, row, kept_, p);
        low = s.low > 0 ? std::min(low, s.low) : low;
        high = std::max(high, s.median);
      }
    }
    if (counts_from_zero(section_.unit) || high <= 0 ||
        (section_.unit != Unit::ns && high < kLinearRatioMax * low)) {
      return linear_axis(std::max(high, 1e-3));
    }
    return log_axis(low * 0.6, high * 1.0001);
  }

  void draw_grid() {
    double last = -kTickRoom;
    for (const double tick : axis_.ticks) {
      const double x = x_of(tick);
      canvas_.add("<path class=\"grid\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", x, kChartTop, bottom());
      if (x - last >= kTickRoom) {
        canvas_.text(x, bottom() + 18, "middle", drawn(section_.unit, tick));
        last = x;
      }
    }
    std::string words = section_.unit == Unit::ns ? "full: p50, pale: p99" : "median";
    words += axis_.logarithmic ? ", logarithmic" : "";
    canvas_.text(left_ + (right() - left_) / 2, bottom() + 40, "middle",
                 words + "; strokes: lowest to highest", " class=\"muted\"");
  }

  void draw_row(std::size_t r) {
    const Row& row = section_.rows[r];
    const double top = kChartTop + kRowHeight * static_cast<double>(r);
    const double middle = top + kRowHeight / 2;
    const auto most = static_cast<std::size_t>(kNameRoomMax / kNameLetter);
    const std::string name =
        row.name.size() > most ? row.name.substr(0, most - 1) + "\xe2\x80\xa6" : row.name;
    canvas_.text(left_ - 8, middle + 4.5, "end", name);
    canvas_.add("<g class=\"p{}\">", r % kLooks.size());
    canvas_.marker(r, kMarkerRoom / 2, middle);
    canvas_.add("</g>");
    const double all = kBarHeight * static_cast<double>(percentiles_.size());
    for (std::size_t i = 0; i < percentiles_.size(); ++i) {
      const double y = middle - all / 2 + kBarHeight * static_cast<double>(i);
      draw_bar(r, spread_of(section_, row, kept_, percentiles_[i]), y, i != 0);
    }
  }

  void draw_bar(std::size_t r, const Spread& s, double y, bool pale) {
    canvas_.add(
        "<g class=\"p{}\"><rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
        "height=\"{:.1f}\"/></g>",
        r % kLooks.size(), pale ? "pale" : "bar", left_, y + 1,
        std::max(x_of(s.median) - left_, 1.0), kBarHeight - 2);
    const double y_middle = y + kBarHeight / 2;
    double end = x_of(s.median);
    if (s.high > s.low) {
      end = std::max(end, x_of(s.high));
      canvas_.add(
          "<path class=\"whisker\" d=\"M{0:.1f} {1:.1f}H{2:.1f}M{0:.1f} {3:.1f}v5M{2:.1f} "
          "{3:.1f}v5\"/>",
          x_of(s.low), y_middle, x_of(s.high), y_middle - 2.5);
    }
    canvas_.text(end + 6, y_middle + 4, "start", drawn(section_.unit, s.median),
                 " style=\"font-size:11px\"");
  }

  void draw_ratios() {
    double y = bottom() + kChartBottom + 10;
    for (const Comparison& c : section_.comparisons) {
      const std::string names =
          fmt::format("{} / {}: ", section_.rows.at(c.above).name, section_.rows.at(c.below).name);
      const Spread s = ratio_of(section_, c, kept_, kP50);
      const std::string figures =
          section_.unit == Unit::ns
              ? fmt::format("{} at p50, {} at p99", ratio_text(s.median),
                            ratio_text(ratio_of(section_, c, kept_, kP99).median))
              : ratio_text(s.median);
      canvas_.text(width_ - 4, y, "end", names + figures);
      y += kRatioLine;
    }
  }

  const Section& section_;
  Kept kept_;
  std::vector<std::size_t> percentiles_;
  double width_;
  double height_;
  double left_ = 0;
  Axis axis_;
  Canvas canvas_;
};

void put(Canvas& canvas, const Drawing& drawing, double x, double y) {
  canvas.add("<g transform=\"translate({:.1f} {:.1f})\">", x, y);
  canvas.add("{}</g>", drawing.body);
}

}  // namespace

std::string drawn(Unit unit, double value) {
  std::string text = humane(unit, value);
  if (text.ends_with(" us")) {
    text.replace(text.size() - 2, 1, "\xc2\xb5");
  }
  return text;
}

Drawing bars_of(const Section& section, double width) {
  return Bars(section, width).draw();
}

Drawing drawing_of(const Section& section, bool titled) {
  Canvas canvas;
  const Kept kept = kept_of(section);
  const double title_room = titled ? kTitleRoom : kTitleRoom - kTitleLine;
  if (titled) {
    canvas.text(14, 24, "start", section.title, " class=\"bold\"");
  }
  if (section.rows.empty() || kept.repetitions.empty()) {
    canvas.text(14, title_room - 8, "start", "nothing was measured", " class=\"muted\"");
    return {kSectionWidth, title_room + kFoot, canvas.take()};
  }
  canvas.text(14, title_room - 8, "start",
              fmt::format("medians of {} of {} repetitions{}", kept.repetitions.size(),
                          section.repetitions.size(),
                          kept.placement
                              ? fmt::format(", all with the cores {}", to_string(*kept.placement))
                          : kept.probed ? ", of which none was steady"
                                        : ""),
              " class=\"muted\"");
  double height = 0;
  if (section.unit == Unit::ns) {
    const Drawing bars = bars_of(section, kSectionWidth - kCurvesWidth - 14);
    const Drawing curves =
        curves_of(section, kCurvesWidth, std::max(kCurvesHeight, std::min(bars.height, 420.0)));
    put(canvas, curves, 0, title_room);
    put(canvas, bars, kCurvesWidth + 6, title_room);
    height = std::max(curves.height, bars.height);
  } else {
    const Drawing bars = bars_of(section, kSectionWidth - 20);
    put(canvas, bars, 14, title_room);
    height = bars.height;
  }
  return {kSectionWidth, title_room + height + kFoot, canvas.take()};
}

std::string to_svg(const Document& document) {
  Canvas canvas;
  const Machine& m = document.machine;
  canvas.text(14, 28, "start", document.command, " class=\"bold\" style=\"font-size:15px\"");
  canvas.text(14, 48, "start",
              fmt::format("{}, {} usable cores{}; {}; {} {}", m.processor, m.cores.size(),
                          m.virtualisation.empty() ? "" : ", virtual machine", m.kernel, m.compiler,
                          m.build_type),
              " class=\"muted\"");
  double y = 62;
  for (const Section& section : document.sections) {
    const Drawing drawing = drawing_of(section);
    put(canvas, drawing, 0, y);
    y += drawing.height;
  }
  return svg_document({kSectionWidth, y, canvas.take()}, document.command,
                      "latencies by percentile, and medians as bars; strokes and bands go from "
                      "the lowest to the highest repetition");
}

}  // namespace mserve::bench
