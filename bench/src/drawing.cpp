// SPDX-License-Identifier: Apache-2.0
#include "drawing.hpp"

#include <algorithm>
#include <cmath>

namespace mserve::bench {
namespace {

constexpr std::size_t kTicksMax = 6;

constexpr std::string_view kStyle =
    "svg text{font-family:system-ui,'Segoe UI','DejaVu Sans',Helvetica,Arial,sans-serif;"
    "font-size:13px;fill:#1f2328}svg .bold{font-weight:600}svg .muted{fill:#59636e}"
    ".bg{fill:#ffffff}.grid{stroke:#d1d9e0}.frame{stroke:#818b98;fill:none}"
    ".line{fill:none;stroke:currentColor;stroke-width:2}"
    ".range{fill:none;stroke:currentColor;stroke-width:1.5;stroke-opacity:.55}"
    ".band{fill:currentColor;fill-opacity:.13}.bar{fill:currentColor}"
    ".pale{fill:currentColor;fill-opacity:.4}.whisker{fill:none;stroke:#1f2328;stroke-width:1.2}"
    ".marker{fill:currentColor}";
constexpr std::string_view kDarkStyle =
    "svg text{fill:#e6edf3}svg .muted{fill:#9198a1}.bg{fill:#0d1117}.grid{stroke:#30363d}"
    ".frame{stroke:#7d8590}.whisker{stroke:#e6edf3}";

/// From below `low` to above `high`, in these steps of each power of ten.
std::vector<double> numbers(double low, double high, const std::vector<double>& steps) {
  std::vector<double> all;
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
  return all;
}

}  // namespace

std::string style_sheet() {
  std::string style(kStyle);
  for (std::size_t i = 0; i < kLooks.size(); ++i) {
    style += fmt::format(".p{}{{color:{}}}", i, kLooks[i].light);
  }
  style += "@media (prefers-color-scheme:dark){" + std::string(kDarkStyle);
  for (std::size_t i = 0; i < kLooks.size(); ++i) {
    style += fmt::format(".p{}{{color:{}}}", i, kLooks[i].dark);
  }
  return style + "}";
}

double Axis::place(double value) const {
  const auto on = [this](double v) { return logarithmic ? std::log10(v) : v; };
  const double within = std::clamp(value, ticks.front(), ticks.back());
  return (on(within) - on(ticks.front())) / (on(ticks.back()) - on(ticks.front()));
}

Axis log_axis(double low, double high) {
  std::vector<double> ticks = numbers(low, high, {1, 2, 5});
  if (ticks.size() > kTicksMax) {
    ticks = numbers(low, high, {1});
  }
  return {std::move(ticks), true};
}

Axis linear_axis(double high) {
  const double rough = std::max(high, 1e-9) / 5;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double step = power * (rough <= power       ? 1
                               : rough <= 2 * power ? 2
                               : rough <= 5 * power ? 5
                                                    : 10);
  Axis axis;
  for (int i = 0; axis.ticks.size() < 2 || axis.ticks.back() < high; ++i) {
    axis.ticks.push_back(i * step);
  }
  return axis;
}

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    safe += c == '&'   ? "&amp;"
            : c == '<' ? "&lt;"
            : c == '>' ? "&gt;"
            : c == '"' ? "&quot;"
                       : std::string(1, c);
  }
  return safe;
}

std::string svg_document(const Drawing& drawing, std::string_view title,
                         std::string_view description, bool styled) {
  Canvas canvas;
  canvas.add(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
      "width=\"{0:.0f}\" height=\"{1:.0f}\" role=\"img\">",
      drawing.width, drawing.height);
  canvas.add("<title>{}</title>", escaped(title));
  if (!description.empty()) {
    canvas.add("<desc>{}</desc>", escaped(description));
  }
  if (styled) {
    canvas.add("<style>{}</style>", style_sheet());
    canvas.add("<rect class=\"bg\" width=\"{:.0f}\" height=\"{:.0f}\"/>", drawing.width,
               drawing.height);
  }
  return canvas.take() + drawing.body + "</svg>\n";
}

}  // namespace mserve::bench
