// SPDX-License-Identifier: Apache-2.0
// Figures as one page: no script, no other file.
#include "figures_drawing.hpp"

namespace mserve::bench {
namespace {

constexpr std::string_view kPageStyle =
    ":root{color-scheme:light dark}"
    "body{font:15px/1.5 system-ui,'Segoe UI','DejaVu Sans',Helvetica,Arial,sans-serif;margin:0 "
    "auto;"
    "padding:24px 20px 60px;max-width:1120px;color:#1f2328;background:#ffffff}"
    "h1{font-size:22px;margin:0 0 12px}h2{font-size:18px;margin:40px 0 6px;padding-top:16px;"
    "border-top:1px solid #d1d9e0}code{font:13px ui-monospace,'DejaVu Sans Mono',monospace}"
    "p{margin:6px 0}.scroll{overflow-x:auto}table{border-collapse:collapse;margin:10px 0;"
    "font-variant-numeric:tabular-nums;font-size:13.5px}th,td{padding:4px 8px;text-align:right;"
    "border-bottom:1px solid #d1d9e0;white-space:nowrap}th:first-child,td:first-child{text-align:"
    "left}td small{color:#59636e;display:block}td:first-child "
    "small{white-space:normal;max-width:240px}.facts td{text-align:left;white-space:normal}"
    ".facts "
    "td:first-child{color:#59636e;padding-left:0;white-space:nowrap;vertical-align:top}.warning{"
    "border-left:3px solid #9a6700;"
    "padding:4px 10px;background:#fff8c5;color:#1f2328;margin:6px 0}"
    "svg{max-width:100%;height:auto}";
constexpr std::string_view kDarkPageStyle =
    "@media (prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}h2{border-color:"
    "#30363d}th,td{border-color:#30363d}td small,.facts td:first-child{color:#9198a1}"
    ".warning{background:#2d2410;color:#e6edf3;border-color:#d29922}}";

void fact(Canvas& page, std::string_view what, std::string_view text) {
  if (!text.empty()) {
    page.add("<tr><td>{}</td><td>{}</td></tr>", what, escaped(text));
  }
}

void add_facts(Canvas& page, const Document& d) {
  const Machine& m = d.machine;
  page.add("<table class=\"facts\">");
  fact(page, "machine",
       fmt::format("{}, {} cores online, {} usable{}", m.processor, m.cores_online, m.cores.size(),
                   m.virtualisation.empty() ? "" : ", virtual machine (" + m.virtualisation + ")"));
  fact(page, "system",
       fmt::format("{}, clock source {}, governor {}, load {} before the run", m.kernel,
                   m.clocksource.empty() ? "not visible" : m.clocksource,
                   m.governor.empty() ? "not visible" : m.governor, m.load));
  fact(page, "build",
       fmt::format("{}, {}, {}, commit {}", m.build_type, m.compiler, m.build_flags, m.commit));
  fact(page, "timer",
       fmt::format("{}, {} ns at p50, contained once in each sample",
                   d.timer_from_tsc ? "rdtscp" : "clock_gettime", d.timer.p50_ns));
  page.add("</table>");
}

void add_warning(Canvas& page, std::string_view text) {
  page.add("<p class=\"warning\">{}</p>", escaped(text));
}

std::string cell(Unit unit, const Spread& s) {
  return fmt::format("<td>{}<small>{} \xe2\x80\x93 {}</small></td>", escaped(drawn(unit, s.median)),
                     escaped(drawn(unit, s.low)), escaped(drawn(unit, s.high)));
}

std::size_t columns(const Section& section) {
  return section.unit == Unit::ns ? kPercentiles.size() : 1;
}

void add_rows(Canvas& page, const Section& section, const Kept& kept) {
  page.add("<div class=\"scroll\"><table><tr><th></th>");
  for (std::size_t i = 0; i < columns(section); ++i) {
    page.add("<th>{}</th>", section.unit == Unit::ns ? kPercentiles[i].name : "median");
  }
  page.add("</tr>");
  for (const Row& row : section.rows) {
    page.add("<tr><td>{}<small>{}</small></td>", escaped(row.name), escaped(row.setting));
    for (std::size_t i = 0; i < columns(section); ++i) {
      page.add("{}", cell(section.unit, spread_of(section, row, kept, i)));
    }
    page.add("</tr>");
  }
  page.add("</table></div>");
}

std::string ratio_cell(const Spread& s) {
  return fmt::format("<td>{}<small>{} \xe2\x80\x93 {}</small></td>", ratio_text(s.median),
                     ratio_text(s.low), ratio_text(s.high));
}

void add_ratios(Canvas& page, const Section& section, const Kept& kept) {
  if (section.comparisons.empty()) {
    return;
  }
  const bool ns = section.unit == Unit::ns;
  page.add("<div class=\"scroll\"><table><tr><th>ratio</th>{}<th>budget</th></tr>",
           ns ? "<th>at p50</th><th>at p99</th>" : "<th></th>");
  for (const Comparison& c : section.comparisons) {
    page.add("<tr><td>{} / {}</td>{}{}<td>{}</td></tr>", escaped(section.rows.at(c.above).name),
             escaped(section.rows.at(c.below).name), ratio_cell(ratio_of(section, c, kept, kP50)),
             ns ? ratio_cell(ratio_of(section, c, kept, kP99)) : "", escaped(c.budget));
  }
  page.add("</table></div>");
}

void add_section(Canvas& page, const Section& section) {
  const Kept kept = kept_of(section);
  page.add("<h2>{}</h2>", escaped(section.title));
  page.add("<table class=\"facts\">");
  fact(page, section.unit == Unit::ns ? "a sample" : "counted", section.sample);
  fact(page, "pinning", section.pinning);
  fact(page, "idle", section.idle);
  page.add("</table>");
  for (const std::string& warning : warnings_of(section)) {
    add_warning(page, warning);
  }
  page.add("{}", svg_document(drawing_of(section, false), section.title, "", false));
  if (!kept.repetitions.empty()) {
    add_rows(page, section, kept);
    add_ratios(page, section, kept);
  }
}

}  // namespace

std::string to_html(const Document& d) {
  Canvas page;
  page.add("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
  page.add("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
  page.add("<title>{}</title>", escaped(d.command));
  page.add("<style>{}{}{}</style></head><body>", kPageStyle, style_sheet(), kDarkPageStyle);
  page.add("<h1>mserve-bench</h1><p><code>{}</code></p>", escaped(d.command));
  add_facts(page, d);
  for (const std::string& warning : d.warnings) {
    add_warning(page, warning);
  }
  for (const Section& section : d.sections) {
    add_section(page, section);
  }
  for (const Picture& picture : d.pictures) {
    page.add("<h2>{}</h2>\n{}", escaped(picture.title), picture.svg);
  }
  page.add("</body></html>");
  return page.take();
}

}  // namespace mserve::bench
