// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/broker_record.hpp"
#include "cluster/etcd_messages.hpp"

namespace mserve::cluster {

inline constexpr std::size_t kPeersMax = 256;
/// A servant that is started again takes its tags away and brings them back: its link is not
/// changed for that. Nor is it for an address that does not stay.
inline constexpr std::uint64_t kTagsSettleNs = 1'000'000'000;
/// The same after two brokers of one --cluster-id have written in turn.
inline constexpr std::uint64_t kContestSettleNs = 10'000'000'000;
/// Former links of a peer that still finish what they run, at most; then it gets no other.
inline constexpr std::uint32_t kFormerLinksMax = 2;
/// The same of all peers; then none is replaced.
inline constexpr std::uint32_t kEndingLinksMax = 32;
/// Links that are started at once, for a cluster that starts, and then in a second: peers that come
/// and go all the time cost no more processes.
inline constexpr std::uint32_t kLinkStartsMax = 2 * kPeersMax;
inline constexpr std::uint32_t kLinkStartsPerSecond = 16;

/// A link's credit: the servants of its peer, rounded up to a power of two, between these.
inline constexpr std::uint32_t kLinkCreditMin = 8;
inline constexpr std::uint32_t kLinkCreditMax = 64;

/// How near a peer is; also the tier of its link.
enum class Nearness : std::uint8_t { zone = 1, region = 2, elsewhere = 3 };

/// What a link is started with.
struct LinkSpec {
  std::string address{};
  Nearness tier = Nearness::elsewhere;
  std::string tags{};  ///< With peer=ID.
  /// Requests that it may have under way. More than the peer has servants would wait there while
  /// another peer has some that are free; so few that the way there and back costs nothing, too.
  std::uint32_t credit = kLinkCreditMin;
  bool operator==(const LinkSpec&) const = default;
};

/// What to do with the link to a peer.
struct LinkAction {
  enum class Kind : std::uint8_t {
    start,
    replace,  ///< Start another one; the one before gets nothing new and ends when it runs dry.
    stop,     ///< The same without another one.
  };
  Kind kind = Kind::start;
  std::string id{};
  LinkSpec spec{};  ///< Of stop: empty.
  std::uint64_t epoch = 0;
};

/// What is known of the processes that are links, for as long as orders are made.
struct LinkFacts {
  /// It does not run, or has no connection to its peer. Empty: none is down.
  std::function<bool(const std::string& id)> down{};
  /// Former links of a peer that finish what they run. Empty: there are none.
  std::function<std::uint32_t(const std::string& id)> ending{};
  std::uint32_t ending_in_all = 0;
};

/// What happened, for the log.
struct PeerNote {
  enum class Kind : std::uint8_t { joined, left, state, refused };
  Kind kind = Kind::joined;
  std::string id{};
  std::string text{};  ///< refused: why; state: which one; joined: its address.
};

struct Peer {
  BrokerRecord record{};
  std::int64_t revision = 0;
  std::string value{};          ///< Of its key, at that revision.
  std::int64_t changed_at = 0;  ///< ns since 1970.
  Nearness nearness = Nearness::elsewhere;
  std::optional<LinkSpec> link{};       ///< As was ordered last; none: it gets none.
  bool anew = true;                     ///< Its broker was started since.
  std::vector<std::uint64_t> epochs{};  ///< Those seen last.
  std::uint64_t contested_at = 0;  ///< One of them came back, on the steady clock; 0: none did.
  LinkSpec wanted{};               ///< What it would be started with now,
  std::uint64_t wanted_since = 0;  ///< and since when, on the steady clock.
  std::uint64_t bare_since = 0;    ///< The same: it has no servants; 0: it has.
};

/// When something is told: both clocks, so that the table needs none.
struct Moment {
  std::uint64_t steady_ns = 0;
  std::int64_t wall_ns = 0;  ///< Since 1970.
};

/// Who else is in the cluster, by what etcd tells; what follows for the links. Events in, actions
/// out: no I/O, no clock. Each peer with servants has a link; one that drains, is gone or has had
/// no servants for kTagsSettleNs has none: it would refuse what it is sent. Another address or tier
/// replaces its link at once if its broker was started anew or the link is down, and else, as other
/// tags do, once it has stayed for kTagsSettleNs. While two brokers write to one key in turn the
/// link stays as it is. What cannot be read changes nothing of a peer that is known. Threads: one.
class PeerTable {
 public:
  /// @param prefix  of the keys, see brokers_prefix().
  PeerTable(std::string prefix, std::string own_id, std::string zone, std::string region);

  /// All keys there are: what is not among them is gone.
  void listed(const Listing& listing, Moment now);
  /// One event of a watch; older ones than what is known are passed over.
  void told(const WatchEvent& event, Moment now);

  /// Orders that are due, oldest first. One for which there is no room waits.
  [[nodiscard]] std::vector<LinkAction> take_actions(std::uint64_t steady_ns,
                                                     const LinkFacts& facts = {});
  [[nodiscard]] std::vector<PeerNote> take_notes();
  /// Whether anything that is shown of the peers has changed since the last call.
  [[nodiscard]] bool take_changed() noexcept;

  [[nodiscard]] const std::map<std::string, Peer, std::less<>>& peers() const noexcept {
    return peers_;
  }

 private:
  void put(std::string_view id, const KeyValue& kv, Moment now);
  void remove(std::map<std::string, Peer, std::less<>>::iterator peer);
  void admit(Moment now);
  void look_at_epoch(Peer& peer, std::uint64_t epoch, Moment now);
  void refill_starts(std::uint64_t steady_ns);
  [[nodiscard]] std::string_view id_of(std::string_view key) const;
  [[nodiscard]] Nearness nearness_of(const BrokerRecord& record) const noexcept;
  void refuse(std::string_view id, const std::string& why);

  const std::string prefix_;
  const std::string own_id_;
  const std::string zone_;
  const std::string region_;
  std::map<std::string, Peer, std::less<>> peers_;
  std::map<std::string, KeyValue, std::less<>> waiting_;  // for one of the kPeersMax to leave
  std::vector<LinkAction> actions_;
  std::vector<PeerNote> notes_;
  std::size_t refusals_ = 0;  // of the notes
  std::uint32_t starts_left_ = kLinkStartsMax;
  std::uint64_t refilled_ns_ = 0;
  bool changed_ = true;
};

/// `zone`, `region`, `elsewhere`.
[[nodiscard]] const char* to_string(Nearness nearness) noexcept;

}  // namespace mserve::cluster
