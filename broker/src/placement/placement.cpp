// SPDX-License-Identifier: Apache-2.0
#include "placement/placement.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "mserve/kdb/route.hpp"

namespace mserve::broker {

namespace {

template <class Hash>
std::vector<std::uint64_t> hashes_of(const std::vector<std::string>& texts, const Hash& hash) {
  std::vector<std::uint64_t> hashes;
  hashes.reserve(texts.size());
  for (const std::string& text : texts) {
    hashes.push_back(hash(text));
  }
  std::sort(hashes.begin(), hashes.end());
  return hashes;
}

bool fits(const std::vector<std::uint64_t>& wanted, std::uint64_t given) noexcept {
  return wanted.empty() || (given != 0 && std::binary_search(wanted.begin(), wanted.end(), given));
}

}  // namespace

Placement::Placement(std::span<const Rule> rules, std::span<const std::uint32_t> classes,
                     std::vector<std::uint32_t> here)
    : here_(std::move(here)) {
  for (std::size_t at = 0; at < rules.size(); ++at) {
    const Rule& rule = rules[at];
    const auto function = [](const std::string& name) {
      return kdb::route_of(name, {}, {.kind = kdb::RouteRule::Kind::function}).hash;
    };
    const auto user = [](const std::string& name) {
      return kdb::route_of("", {}, {.kind = kdb::RouteRule::Kind::user}, {.user = name}).hash;
    };
    const auto route = [](const std::string& text) { return kdb::route_of_text(text).hash; };
    rules_.push_back({hashes_of(rule.functions, function), hashes_of(rule.users, user),
                      hashes_of(rule.routes, route), rule.share, classes[at]});
  }
}

std::uint32_t Placement::standing_of(std::uint64_t user) noexcept {
  // Once more mixed, since the hash decides about the route `user` as well.
  std::uint64_t mixed = (user ^ user >> 33) * 0xff51afd7ed558ccd;
  mixed = (mixed ^ mixed >> 33) * 0xc4ceb9fe1a85ec53;
  return static_cast<std::uint32_t>((mixed ^ mixed >> 33) % Rule::kAll);
}

std::uint32_t Placement::class_for(const Request& request) const noexcept {
  for (const Compiled& rule : rules_) {
    if (fits(rule.functions, request.function) && fits(rule.users, request.user) &&
        fits(rule.routes, request.route) &&
        (rule.share == Rule::kAll ||
         (request.user != 0 && standing_of(request.user) < rule.share))) {
      return rule.class_number;
    }
  }
  return 0;
}

}  // namespace mserve::broker
