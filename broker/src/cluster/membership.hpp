// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cluster/cluster_options.hpp"
#include "cluster/etcd_messages.hpp"
#include "cluster/host_lookup.hpp"

namespace boost::asio {  // NOLINT(readability-identifier-naming): not ours
class io_context;
}  // namespace boost::asio

namespace mserve::cluster {

class TlsContext;

/// How it stands with etcd.
struct EtcdStatus {
  std::string endpoint{};        ///< The URL in use, or tried last.
  bool reached = false;          ///< What is known of the peers is kept up to date.
  std::int64_t revision = 0;     ///< Of the store, as far as it is known.
  std::int64_t lease = 0;        ///< 0: none.
  std::int64_t lease_ttl_s = 0;  ///< As granted.
  std::int64_t stale_since = 0;  ///< ns since 1970; 0: it is reached.
  std::string fault{};           ///< Why it is not.
  /// Not empty: another broker holds the own key, at this address or with this lease.
  std::string contested_by{};
  std::uint64_t relists = 0;   ///< Because the wanted revision was compacted.
  std::uint64_t resumes = 0;   ///< Of a watch that broke off.
  std::uint64_t silences = 0;  ///< Of a watch that told nothing of what changed, without a fault.
  std::uint64_t skipped = 0;   ///< Keys, or events of them, that are too long for a broker's.
  std::uint64_t left_out = 0;  ///< Keys beyond kKeysMax, which were not listed.
  bool operator==(const EtcdStatus&) const = default;
};

/// What etcd tells of the keys below a prefix, for as long as this lives, and one key of our own
/// there, tied to a lease.
///
/// One endpoint at a time. There: log in, lease, own key, list, watch from the next revision. A
/// watch that breaks off is resumed; one whose revision is compacted, one that is silent while keys
/// change (see WatchCheck), and each fault, lists anew. A fault goes on to the next endpoint, after
/// a back-off (from 100 ms to 5 s, or to a third of the lease if that is less: it may be as alive
/// as etcd is) once all were tried. What was told before stays true until `listed` says otherwise.
///
/// A key that another broker holds (with a lease that is not ours, and not for a former life of
/// this one) is not written over, or both would do so for ever: it is written again once it is
/// free. Of two that write at the same time the last one has it. Threads: that of its io_context.
class Membership {
 public:
  struct Events {
    std::function<void(const Listing&)> listed{};
    std::function<void(const WatchEvent&)> changed{};  ///< In the order of revisions.
    std::function<void()> status{};                    ///< status() is another.
    /// Another broker holds our key from here on; status() says when it does not any more.
    std::function<void(const KeyValue&)> contested{};
  };
  /// How long things take, and who knows hosts; tests bring their own.
  struct Patience {
    std::uint64_t call_ns = 2'000'000'000;
    std::uint64_t backoff_min_ns = 100'000'000;
    std::uint64_t backoff_max_ns = 5'000'000'000;
    std::uint64_t check_ns = 10'000'000'000;  ///< Between two looks at the watch; up to a fifth
                                              ///< more or less, so that not all look at once.
    std::uint64_t late_ns = 1'000'000'000;    ///< A watch may be behind by this.
    Resolver resolver = resolve_by_system;
  };

  /// @param options  valid ones.
  /// @param password  of options.user.
  /// @param tls  if an endpoint is https://; may else be null.
  Membership(boost::asio::io_context& context, const ClusterOptions& options, std::string password,
             std::shared_ptr<TlsContext> tls, Events events);
  Membership(boost::asio::io_context& context, const ClusterOptions& options, std::string password,
             std::shared_ptr<TlsContext> tls, Events events, const Patience& patience);
  ~Membership();
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;

  void start();
  /// Writes the own key, now or as soon as etcd is reached and nobody else holds it, and keeps it
  /// alive.
  void publish(std::string value);
  /// Takes it away until the next publish().
  void withdraw();
  /// The same for ever; then nothing is told any more. @param done  when etcd has confirmed it, or
  /// could not be asked; after a second at the latest.
  void leave(std::function<void()> done);

  [[nodiscard]] const EtcdStatus& status() const noexcept;
  /// What etcd wants to see of whoever has logged in; empty: nobody has, or need.
  [[nodiscard]] const std::string& token() const noexcept;

 private:
  struct Parts;
  std::shared_ptr<Parts> parts_;
};

}  // namespace mserve::cluster
