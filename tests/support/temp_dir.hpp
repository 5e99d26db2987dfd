// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace mserve::test {

/// A private directory (mode 0700) that is a fit rendezvous directory; removed with all that is in
/// it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace mserve::test
