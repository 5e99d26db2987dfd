// SPDX-License-Identifier: Apache-2.0
// Rules of placement as text: which requests go to which servants.
//
//   RULE      = [ CONDITION... ] "->" SERVANTS [ "else" SERVANTS ]
//   CONDITION = "fn=" NAME,... | "user=" NAME,... | "route=" TEXT,... | "share=" PERCENT "%"
//   SERVANTS  = "any" | TAG... , where !TAG means: without this tag
//
//   fn=getTrades,getQuotes -> group=hdb            these two functions to the group hdb
//   share=10% -> version=canary else !version=canary
//   -> !version=canary                             all others
//
// All conditions of a rule have to hold; the first rule whose conditions hold decides. A share is
// one of users: always the same ones, and a larger share has those of a smaller one among it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mserve::broker {

/// Which servants: those that have all of some tags, and none of others.
struct Selector {
  std::vector<std::string> with;
  std::vector<std::string> without;

  /// @param tags  as a servant gave them, parted by blanks.
  [[nodiscard]] bool matches(std::string_view tags) const;
  /// In a form of its own for each set of servants: sorted, every tag once; "any" for all.
  [[nodiscard]] std::string text() const;
};

struct Rule {
  static constexpr std::uint32_t kAll = 10'000;

  std::vector<std::string> functions;  ///< One of them; empty: any.
  std::vector<std::string> users;
  std::vector<std::string> routes;
  std::uint32_t share = kAll;  ///< Of users, in hundredths of a percent.
  Selector servants;
  std::optional<Selector> otherwise;  ///< While none of `servants` is there.
};

/// Most rules of a broker: each request is compared with all of them.
inline constexpr std::size_t kRulesMax = 64;

/// Reads one rule. Nothing if it is malformed; `fault` says why then, with the word that is wrong.
[[nodiscard]] std::optional<Rule> parse_rule(std::string_view text, std::string& fault);

}  // namespace mserve::broker
