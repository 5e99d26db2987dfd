// SPDX-License-Identifier: Apache-2.0
#include <string_view>

#include "mserve/shm/errc.hpp"

int main() {
  return std::string_view(mserve::to_string(mserve::Errc::full)).empty() ? 1 : 0;
}
