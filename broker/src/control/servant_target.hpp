// SPDX-License-Identifier: Apache-2.0
// Which servants an operator means.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mserve::broker {

/// The forms of a target, for messages and --help.
inline constexpr std::string_view kTargetForms = "all, NUMBER, group:NAME, tag:NAME=VALUE";

/// A parsed target.
class ServantTarget {
 public:
  /// `all`; a number as in `.mserve.servants[]`; `tag:WORD`, for servants with that word among
  /// their tags, such as tag:version=canary; `group:NAME`, which is tag:group=NAME.
  /// @return nothing for anything else.
  [[nodiscard]] static std::optional<ServantTarget> parse(std::string_view text);

  /// @param number  from 1.   @param tags  as the servant gave them: words with blanks between.
  [[nodiscard]] bool matches(std::uint32_t number, std::string_view tags) const noexcept;

 private:
  std::uint32_t number_ = 0;  ///< 0: not by number.
  std::string word_;          ///< Empty: not by tag. Neither: all.
};

/// Whether `word` is one of the words of `tags`.
[[nodiscard]] bool has_tag(std::string_view tags, std::string_view word) noexcept;

}  // namespace mserve::broker
