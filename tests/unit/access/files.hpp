// SPDX-License-Identifier: Apache-2.0
// Users and roles of LBT's example 02quickauth: each password is the user's name.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include "access/rules.hpp"
#include "support/temp_dir.hpp"

namespace mserve::test {

inline constexpr const char* kQuickUsers =
    "userid|username|password|role\n"
    "1|ken|470bc578162732ac7f9d387d34c4af4ca6e1b6f7|user\n"
    "2|arthur|615193f904a227a9cebf5ad3042a37668b81f4c6|poweruser\n";
inline constexpr const char* kQuickRoles =
    "role|fn\n"
    "user|proc1\n"
    "poweruser|proc1,proc2\n";

/// Files in a directory of their own.
class AccessFiles {
 public:
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_.file(name), std::ios::binary | std::ios::trunc) << text;
    return dir_.file(name);
  }
  [[nodiscard]] std::string path(const std::string& name) const { return dir_.file(name); }

 private:
  TempDir dir_;
};

/// What is said of a file, without its name: "2: expected ...".
inline std::vector<std::string> without_path(std::vector<std::string> faults,
                                             const std::string& path) {
  for (std::string& fault : faults) {
    fault = fault.starts_with(path + ":") ? fault.substr(path.size() + 1) : "? " + fault;
  }
  return faults;
}

}  // namespace mserve::test
