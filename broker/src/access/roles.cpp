// SPDX-License-Identifier: Apache-2.0
#include "access/roles.hpp"

#include <algorithm>

#include "mserve/kdb/parse.hpp"

namespace mserve::broker {

namespace {

constexpr std::string_view kHeader = "expected a header that names the columns role and fn";

/// Adds the functions of one line. @return the one that is no name; empty: all are.
std::string add_functions(Role& role, std::string_view list) {
  constexpr std::string_view kBetween = ",; \t";
  while (!list.empty()) {
    const std::size_t end = std::min(list.find_first_of(kBetween), list.size());
    const std::string_view function = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    if (function == "*") {
      role.unrestricted = true;
    } else if (kdb::is_name(function)) {
      role.functions.emplace_back(function);
    } else if (!function.empty()) {
      return std::string(function);
    }
  }
  return {};
}

}  // namespace

bool Role::lists(std::string_view function) const noexcept {
  return std::binary_search(functions.begin(), functions.end(), function);
}

Roles Roles::read(const std::string& path, std::vector<std::string>& faults) {
  const std::optional<TableText> table = read_table(path, faults);
  return table ? parse(*table, faults) : Roles();
}

Roles Roles::parse(const TableText& table, std::vector<std::string>& all_faults) {
  AccessFaults faults(table, all_faults);
  Roles roles;
  const std::vector<FileLine> lines = lines_of(table, faults);
  if (lines.empty()) {
    if (faults.none()) {
      faults.add(0, std::string(kHeader));
    }
    return roles;
  }
  const char separator = separator_of(lines.front().text);
  const auto header = split_fields(lines.front().text, separator);
  const auto name_at = header ? column_of(*header, {"role"}) : std::nullopt;
  const auto functions_at =
      header ? column_of(*header, {"fn", "function", "functions"}) : std::nullopt;
  if (!name_at || !functions_at) {
    faults.add(lines.front().number, std::string(kHeader));
    return roles;
  }
  for (auto line = lines.begin() + 1; line != lines.end() && !faults.full(); ++line) {
    const auto fields = split_fields(line->text, separator);
    if (!fields || fields->size() != header->size() || (*fields)[*name_at].empty()) {
      faults.add(line->number,
                 "expected " + std::to_string(header->size()) + " fields, with a role's name");
      continue;
    }
    const std::string& name = (*fields)[*name_at];
    std::shared_ptr<Role>& role = roles.roles_[name];
    if (role == nullptr) {
      role = std::make_shared<Role>();
      role->name = name;
    }
    if (const std::string wrong = add_functions(*role, (*fields)[*functions_at]); !wrong.empty()) {
      faults.add(line->number, "expected names of functions or *, not '" + shown_name(wrong) + "'");
    }
    if (roles.size() > kRolesMax) {
      faults.add(line->number, "expected at most " + std::to_string(kRolesMax) + " roles");
      break;
    }
  }
  for (auto& [name, role] : roles.roles_) {
    std::sort(role->functions.begin(), role->functions.end());
  }
  return roles;
}

std::shared_ptr<const Role> Roles::find(std::string_view name) const {
  const auto found = roles_.find(name);
  return found != roles_.end() ? found->second : nullptr;
}

}  // namespace mserve::broker
