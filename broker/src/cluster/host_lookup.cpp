// SPDX-License-Identifier: Apache-2.0
#include "cluster/host_lookup.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace mserve::cluster {

namespace {

/// How often each name is being looked up.
class UnderWay {
 public:
  using Name = std::pair<LookupFor, std::string>;
  [[nodiscard]] bool enter(const Name& name) {
    const std::lock_guard lock(mutex_);
    std::uint32_t& count = names_[name];
    const bool room = count < kLookupsPerHostMax;
    count += room ? 1 : 0;
    return room;
  }
  void leave(const Name& name) {
    const std::lock_guard lock(mutex_);
    if (const auto found = names_.find(name); found != names_.end() && --found->second == 0) {
      names_.erase(found);
    }
  }

 private:
  std::mutex mutex_;
  std::map<Name, std::uint32_t> names_;
};

/// Shared with the threads, which may be there for longer than what is static.
const std::shared_ptr<UnderWay>& under_way() {
  static const auto kUnderWay = std::make_shared<UnderWay>();
  return kUnderWay;
}

/// Signals are for the threads that know what to do with them.
class NoSignals {
 public:
  NoSignals() noexcept {
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~NoSignals() { (void)pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

HostAnswer resolve_by_system(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int fault = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (fault != 0) {
    return {.fault = gai_strerror(fault)};
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  HostAnswer answer;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (getnameinfo(at->ai_addr, at->ai_addrlen, text.data(), text.size(), nullptr, 0,
                    NI_NUMERICHOST) == 0) {
      answer.addresses.emplace_back(text.data());
    }
  }
  if (answer.addresses.empty()) {
    answer.fault = "it has no address";
  }
  return answer;
}

struct HostLookup::Shared {
  std::mutex mutex{};
  std::function<void(const HostAnswer&)> told{};  // empty: canceled, or called
};

HostLookup::HostLookup(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

HostLookup::~HostLookup() {
  const std::lock_guard lock(shared_->mutex);
  shared_->told = nullptr;
}

std::unique_ptr<HostLookup> HostLookup::begin(const std::string& host, Resolver resolver,
                                              std::function<void(const HostAnswer&)> told,
                                              LookupFor purpose) {
  const std::shared_ptr<UnderWay> counted = under_way();
  const UnderWay::Name name(purpose, host);
  if (!counted->enter(name)) {
    return nullptr;
  }
  auto shared = std::make_shared<Shared>();
  shared->told = std::move(told);
  const NoSignals quiet;
  try {
    std::thread([shared, counted, name, resolver = std::move(resolver)] {
      const HostAnswer answer = resolver(name.second);
      counted->leave(name);
      const std::lock_guard lock(shared->mutex);
      if (shared->told) {
        shared->told(answer);
        shared->told = nullptr;
      }
    }).detach();
  } catch (const std::system_error&) {
    counted->leave(name);
    return nullptr;
  }
  return std::unique_ptr<HostLookup>(new HostLookup(std::move(shared)));
}

}  // namespace mserve::cluster
