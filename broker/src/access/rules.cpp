// SPDX-License-Identifier: Apache-2.0
#include "access/rules.hpp"

namespace mserve::broker {

std::shared_ptr<const AccessRules> AccessRules::read(const AccessSources& from,
                                                     std::vector<std::string>& all_faults) {
  const std::size_t before = all_faults.size();
  const std::optional<TableText> users =
      from.users_table ? from.users_table : read_table(from.users_file, all_faults);
  std::optional<TableText> roles = from.roles_table;
  if (!roles && from.has_roles()) {
    roles = read_table(from.roles_file, all_faults);
  }
  auto rules = std::make_shared<AccessRules>();
  rules->restricts_ = from.has_roles();
  if (users) {
    rules->users_ = Users::parse(*users, all_faults);
  }
  if (roles) {
    rules->roles_ = Roles::parse(*roles, all_faults);
  }
  if (all_faults.size() == before && rules->restricts_) {
    AccessFaults faults(*users, all_faults);
    if (!rules->users_.has_roles()) {
      faults.add(0, "expected a column role, as there is " +
                        std::string(from.roles_table ? roles->name : "--roles"));
      return nullptr;
    }
    for (const User& user : rules->users_.all()) {
      if (rules->roles_.find(user.role) == nullptr) {
        faults.add(user.line,
                   "expected a role of " + roles->name + ", not '" + shown_name(user.role) + "'");
      }
    }
  }
  return all_faults.size() == before ? rules : nullptr;
}

std::shared_ptr<const Role> AccessRules::admit(std::string_view user,
                                               const Secret& password) const {
  const User* const known = users_.find(user);
  const User* const checked = known != nullptr ? known : users_.decoy(user);
  const bool right = checked != nullptr && verify(password, checked->password);
  return right && known != nullptr ? role_of(*known) : nullptr;
}

std::shared_ptr<const Role> AccessRules::role_named(std::string_view user) const {
  const User* const known = users_.find(user);
  return known != nullptr ? role_of(*known) : nullptr;
}

std::shared_ptr<const Role> AccessRules::role_of(const User& user) const {
  return role_told(user.role);
}

std::shared_ptr<const Role> AccessRules::role_told(std::string_view name) const {
  if (restricts_) {
    return roles_.find(name);
  }
  auto role = std::make_shared<Role>();
  role->name = name;
  role->unrestricted = true;
  return role;
}

}  // namespace mserve::broker
