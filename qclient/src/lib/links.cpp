// SPDX-License-Identifier: Apache-2.0
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "lib/endpoints.hpp"
#include "lib/failures.hpp"
#include "lib/link.hpp"
#include "lib/tcp_dialer.hpp"
#include "lib/tcp_link.hpp"
#include "mserve/shm/clock.hpp"

namespace mserve {
namespace {

/// The name that the system knows this user by; empty when it knows none.
std::string system_user() {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr) {
    return {};
  }
  return found->pw_name;
}

/// Local rings first, else TCP. Keeps a TCP attempt going from one call to the next.
class LinkFinder {
 public:
  LinkFinder(const ClientOptions& options, Endpoints endpoints, const std::string& user)
      : options_(options),
        has_remote_(!endpoints.remote.empty()),
        local_(endpoints.local.empty() ? LinkFactory()
                                       : attach_to_broker(options, endpoints.local)),
        dialer_(std::move(endpoints.remote), user, options.password, options.connect_ns_max) {}

  Result<std::unique_ptr<Link>> find(std::uint64_t attach_ns, std::string* reason) {
    const std::uint64_t deadline_ns = shm::add_capped(shm::steady_now(), attach_ns);
    std::vector<Errc> codes;
    std::string reasons;
    if (local_) {
      // A local broker that is stopped takes all the time it is given; then some is left for TCP.
      const std::uint64_t budget_ns =
          has_remote_ ? std::min(attach_ns / 2 + 1, options_.connect_ns_max) : attach_ns;
      std::string why;
      auto link = local_(budget_ns, &why);
      if (link || !has_remote_) {
        dialer_.reset();
        tell(reason, why);
        return link;
      }
      codes.push_back(link.error().code);
      reasons = why.empty() ? to_string(link.error().code) : why;
    }
    std::string why;
    auto session = dialer_.dial(deadline_ns, &why);
    tell(reason, reasons + (reasons.empty() || why.empty() ? "" : "; ") + why);
    if (session) {
      return make_tcp_link(std::move(session).value(), options_);
    }
    codes.push_back(session.error().code);
    return Error{most_hopeful(codes), 0, "no endpoint"};
  }

 private:
  static void tell(std::string* reason, std::string text) {
    if (reason != nullptr) {
      *reason = std::move(text);
    }
  }

  const ClientOptions options_;
  const bool has_remote_;
  const LinkFactory local_;
  TcpDialer dialer_;
};

}  // namespace

LinkSource links_of(const ClientOptions& options) {
  Endpoints endpoints;
  (void)parse_endpoints(options.broker, endpoints);  // validated
  LinkSource source;
  source.user = options.user.empty() ? system_user() : options.user;
  source.keep_copies = !endpoints.remote.empty();
  if (!endpoints.remote.empty() && !endpoints.local.empty()) {
    source.home = attach_to_broker(options, endpoints.local);
  }
  const auto finder = std::make_shared<LinkFinder>(options, std::move(endpoints), source.user);
  source.any = [finder](std::uint64_t attach_ns, std::string* reason) {
    return finder->find(attach_ns, reason);
  };
  return source;
}

}  // namespace mserve
