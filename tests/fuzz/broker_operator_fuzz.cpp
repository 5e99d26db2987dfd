// SPDX-License-Identifier: Apache-2.0
// Any text as what an operator or a servant says in words: the target of mserve-stat ctl, a rule of
// placement, tags, a list of cores. What is accepted stays within its bounds and means the same
// when it is written out.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "control/servant_tags.hpp"
#include "control/servant_target.hpp"
#include "core_list.hpp"
#include "mserve/kdb/route.hpp"
#include "placement/class_table.hpp"
#include "placement/rule.hpp"

namespace {

using namespace mserve::broker;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

void fuzz_target(std::string_view text, std::string_view tags) {
  const auto target = ServantTarget::parse(text);
  if (!target) {
    return;
  }
  require(!target->is_all() || target->matches(7, "any", tags));
  (void)target->matches(1, text, tags);
}

void fuzz_rule(std::string_view text, std::string_view tags) {
  std::string fault;
  const auto rule = parse_rule(text, fault);
  require(rule.has_value() == fault.empty());
  if (!rule) {
    return;
  }
  require(rule->share <= Rule::kAll);
  (void)rule->servants.matches(tags);
  const std::string servants = rule->servants.text();
  std::string again;
  const auto same = parse_rule("-> " + servants, again);
  require(same.has_value() && same->servants.text() == servants);
  require(same->servants.matches(tags) == rule->servants.matches(tags));
  ClassTable classes(kClassesMax);
  (void)classes.apply(std::span(&*rule, 1), fault);
}

void fuzz_cores(std::string_view text) {
  const auto cores = mserve::parse_cores(text);
  if (!cores) {
    return;
  }
  require(std::is_sorted(cores->begin(), cores->end()));
  require(mserve::parse_cores(mserve::cores_text(*cores)) == cores || cores->empty());
}

void fuzz_route_rule(std::string_view text) {
  const auto rule = mserve::kdb::parse_rule(text);
  if (rule) {
    const std::string written = mserve::kdb::to_text(*rule);
    require(written.size() < 64 && *mserve::kdb::parse_rule(written) == *rule);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::size_t split = std::min(all.find('\n'), all.size());
  const std::string_view text = all.substr(0, split);
  const std::string_view tags = all.substr(std::min(split + 1, all.size()));
  fuzz_target(text, tags);
  fuzz_rule(text, tags);
  fuzz_cores(text);
  fuzz_route_rule(text);
  if (const auto weight = weight_of(tags)) {
    require(*weight >= 1 && *weight <= kWeightMax);
  }
  require(text.empty() || text.find(' ') != std::string_view::npos || has_tag(text, text));
  return 0;
}
