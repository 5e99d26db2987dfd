// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/roles.hpp"
#include "access/table_file.hpp"
#include "access/users.hpp"

namespace mserve::broker {

/// Where to find who may connect and what they may call.
struct AccessSources {
  std::string users_file{};
  std::string roles_file{};                ///< Empty: whoever may connect may call everything.
  std::optional<TableText> users_table{};  ///< Takes the place of the file; so does the other.
  std::optional<TableText> roles_table{};

  [[nodiscard]] bool has_users() const noexcept { return users_table || !users_file.empty(); }
  [[nodiscard]] bool has_roles() const noexcept { return roles_table || !roles_file.empty(); }
};

/// Who may connect and what they may call, as two tables said at one moment; never changed.
/// @thread any.
class AccessRules {
 public:
  /// Opens the files that no table takes the place of. Of sources that have users.
  /// @return null, with every fault in `faults`, unless both are good and fit together.
  [[nodiscard]] static std::shared_ptr<const AccessRules> read(const AccessSources& from,
                                                               std::vector<std::string>& faults);
  /// The same of two files. @param roles_file  may be empty.
  [[nodiscard]] static std::shared_ptr<const AccessRules> read(const std::string& users_file,
                                                               const std::string& roles_file,
                                                               std::vector<std::string>& faults) {
    return read({.users_file = users_file, .roles_file = roles_file}, faults);
  }

  /// @return the user's role; null when there is no such user or the password is another one, which
  /// takes equally long. Slow: see verify().
  [[nodiscard]] std::shared_ptr<const Role> admit(std::string_view user,
                                                  const Secret& password) const;

  /// @return the role of a user whom the kernel names, so that no password is asked; null when
  /// there is no such user.
  [[nodiscard]] std::shared_ptr<const Role> role_named(std::string_view user) const;

  /// @return the role that a broker whom we trust names; with a file of roles null when there is
  /// none of that name, and without one a role of that name that may call everything.
  [[nodiscard]] std::shared_ptr<const Role> role_told(std::string_view role) const;

  [[nodiscard]] std::size_t user_count() const noexcept { return users_.all().size(); }
  [[nodiscard]] std::size_t role_count() const noexcept { return roles_.size(); }

 private:
  [[nodiscard]] std::shared_ptr<const Role> role_of(const User& user) const;

  Users users_;
  Roles roles_;
  bool restricts_ = false;  ///< There is a table of roles.
};

}  // namespace mserve::broker
