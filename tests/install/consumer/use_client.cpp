// SPDX-License-Identifier: Apache-2.0
#include "mserve/client/client.hpp"

int main() {
  // Nobody listens under this name: the clean error shows that the whole library is linked.
  const auto client = mserve::Client::connect(
      {.broker = "nobody-listens-here", .directory = "/tmp/mserve-nowhere"});
  return client ? 1 : 0;
}
