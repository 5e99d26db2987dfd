// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mserve::cluster {

/// Two connections to one etcd look up its name at the same time, and no more do for one purpose.
inline constexpr std::uint32_t kLookupsPerHostMax = 2;

/// Whose look-ups are counted together: those of one hold up none of the other.
enum class LookupFor : std::uint8_t { membership, documents };

/// What a host's name stands for.
struct HostAnswer {
  std::vector<std::string> addresses{};  ///< As text; none: there is no answer.
  std::string fault{};                   ///< Why not.
};

/// Takes as long as it likes; called on any thread.
using Resolver = std::function<HostAnswer(const std::string& host)>;

/// As the system does it, which may be half a minute where a name server is silent.
[[nodiscard]] HostAnswer resolve_by_system(const std::string& host);

/// One name that is looked up, for which nobody has to wait: not another look-up, and not the end
/// of this process. Asio's resolver has one thread, where all of a context wait for the one in
/// front, and which the end of the context joins. Here each has a thread of its own, which nobody
/// joins; what it finds out too late is thrown away.
class HostLookup {
 public:
  /// @param told  called once, on that thread, unless it was canceled before. What it holds is let
  /// go there.
  /// @return null: that name is being looked up as often as it may, or there is no thread.
  [[nodiscard]] static std::unique_ptr<HostLookup> begin(
      const std::string& host, Resolver resolver, std::function<void(const HostAnswer&)> told,
      LookupFor purpose = LookupFor::membership);
  /// Cancels. `told` has returned, or is never called.
  ~HostLookup();
  HostLookup(const HostLookup&) = delete;
  HostLookup& operator=(const HostLookup&) = delete;

 private:
  struct Shared;
  explicit HostLookup(std::shared_ptr<Shared> shared);
  const std::shared_ptr<Shared> shared_;
};

}  // namespace mserve::cluster
