// SPDX-License-Identifier: Apache-2.0
// One query to the broker called "default" (or $MSERVE_NAME), its result as q's console shows it.
#include <iostream>

#include "mserve/client/query.hpp"
#include "mserve/kdb/print.hpp"

int main() {
  std::string reason;
  auto client = mserve::Client::connect("", &reason);
  if (!client) {
    std::cerr << reason << '\n' << mserve::advice(client.error().code) << '\n';
    return 1;
  }
  const auto deadline_ns = mserve::deadline_after(std::chrono::seconds(10));
  auto answer = mserve::query(client.value(), "hello `world", {}, deadline_ns);
  if (!answer) {
    const auto code = answer.error().code;
    std::cerr << mserve::to_string(code) << '\n' << mserve::advice(code) << '\n';
    return 1;
  }
  std::cout << mserve::kdb::show(answer.value().result);  // its text, if the servant said an error
  return answer.value().is_error() ? 1 : 0;
}
