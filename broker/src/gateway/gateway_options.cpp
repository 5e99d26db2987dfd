// SPDX-License-Identifier: Apache-2.0
#include "gateway/gateway_options.hpp"

#include <arpa/inet.h>
#include <pwd.h>

#include <array>
#include <cstddef>
#include <utility>

#include "gateway/query_wrap.hpp"
#include "option_values.hpp"

namespace mserve::broker {

namespace {

constexpr std::uint32_t kSyncWindowMax = 4096;
constexpr std::uint32_t kQueryLogMax = 100'000;  // half a kilobyte each
constexpr Nanos kSecondNs = 1'000'000'000;
constexpr Nanos kTcpKeepaliveMax = 9 * 3600 * kSecondNs;  // the kernel takes 32767 seconds

bool is_address(const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> ignored{};
  return inet_pton(AF_INET, text.c_str(), ignored.data()) == 1 ||
         inet_pton(AF_INET6, text.c_str(), ignored.data()) == 1;
}

}  // namespace

void GatewayOptions::read_access(std::vector<std::string>& faults) {
  const AccessSources from{users_file, roles_file, users_table, roles_table};
  if (!from.has_users()) {
    if (roles_table) {
      AccessFaults(*roles_table, faults)
          .add(0, "roles-table: there is neither a users-table nor --users, who have them");
    }
    return;
  }
  const std::size_t before = faults.size();
  access = AccessRules::read(from, faults);
  for (std::size_t i = before; i < faults.size(); ++i) {
    // Of a file as a whole, which has no line: the option leads to the place that names it.
    for (const auto& [option, file] :
         {std::pair("--users: ", &users_file), {"--roles: ", &roles_file}}) {
      if (!file->empty() && faults[i].starts_with(*file + ": ")) {
        faults[i].insert(0, option);
        break;
      }
    }
  }
  if (access != nullptr && !peer_user.empty() && access->role_named(peer_user) == nullptr) {
    const std::string where = users_table ? "the users-table of " + users_table->path : users_file;
    faults.push_back("--peer-user: there is no user called " + peer_user + " in " + where);
  }
}

void GatewayOptions::validate(std::vector<std::string>& faults) const {
  const auto check = [&faults](bool ok, const std::string& fault) {
    if (!ok) {
      faults.push_back(fault);
    }
  };
  for (const std::string& address : bind) {
    check(is_address(address),
          "--bind: '" + address + "' is not an address such as 127.0.0.1, 0.0.0.0 or ::1");
  }
  check(sync_window >= 1 && sync_window <= kSyncWindowMax,
        "--sync-window: 1 to 4096, not " + std::to_string(sync_window));
  check(handshake_timeout >= 1'000'000,
        "--handshake-timeout: 1ms or more, not " + shown_time(handshake_timeout));
  check(idle_timeout == 0 || idle_timeout >= 1'000'000,
        "--idle-timeout: 1ms or more, 0 or inf for never; not " + shown_time(idle_timeout));
  check(tcp_keepalive == kForever ||
            (tcp_keepalive >= kSecondNs && tcp_keepalive <= kTcpKeepaliveMax),
        "--tcp-keepalive: 1s to 540m, or inf for never; not " + shown_time(tcp_keepalive));
  check(query_log <= kQueryLogMax, "--query-log: at most 100000, not " + std::to_string(query_log));
  check(max_gathered >= 1U << 20 && max_gathered <= 1ULL << 40,
        "--max-gathered: 1m to 1024g, not " + shown_size(max_gathered));
  check(users_file.empty() || enabled, "--users: only with -p, whose clients it lets in");
  check(roles_file.empty() || !users_file.empty(), "--roles: only with --users, who have them");
  check(peer_user.empty() || !users_file.empty() || users_may_come,
        "--peer-user: only with --users, of whom it is one, or --cluster, whose document may bring "
        "them");
  check(!users_required || enabled, "--require-users: only with -p, whose clients wait for them");
  check(!users_required || !users_file.empty() || users_may_come,
        "--require-users: only with --users or --cluster, or there would never be any");
  check(wrap.empty() || enabled, "--wrap: only with -p, whose clients' queries it wraps");
  check(wrap.empty() || is_q_name(wrap),
        "--wrap: '" + wrap +
            "' is not a name of q: letters, digits, . and _, beginning with a letter or ., at most "
            "128");
  for (const std::string& user : admin_users) {
    check(getpwnam(user.c_str()) != nullptr, "--admin-users: there is no user called " + user);
  }
}

}  // namespace mserve::broker
