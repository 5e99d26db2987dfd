// SPDX-License-Identifier: Apache-2.0
#include "mserve/servant/options.hpp"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <string_view>

#include "mserve/shm/directory.hpp"
#include "mserve/shm/layout.hpp"
#include "mserve/shm/names.hpp"
#include "mserve/shm/rendezvous.hpp"
#include "mserve/shm/tags.hpp"

namespace mserve::servant {
namespace {

static_assert(kCreditMax == shm::kCreditMax);

constexpr std::size_t kTagsBytesMax = sizeof(shm::Hello::tags) - 1;

}  // namespace

std::string Options::validate() const {
  std::string faults;
  const auto require = [&faults](bool holds, std::string_view sentence) {
    if (!holds) {
      faults.append(sentence).append("\n");
    }
  };
  require(broker.empty() || shm::valid_broker_name(broker),
          "broker: 1 to 64 characters of A-Z a-z 0-9 . _ - that do not start with a dot.");
  require(
      name.size() <= kNameBytesMax && std::all_of(name.begin(), name.end(), shm::is_name_character),
      "name: at most 31 characters of A-Z a-z 0-9 . _ -.");
  require(tags.size() <= kTagsBytesMax && std::all_of(tags.begin(), tags.end(), shm::is_printable),
          "tags: at most 255 characters of printable ASCII.");
  require(shm::weight_of(tags).has_value(), "tags: weight= takes a whole number from 1 to 1000.");
  require(tier <= shm::kTierMax, "tier: 0 to 3.");
  require(credit >= 1 && credit <= kCreditMax, "credit: 1 to 4096 requests.");
  require(ring_bytes == 0 || (std::has_single_bit(ring_bytes) && ring_bytes >= shm::kRingBytesMin &&
                              ring_bytes <= shm::kRingBytesMax),
          "ring_bytes: 0 or a power of two from 4 KiB to 64 MiB.");
  require(attach_ns_max > 0, "attach_ns_max: more than 0 nanoseconds.");
  require(retry_ns_min > 0 && retry_ns_min <= retry_ns_max,
          "retry_ns_min: more than 0 nanoseconds and at most retry_ns_max.");
  return faults;
}

std::string default_broker() {
  const char* name = std::getenv("MSERVE_NAME");
  return name != nullptr && *name != '\0' ? name : "default";
}

}  // namespace mserve::servant
