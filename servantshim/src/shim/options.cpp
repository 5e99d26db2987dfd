// SPDX-License-Identifier: Apache-2.0
#include "shim/options.hpp"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "mserve/servant/options.hpp"
#include "mserve/shm/directory.hpp"
#include "mserve/shm/names.hpp"
#include "mserve/shm/rendezvous.hpp"
#include "mserve/shm/tags.hpp"

namespace mserve::shim {

namespace {

constexpr std::size_t kTagsBytesMax = sizeof(shm::Hello::tags) - 1;
constexpr std::size_t kCredentialsBytesMax = 4000;  // servers bound their handshake, mserve at 4096
constexpr std::uint64_t kGatheredMin = 64U << 10;
constexpr std::uint64_t kHeartbeatMin = 50'000'000;
constexpr std::uint64_t kHeartbeatMax = 10'000'000'000;

/// Whether one of the tags is peer=ID.
bool tells_peer(std::string_view tags) {
  constexpr std::string_view kTag = "peer=";
  while (!tags.empty()) {
    const std::string_view tag = shm::take_tag(tags);
    if (tag.starts_with(kTag) && tag.size() > kTag.size()) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::string ShimOptions::validate() const {
  std::string faults;
  const auto require = [&faults](bool holds, std::string_view sentence) {
    if (!holds) {
      faults.append(sentence).append("\n");
    }
  };
  require(!q.port.empty() || !q.path.empty(),
          "--q HOST:PORT or --q-socket PATH: where q listens, one of the two.");
  require(shm::valid_broker_name(broker),
          "--broker: 1 to 64 characters of A-Z a-z 0-9 . _ - that do not start with a dot.");
  require(name.size() <= servant::kNameBytesMax &&
              std::all_of(name.begin(), name.end(), shm::is_name_character),
          "--name: at most 31 characters of A-Z a-z 0-9 . _ -.");
  require(tags.size() <= kTagsBytesMax && std::all_of(tags.begin(), tags.end(), shm::is_printable),
          "--tags: at most 255 characters of printable ASCII.");
  require(shm::weight_of(tags).has_value(), "--tags: weight= takes a whole number from 1 to 1000.");
  require(credentials.size() <= kCredentialsBytesMax, "--user: at most 4000 bytes.");
  require(tier.value_or(0) <= shm::kTierMax, "--tier: auto, or 0 to 3.");
  require(credit >= 1 && credit <= servant::kCreditMax, "--credit: 1 to 4096 requests.");
  require(!peer || protocol == ServantProtocol::lbt,
          "--peer: only with --servant-protocol lbt, which is then the default.");
  require(
      !peer || tells_peer(tags),
      "--peer: give the peer's name as a tag, --tags peer=ID; by that the broker knows a link.");
  require(heartbeat_ns >= kHeartbeatMin && heartbeat_ns <= kHeartbeatMax,
          "--heartbeat: 0.05 to 10 seconds.");
  require(probe_ns == 0 || probe_timeout_ns > 0, "--probe-timeout: more than 0 seconds.");
  require(retry_ns_min > 0 && retry_ns_min <= retry_ns_max,
          "--retry-min: more than 0 seconds and at most --retry-max.");
  require(max_gathered >= kGatheredMin, "--max-gathered: at least 64k.");
  return faults;
}

std::string default_credentials() {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  if (getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return ":";
  }
  return std::string(entry.pw_name) + ":";
}

std::string default_name(const QEndpoint& q, const char* servant) {
  const std::string index = servant != nullptr ? servant : "";
  if (!index.empty() && index.size() <= 10 &&
      std::all_of(index.begin(), index.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return "mserve-qshim-" + index;
  }
  // Of a path the last part tells most, and of a long name the end, where the port is.
  std::string name = q.local ? q.path.substr(q.path.rfind('/') + 1) : q.text();
  if (name.size() > servant::kNameBytesMax) {
    name.erase(0, name.size() - servant::kNameBytesMax);
  }
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !shm::is_name_character(c); }, '-');
  return name;
}

}  // namespace mserve::shim
