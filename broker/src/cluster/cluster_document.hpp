// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cluster/cluster.hpp"
#include "cluster/document_desk.hpp"
#include "cluster/document_keeper.hpp"
#include "cluster/document_socket.hpp"
#include "cluster/document_store.hpp"
#include "cluster/membership.hpp"
#include "cluster/peer_table.hpp"
#include "cluster/reload_call.hpp"
#include "cluster/shared_document.hpp"
#include "control/log.hpp"

namespace boost::asio {  // NOLINT(readability-identifier-naming): not ours
class io_context;
}  // namespace boost::asio

namespace mserve::cluster {

/// All that a member of a cluster does about its document: what etcd says is brought to the broker,
/// and operators who ask are answered. Threads: that of its io_context.
class ClusterDocument {
 public:
  /// What it is made of; all of it outlives this.
  struct Around {
    boost::asio::io_context& context;
    const ClusterSetup& setup;
    const Membership& membership;
    const PeerTable& peers;
    const BrokerRecord& own;
    std::function<void()> changed{};  ///< standing() is another.
    std::function<void()> show{};     ///< Who looks shall see what is known now.
  };
  explicit ClusterDocument(const Around& around);
  ClusterDocument(const ClusterDocument&) = delete;
  ClusterDocument& operator=(const ClusterDocument&) = delete;

  /// Operators may ask from here on.
  void open();
  /// What etcd tells, the rest of it included. @return whether the document is another.
  bool listed(const Listing& all);
  bool told(const WatchEvent& event);
  /// @param there  whether the broker is, `own` being of it.
  void tick(bool there, std::uint64_t now);

  [[nodiscard]] const DocumentStanding& standing() const noexcept { return keeper_.standing(); }
  [[nodiscard]] const DocumentWatch& watch() const noexcept { return watch_; }

 private:
  [[nodiscard]] DocumentKeeper::Hands hands();
  [[nodiscard]] DocumentDesk::Sources sources();
  bool follow(bool news);
  void take(const Document& document);
  void settled();

  const Around around_;
  const std::string path_;
  const std::string staged_;
  DocumentWatch watch_;
  ReloadCall reload_;
  DocumentKeeper keeper_;
  DocumentStore store_;
  DocumentDesk desk_;
  DocumentSocket socket_;
  DocumentStanding told_{};
  broker::KindLimiter lines_{64};  // somebody may roll out one after the other
  bool there_ = false;
};

}  // namespace mserve::cluster
