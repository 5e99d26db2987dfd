// SPDX-License-Identifier: Apache-2.0
// Any bytes as the TOML file of --config: faults with file and line, or keys with plain values in
// the order of their lines.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "fuzz/text_file.hpp"
#include "nearest.hpp"
#include "options_file.hpp"

namespace {

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const mserve::test::TextFile file;
  file.write({data, size});
  const std::string path = file.path();
  std::vector<std::string> faults;
  const auto entries = mserve::broker::read_options_file(path, false, faults);
  for (const std::string& fault : faults) {
    require(fault.starts_with(path + ":"));
  }
  std::uint32_t line = 0;
  for (const auto& entry : entries) {
    require(entry.line >= line && entry.line <= size + 1);
    line = entry.line;
    const std::string nearest = mserve::program::nearest_word(
        std::string_view(entry.key).substr(0, 64), {"policy", "retries", "max-queue-bytes"});
    require(nearest.empty() || nearest.size() > 5);
  }
  return 0;
}
