// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "placement/rule.hpp"

namespace mserve::broker {

/// The rules as the data thread asks them: hashes and numbers. Immutable.
class Placement {
 public:
  /// Hashes as those of routes (qclient/kdb/route.hpp) by `fn`, `user` and the broker's own rule;
  /// 0: nobody knows.
  struct Request {
    std::uint64_t function = 0;
    std::uint64_t user = 0;
    std::uint64_t route = 0;
  };

  Placement() = default;
  /// @param classes  for each rule the class of its servants.
  /// @param here     for each class the one of those of its servants that are no links to other
  ///                 brokers; empty: there are no links.
  Placement(std::span<const Rule> rules, std::span<const std::uint32_t> classes,
            std::vector<std::uint32_t> here = {});

  /// The class of the first rule that fits; 0, any servant, if none does.
  [[nodiscard]] std::uint32_t class_for(const Request& request) const noexcept;
  /// The same servants, but for links to other brokers.
  [[nodiscard]] std::uint32_t here_only(std::uint32_t class_number) const noexcept {
    return class_number < here_.size() ? here_[class_number] : class_number;
  }
  /// Where this user stands among all of them, 0 to Rule::kAll - 1: a share of n has those below n.
  [[nodiscard]] static std::uint32_t standing_of(std::uint64_t user) noexcept;

 private:
  struct Compiled {
    std::vector<std::uint64_t> functions;  // Sorted; empty: any.
    std::vector<std::uint64_t> users;
    std::vector<std::uint64_t> routes;
    std::uint32_t share;
    std::uint32_t class_number;
  };
  std::vector<Compiled> rules_;
  std::vector<std::uint32_t> here_;
};

}  // namespace mserve::broker
