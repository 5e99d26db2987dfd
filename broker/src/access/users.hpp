// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/password.hpp"
#include "access/table_file.hpp"

namespace mserve::broker {

struct User {
  std::string name;
  StoredPassword password;
  std::string role;        ///< Empty: the file has no roles.
  std::uint32_t line = 0;  ///< In the file.
};

/// Who may connect, in one of two forms, told by the first line:
///   LBT's users.csv   a header with the columns `user` or `username`, `password` and perhaps
///                     `role`, parted by `|` or commas; passwords are hashes
///   kdb+'s -u file    lines `user:password`; passwords plain, or hashes
class Users {
 public:
  static constexpr std::size_t kUsersMax = 16384;
  static constexpr std::size_t kNameBytesMax = 256;

  /// Adds every fault to `faults`; then nothing of the result is good.
  [[nodiscard]] static Users read(const std::string& path, std::vector<std::string>& faults);
  /// The same of a text; no input or output.
  [[nodiscard]] static Users parse(const TableText& table, std::vector<std::string>& faults);

  /// @return null when there is no such user.
  [[nodiscard]] const User* find(std::string_view name) const noexcept;
  /// For a name that is not there, always the same one of those that are: checking its password
  /// takes as long as a real user's. Null when there is nobody.
  [[nodiscard]] const User* decoy(std::string_view name) const noexcept;
  /// By name.
  [[nodiscard]] const std::vector<User>& all() const noexcept { return users_; }
  [[nodiscard]] bool has_roles() const noexcept { return has_roles_; }

 private:
  void parse_table(const std::vector<FileLine>& lines, const std::vector<std::string>& header,
                   AccessFaults& faults);
  void parse_pairs(const std::vector<FileLine>& lines, AccessFaults& faults);
  void add(std::uint32_t line, std::string_view name, std::optional<StoredPassword> password,
           std::string_view role, AccessFaults& faults);
  void sort(AccessFaults& faults);

  std::vector<User> users_;
  bool has_roles_ = false;
};

}  // namespace mserve::broker
