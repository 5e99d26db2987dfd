// SPDX-License-Identifier: Apache-2.0
#include "access/ring_access.hpp"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace mserve::broker {

namespace {

/// The login name; empty when the system knows none.
std::string name_of(uid_t uid) {
  std::array<char, 16384> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  const bool known =
      getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr;
  return known ? std::string(entry.pw_name) : std::string();
}

std::optional<std::uint32_t> number_in(const std::string& text) {
  std::uint32_t number = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc{} && end == text.data() + text.size() ? std::optional(number)
                                                                 : std::nullopt;
}

std::optional<gid_t> group_of(const std::string& text) {
  if (const auto number = number_in(text)) {
    return number;
  }
  const ::group* const found = getgrnam(text.c_str());  // before any thread exists
  return found != nullptr ? std::optional(found->gr_gid) : std::nullopt;
}

}  // namespace

std::vector<gid_t> RingAccess::find_groups(const std::vector<std::string>& groups,
                                           std::vector<std::string>& faults) {
  std::vector<gid_t> numbers;
  for (const std::string& text : groups) {
    if (const auto number = group_of(text)) {
      numbers.push_back(*number);
    } else {
      faults.push_back("--allow-group: there is no group called " + text);
    }
  }
  return numbers;
}

std::optional<std::uint32_t> RingAccess::uid_of(const std::string& text) {
  if (const auto number = number_in(text)) {
    return number;
  }
  const passwd* const found = getpwnam(text.c_str());
  return found != nullptr ? std::optional<std::uint32_t>(found->pw_uid) : std::nullopt;
}

std::optional<gid_t> RingAccess::socket_group(const std::string& name,
                                              std::vector<std::string>& faults) {
  if (name.empty()) {
    return std::nullopt;
  }
  const std::optional<gid_t> number = group_of(name);
  if (!number) {
    faults.push_back("--socket-group: there is no group called " + name);
  }
  return number;
}

bool RingAccess::is_trusted(uid_t uid) noexcept {
  return uid == geteuid() || uid == 0;
}

std::optional<std::string> RingAccess::refuse(int socket, const shm::Credentials& who) const {
  if (is_trusted(who.uid)) {
    return std::nullopt;
  }
  const std::string number = "uid " + std::to_string(who.uid);
  const bool named = std::find(users_.begin(), users_.end(), who.uid) != users_.end() ||
                     (!groups_.empty() && shm::peer_is_member(socket, who, groups_));
  if (!named) {
    return number + " may not attach; see --allow-user and --allow-group";
  }
  if (access_ == nullptr) {
    return required_ ? std::optional(number +
                                     " may not attach before users are known, see "
                                     "--require-users: try again then")
                     : std::nullopt;
  }
  const std::string name = name_of(who.uid);
  const std::shared_ptr<const Role> role = name.empty() ? nullptr : access_->role_named(name);
  if (role == nullptr) {
    return number + " (" + (name.empty() ? "no login name" : name) +
           ") is not in the file of --users";
  }
  if (!role->unrestricted) {
    return name + " has the restricted role " + role->name +
           ": connect through the gateway, for instance with --name unix://PORT";
  }
  return std::nullopt;
}

}  // namespace mserve::broker
