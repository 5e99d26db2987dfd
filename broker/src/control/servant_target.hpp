// SPDX-License-Identifier: Apache-2.0
// Which servants an operator means.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mserve::broker {

/// The forms of a target, for messages and --help.
inline constexpr std::string_view kTargetForms =
    "all, NUMBER, name:NAME, group:NAME, tag:NAME=VALUE";

/// A parsed target.
class ServantTarget {
 public:
  /// `all`; a number as in `.mserve.servants[]`; `name:NAME`, for servants that are called so;
  /// `tag:WORD`, for servants with that word among their tags, such as tag:version=canary;
  /// `group:NAME`, which is tag:group=NAME.
  /// @return nothing for anything else.
  [[nodiscard]] static std::optional<ServantTarget> parse(std::string_view text);

  /// @param number  from 1; 0 for one without a number.
  /// @param tags    as the servant gave them: words with blanks between.
  [[nodiscard]] bool matches(std::uint32_t number, std::string_view name,
                             std::string_view tags) const noexcept;
  /// The number that it names; 0: it names none.
  [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
  /// Whether it is `all`.
  [[nodiscard]] bool is_all() const noexcept {
    return number_ == 0 && name_.empty() && word_.empty();
  }

 private:
  std::uint32_t number_ = 0;  ///< 0: not by number.
  std::string name_;          ///< Empty: not by name.
  std::string word_;          ///< Empty: not by tag.
};

}  // namespace mserve::broker
