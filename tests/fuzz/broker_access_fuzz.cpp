// SPDX-License-Identifier: Apache-2.0
// Any bytes as the files of --users and --roles, the second one from the first NUL on: refused with
// reasons, or every user and role can be found again. No password is hashed: that is the C
// library's, and slow.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "access/roles.hpp"
#include "access/rules.hpp"
#include "access/users.hpp"
#include "fuzz/text_file.hpp"
#include "mserve/kdb/parse.hpp"

namespace {

using namespace mserve::broker;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

void require_faults(const std::vector<std::string>& faults) {
  require(faults.size() <= 2 * AccessFaults::kMax);
  for (const std::string& fault : faults) {
    require(fault.size() < 4096 && fault.find('\n') == std::string::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mserve::test::TextFile users_file;
  static const mserve::test::TextFile roles_file;
  const std::span<const std::uint8_t> all(data, size);
  const auto split = static_cast<std::size_t>(std::find(all.begin(), all.end(), 0) - all.begin());
  users_file.write(all.first(split));
  roles_file.write(all.subspan(std::min(split + 1, size)));

  std::vector<std::string> faults;
  const Users users = Users::read(users_file.path(), faults);
  require_faults(faults);
  if (faults.empty()) {
    for (const User& user : users.all()) {
      require(!user.name.empty() && user.name.size() <= Users::kNameBytesMax);
      require(users.find(user.name) == &user && users.decoy(user.name + "x") != nullptr);
      require(users.has_roles() || user.role.empty());
    }
  }
  std::vector<std::string> role_faults;
  const Roles roles = Roles::read(roles_file.path(), role_faults);
  require_faults(role_faults);

  std::vector<std::string> both;
  const auto rules = AccessRules::read(users_file.path(), roles_file.path(), both);
  require((rules == nullptr) == !both.empty());
  require_faults(both);
  if (rules != nullptr) {
    require(faults.empty() && role_faults.empty());
    for (const User& user : users.all()) {
      const auto role = rules->role_named(user.name);
      require(role != nullptr);
      for (const std::string& function : role->functions) {
        require(mserve::kdb::is_name(function) && role->lists(function));
      }
    }
  }
  return 0;
}
