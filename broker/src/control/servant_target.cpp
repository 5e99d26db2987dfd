// SPDX-License-Identifier: Apache-2.0
#include "control/servant_target.hpp"

#include <charconv>

#include "control/servant_tags.hpp"

namespace mserve::broker {

std::optional<ServantTarget> ServantTarget::parse(std::string_view text) {
  constexpr std::string_view kGroup = "group:";
  constexpr std::string_view kTag = "tag:";
  constexpr std::string_view kNamePrefix = "name:";
  ServantTarget target;
  if (text == "all") {
    return target;
  }
  if (text.starts_with(kGroup)) {
    text.remove_prefix(kGroup.size());
    target.word_ = "group=";
    target.word_ += text;
  } else if (text.starts_with(kTag)) {
    text.remove_prefix(kTag.size());
    target.word_ = text;
  } else if (text.starts_with(kNamePrefix)) {
    text.remove_prefix(kNamePrefix.size());
    target.name_ = text;
  } else {
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, target.number_);
    const bool number = error == std::errc{} && rest == end && target.number_ != 0;
    return number ? std::optional(target) : std::nullopt;
  }
  const bool word = !text.empty() && text.find(' ') == std::string_view::npos;
  return word ? std::optional(target) : std::nullopt;
}

bool ServantTarget::matches(std::uint32_t number, std::string_view name,
                            std::string_view tags) const noexcept {
  if (number_ != 0) {
    return number == number_;
  }
  if (!name_.empty()) {
    return name == name_;
  }
  return word_.empty() || has_tag(tags, word_);
}

}  // namespace mserve::broker
