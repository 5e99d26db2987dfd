// SPDX-License-Identifier: Apache-2.0
// Any bytes as the document of a cluster: what is wrong is told in few, short, printable lines with
// a place each, and of what is not the tables hold what their own readers find there.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "access/rules.hpp"
#include "document.hpp"
#include "option_keys.hpp"

namespace {

using namespace mserve::broker;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

void require_line(const std::string& fault) {
  require(fault.size() <= kDocumentFaultBytesMax && fault.starts_with("line "));
  require(std::all_of(fault.begin(), fault.end(), [](char c) { return c >= ' ' && c <= '~'; }));
  const std::string_view number = std::string_view(fault).substr(5, fault.find(':') - 5);
  require(!number.empty() && number.find_first_not_of("0123456789") == std::string_view::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::vector<std::string> faults = check_document(text);
  require(faults.size() <= kDocumentFaultsMax);
  std::for_each(faults.begin(), faults.end(), require_line);
  if (!faults.empty()) {
    return 0;
  }
  std::vector<std::string> others;
  const Document document = parse_document(text, "", others);
  require(others.empty());
  for (const FileEntry& entry : document.entries) {
    require(is_changeable(entry.key));
  }
  for (const auto* const table : {&document.users, &document.roles}) {
    require(!*table || (*table)->lines_before <= size);
  }
  if (document.users) {
    require(AccessRules::read({.users_table = document.users, .roles_table = document.roles},
                              others) != nullptr);
  }
  return 0;
}
