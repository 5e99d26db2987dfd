// SPDX-License-Identifier: Apache-2.0
#include "mserve/client/options.hpp"

#include <algorithm>
#include <bit>
#include <string_view>

#include "lib/endpoints.hpp"
#include "mserve/shm/layout.hpp"
#include "mserve/shm/names.hpp"
#include "mserve/shm/rendezvous.hpp"

namespace mserve {
namespace {

static_assert(kClientNameBytesMax == sizeof(shm::Hello::name) - 1);

constexpr std::uint32_t kInFlightLimit = 1U << 24;

}  // namespace

std::string ClientOptions::validate() const {
  std::string faults;
  const auto require = [&faults](bool holds, std::string_view sentence) {
    if (!holds) {
      faults.append(faults.empty() ? "" : "\n").append(sentence);
    }
  };
  Endpoints endpoints;
  const std::string fault = broker.empty() ? std::string() : parse_endpoints(broker, endpoints);
  require(fault.empty(), fault);
  const std::string_view credentials = fault_of_credentials(user, password);
  require(credentials.empty(), "user, password: " + std::string(credentials) + ".");
  require(name.size() <= kClientNameBytesMax &&
              std::all_of(name.begin(), name.end(), shm::is_name_character),
          "name: at most 63 characters of A-Z a-z 0-9 . _ -.");
  require(ring_bytes == 0 || (std::has_single_bit(ring_bytes) && ring_bytes >= shm::kRingBytesMin &&
                              ring_bytes <= shm::kRingBytesMax),
          "ring_bytes: 0 or a power of two from 4 KiB to 64 MiB.");
  require(unread_bytes_max > 0, "unread_bytes_max: more than 0 bytes.");
  require(in_flight_max >= 1 && in_flight_max <= kInFlightLimit,
          "in_flight_max: 1 to 16777216 requests.");
  require(attach_ns_max > 0, "attach_ns_max: more than 0 nanoseconds.");
  require(reattach_ns_max > 0, "reattach_ns_max: more than 0 nanoseconds.");
  require(retry_ns_min > 0 && retry_ns_min <= retry_ns_max,
          "retry_ns_min: more than 0 nanoseconds and at most retry_ns_max.");
  require(connect_ns_max > 0, "connect_ns_max: more than 0 nanoseconds.");
  require(return_ns > 0, "return_ns: more than 0 nanoseconds.");
  require(resend_ns_max > 0, "resend_ns_max: more than 0 nanoseconds.");
  return faults;
}

}  // namespace mserve
