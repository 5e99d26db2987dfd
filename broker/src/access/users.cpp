// SPDX-License-Identifier: Apache-2.0
#include "access/users.hpp"

#include <algorithm>
#include <functional>

namespace mserve::broker {

namespace {

constexpr std::string_view kForms =
    "expected a header that names the columns user and password, or lines user:password";

}  // namespace

Users Users::read(const std::string& path, std::vector<std::string>& faults) {
  const std::optional<TableText> table = read_table(path, faults);
  return table ? parse(*table, faults) : Users();
}

Users Users::parse(const TableText& table, std::vector<std::string>& all_faults) {
  AccessFaults faults(table, all_faults);
  Users users;
  const std::vector<FileLine> lines = lines_of(table, faults);
  if (lines.empty()) {
    if (faults.none()) {
      faults.add(0, std::string(kForms));
    }
    return users;
  }
  const std::string& first = lines.front().text;
  const auto header = split_fields(first, separator_of(first));
  if (header && column_of(*header, {"user", "username"}) && column_of(*header, {"password"})) {
    users.parse_table(lines, *header, faults);
  } else if (first.find(':') != std::string::npos) {
    users.parse_pairs(lines, faults);
  } else {
    faults.add(lines.front().number, std::string(kForms));
  }
  users.sort(faults);
  return users;
}

void Users::parse_table(const std::vector<FileLine>& lines, const std::vector<std::string>& header,
                        AccessFaults& faults) {
  const char separator = separator_of(lines.front().text);
  const std::size_t name_at = *column_of(header, {"user", "username"});
  const std::size_t password_at = *column_of(header, {"password"});
  const auto role_at = column_of(header, {"role", "roles"});
  has_roles_ = role_at.has_value();
  for (auto line = lines.begin() + 1; line != lines.end() && !faults.full(); ++line) {
    const auto fields = split_fields(line->text, separator);
    if (!fields || fields->size() != header.size()) {
      faults.add(line->number, "expected " + std::to_string(header.size()) + " fields");
      continue;
    }
    auto password = parse_password((*fields)[password_at], false);
    if (!password) {
      faults.add(line->number,
                 "expected a password's SHA-1 in 40 hex digits, or what mserve-client passwd "
                 "writes");
      continue;
    }
    add(line->number, (*fields)[name_at], std::move(password),
        role_at ? (*fields)[*role_at] : std::string(), faults);
  }
}

void Users::parse_pairs(const std::vector<FileLine>& lines, AccessFaults& faults) {
  for (auto line = lines.begin(); line != lines.end() && !faults.full(); ++line) {
    const std::size_t colon = line->text.find(':');
    auto password = colon != std::string::npos
                        ? parse_password(std::string_view(line->text).substr(colon + 1), true)
                        : std::nullopt;
    if (!password) {
      faults.add(line->number, "expected user:password");
      continue;
    }
    add(line->number, std::string_view(line->text).substr(0, colon), std::move(password), {},
        faults);
  }
}

void Users::add(std::uint32_t line, std::string_view name, std::optional<StoredPassword> password,
                std::string_view role, AccessFaults& faults) {
  if (name.empty() || name.size() > kNameBytesMax || name.find(':') != std::string_view::npos) {
    faults.add(line, "expected a user's name of at most 256 bytes, without a colon");
  } else if (users_.size() == kUsersMax) {
    faults.add(line, "expected at most " + std::to_string(kUsersMax) + " users");
  } else {
    users_.push_back({std::string(name), *std::move(password), std::string(role), line});
  }
}

void Users::sort(AccessFaults& faults) {
  std::stable_sort(users_.begin(), users_.end(),
                   [](const User& a, const User& b) { return a.name < b.name; });
  for (std::size_t i = 1; i < users_.size(); ++i) {
    if (users_[i].name == users_[i - 1].name) {
      faults.add(users_[i].line, "expected each user once; '" + shown_name(users_[i].name) +
                                     "' is in line " + std::to_string(users_[i - 1].line));
    }
  }
}

const User* Users::find(std::string_view name) const noexcept {
  const auto found = std::lower_bound(
      users_.begin(), users_.end(), name,
      [](const User& user, std::string_view wanted) { return user.name < wanted; });
  return found != users_.end() && found->name == name ? &*found : nullptr;
}

const User* Users::decoy(std::string_view name) const noexcept {
  return users_.empty() ? nullptr : &users_[std::hash<std::string_view>{}(name) % users_.size()];
}

}  // namespace mserve::broker
