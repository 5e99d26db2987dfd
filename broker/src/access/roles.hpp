// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "access/table_file.hpp"

namespace mserve::broker {

/// What a user may call.
struct Role {
  std::string name;                    ///< Empty: the users file has no roles.
  bool unrestricted = false;           ///< Its queries are not looked at.
  std::vector<std::string> functions;  ///< Else: their names, in order.

  [[nodiscard]] bool lists(std::string_view function) const noexcept;
};

/// roles.csv: a line for each role with its functions, or several that add up. The header names the
/// columns `role` and `fn` (or `function`, `functions`); `|` or a comma parts them. Functions are
/// parted by commas, semicolons or blanks; `*` is all of them.
class Roles {
 public:
  static constexpr std::size_t kRolesMax = 1024;

  /// Adds every fault to `faults`; then nothing of the result is good.
  [[nodiscard]] static Roles read(const std::string& path, std::vector<std::string>& faults);
  /// The same of a text; no input or output.
  [[nodiscard]] static Roles parse(const TableText& table, std::vector<std::string>& faults);
  /// @return null when there is no such role.
  [[nodiscard]] std::shared_ptr<const Role> find(std::string_view name) const;
  [[nodiscard]] std::size_t size() const noexcept { return roles_.size(); }

 private:
  std::map<std::string, std::shared_ptr<Role>, std::less<>> roles_;
};

}  // namespace mserve::broker
