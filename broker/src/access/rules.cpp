// SPDX-License-Identifier: Apache-2.0
#include "access/rules.hpp"

namespace mserve::broker {

std::shared_ptr<const AccessRules> AccessRules::read(const std::string& users_file,
                                                     const std::string& roles_file,
                                                     std::vector<std::string>& all_faults) {
  const std::size_t before = all_faults.size();
  auto rules = std::make_shared<AccessRules>();
  rules->users_ = Users::read(users_file, all_faults);
  rules->restricts_ = !roles_file.empty();
  if (rules->restricts_) {
    rules->roles_ = Roles::read(roles_file, all_faults);
  }
  if (all_faults.size() == before && rules->restricts_) {
    AccessFaults faults(all_faults);
    if (!rules->users_.has_roles()) {
      faults.add(users_file, 0, "expected a column role, as there is --roles");
      return nullptr;
    }
    for (const User& user : rules->users_.all()) {
      if (rules->roles_.find(user.role) == nullptr) {
        faults.add(users_file, user.line,
                   "expected a role of " + roles_file + ", not '" + shown_name(user.role) + "'");
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
