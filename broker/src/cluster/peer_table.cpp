// SPDX-License-Identifier: Apache-2.0
#include "cluster/peer_table.hpp"

#include <algorithm>
#include <bit>
#include <set>
#include <utility>

#include "cluster/json_fields.hpp"
#include "control/servant_tags.hpp"

namespace mserve::cluster {

namespace {

/// A flood of bad keys is not a flood of notes.
constexpr std::size_t kNotesMax = 256;
constexpr std::size_t kEpochsMax = 4;

/// Stays while it is right within a factor: one servant more or less is no reason for another link.
std::uint32_t credit_for(const BrokerRecord& record, std::uint32_t before) {
  std::uint64_t servants = 0;
  for (const ServantGroup& group : record.servants) {
    servants += std::uint64_t{group.free} + group.busy;
  }
  const std::uint64_t wanted =
      std::bit_ceil(std::clamp<std::uint64_t>(servants, kLinkCreditMin, kLinkCreditMax));
  const bool fits = wanted <= before && wanted * 4 > before;
  return fits ? before : static_cast<std::uint32_t>(wanted);
}

LinkSpec spec_of(const Peer& peer) {
  const std::string own = std::string(broker::kLinkTag) + peer.record.id;
  const std::string others = all_tags(peer.record, kTagsBytesMax - own.size() - 1);
  return {.address = peer.record.address,
          .tier = peer.nearness,
          .tags = others.empty() ? own : own + " " + others,
          .credit = credit_for(peer.record, peer.wanted.credit)};
}

bool contested(const Peer& peer, std::uint64_t steady_ns) {
  return peer.contested_at != 0 && steady_ns < peer.contested_at + kContestSettleNs;
}

/// Whether it is time for another link instead of the one that it has.
bool to_be_replaced(const Peer& peer, std::uint64_t steady_ns, const LinkFacts& facts) {
  if (*peer.link == peer.wanted) {
    return false;
  }
  const bool moved =
      peer.link->address != peer.wanted.address || peer.link->tier != peer.wanted.tier;
  return steady_ns >= peer.wanted_since + kTagsSettleNs ||
         (moved && (peer.anew || (facts.down && facts.down(peer.record.id))));
}

}  // namespace

const char* to_string(Nearness nearness) noexcept {
  switch (nearness) {
    case Nearness::zone:
      return "zone";
    case Nearness::region:
      return "region";
    case Nearness::elsewhere:
      break;
  }
  return "elsewhere";
}

PeerTable::PeerTable(std::string prefix, std::string own_id, std::string zone, std::string region)
    : prefix_(std::move(prefix)),
      own_id_(std::move(own_id)),
      zone_(std::move(zone)),
      region_(std::move(region)) {}

std::string_view PeerTable::id_of(std::string_view key) const {
  return key.starts_with(prefix_) ? key.substr(prefix_.size()) : std::string_view();
}

Nearness PeerTable::nearness_of(const BrokerRecord& record) const noexcept {
  if (record.region != region_) {
    return Nearness::elsewhere;
  }
  return record.zone == zone_ ? Nearness::zone : Nearness::region;
}

void PeerTable::refuse(std::string_view id, const std::string& why) {
  if (refusals_ < kNotesMax) {
    ++refusals_;
    notes_.push_back({PeerNote::Kind::refused, shown(id, 64), why});
  }
}

void PeerTable::listed(const Listing& listing, Moment now) {
  std::set<std::string, std::less<>> there;
  waiting_.clear();
  for (const KeyValue& kv : listing.all) {
    const std::string_view id = id_of(kv.key);
    if (id.empty() || id == own_id_) {
      continue;
    }
    there.emplace(id);
    // A store that was set back tells older revisions, or other contents of the same one, and is
    // right all the same.
    if (const auto known = peers_.find(id); known != peers_.end()) {
      if (known->second.revision == kv.mod_revision && known->second.value == kv.value) {
        continue;
      }
      known->second.revision = 0;
    }
    put(id, kv, now);
  }
  for (auto at = peers_.begin(); at != peers_.end();) {
    const auto peer = at++;
    if (!listing.more && !there.contains(peer->first)) {
      remove(peer);
    }
  }
  admit(now);
}

void PeerTable::told(const WatchEvent& event, Moment now) {
  const std::string_view id = id_of(event.kv.key);
  if (id.empty() || id == own_id_) {
    return;
  }
  const auto known = peers_.find(id);
  if (known != peers_.end() && event.kv.mod_revision <= known->second.revision) {
    return;
  }
  if (!event.removed) {
    put(id, event.kv, now);
  } else if (known != peers_.end()) {
    remove(known);
    admit(now);
  } else if (const auto waits = waiting_.find(id); waits != waiting_.end()) {
    waiting_.erase(waits);
  }
}

/// Those for which there was no room, now that there may be some: their keys need not change again.
void PeerTable::admit(Moment now) {
  while (peers_.size() < kPeersMax && !waiting_.empty()) {
    const auto next = waiting_.extract(waiting_.begin());
    put(next.key(), next.mapped(), now);
  }
}

void PeerTable::put(std::string_view id, const KeyValue& kv, Moment now) {
  std::string fault;
  auto record = read_record(kv.value, id, fault);
  if (!record) {
    refuse(id, fault);
    return;
  }
  auto known = peers_.find(id);
  const bool joins = known == peers_.end();
  if (joins) {
    if (peers_.size() >= kPeersMax) {
      if (waiting_.size() < kKeysMax) {
        waiting_.insert_or_assign(std::string(id), kv);
      }
      refuse(id, "there are 256 peers already, it is linked when one of them leaves");
      return;
    }
    known = peers_.try_emplace(record->id).first;
    notes_.push_back({PeerNote::Kind::joined, record->id, record->address});
  }
  Peer& peer = known->second;
  look_at_epoch(peer, record->epoch, now);
  if (record->draining != (joins ? false : peer.record.draining)) {
    notes_.push_back({PeerNote::Kind::state, record->id, record->state()});
  }
  peer.record = std::move(*record);
  peer.revision = kv.mod_revision;
  peer.value = kv.value;
  peer.changed_at = now.wall_ns;
  peer.nearness = nearness_of(peer.record);
  if (LinkSpec wanted = spec_of(peer); joins || wanted != peer.wanted) {
    peer.wanted = std::move(wanted);
    peer.wanted_since = now.steady_ns;
  }
  if (!peer.record.servants.empty()) {
    peer.bare_since = 0;
  } else if (peer.bare_since == 0) {
    peer.bare_since = now.steady_ns;
  }
  changed_ = true;
}

/// A broker that is started has an epoch that was never seen. One that was comes back only if two
/// brokers write.
void PeerTable::look_at_epoch(Peer& peer, std::uint64_t epoch, Moment now) {
  if (std::find(peer.epochs.begin(), peer.epochs.end(), epoch) == peer.epochs.end()) {
    if (peer.epochs.size() >= kEpochsMax) {
      peer.epochs.erase(peer.epochs.begin());
    }
    peer.epochs.push_back(epoch);
    peer.anew = true;
  } else if (epoch != peer.record.epoch) {
    peer.contested_at = now.steady_ns;
    refuse(peer.record.id,
           "two brokers with this --cluster-id write in turn; give one of them another");
  }
}

void PeerTable::remove(std::map<std::string, Peer, std::less<>>::iterator peer) {
  if (peer->second.link) {
    actions_.push_back({.kind = LinkAction::Kind::stop, .id = peer->first});
  }
  notes_.push_back({PeerNote::Kind::left, peer->first, ""});
  peers_.erase(peer);
  changed_ = true;
}

void PeerTable::refill_starts(std::uint64_t steady_ns) {
  constexpr std::uint64_t kEachNs = 1'000'000'000 / kLinkStartsPerSecond;
  const std::uint64_t more = (steady_ns - refilled_ns_) / kEachNs;
  refilled_ns_ += more * kEachNs;
  starts_left_ =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(starts_left_ + more, kLinkStartsMax));
}

std::vector<LinkAction> PeerTable::take_actions(std::uint64_t steady_ns, const LinkFacts& facts) {
  refill_starts(steady_ns);
  std::vector<LinkAction> actions = std::exchange(actions_, {});
  std::uint32_t ending = facts.ending_in_all;
  for (auto& [id, peer] : peers_) {
    const bool bare = peer.bare_since != 0;
    if (peer.record.draining || bare) {
      if (peer.link && (peer.record.draining || steady_ns >= peer.bare_since + kTagsSettleNs)) {
        peer.link.reset();
        actions.push_back({.kind = LinkAction::Kind::stop, .id = id});
      }
      continue;
    }
    if (contested(peer, steady_ns)) {
      continue;
    }
    const bool replace = peer.link && to_be_replaced(peer, steady_ns, facts);
    // Of a broker that was started anew only the number is told: its link finds it by itself.
    if (peer.link && !replace && !peer.anew) {
      continue;
    }
    if (replace || !peer.link) {
      if (starts_left_ == 0 || (facts.ending && facts.ending(id) >= kFormerLinksMax) ||
          (replace && ending >= kEndingLinksMax)) {
        continue;
      }
      --starts_left_;
      ending += replace ? 1 : 0;
      peer.link = peer.wanted;
    }
    peer.anew = false;
    const LinkAction::Kind kind = replace ? LinkAction::Kind::replace : LinkAction::Kind::start;
    actions.push_back({.kind = kind, .id = id, .spec = *peer.link, .epoch = peer.record.epoch});
  }
  return actions;
}

std::vector<PeerNote> PeerTable::take_notes() {
  refusals_ = 0;
  return std::exchange(notes_, {});
}

bool PeerTable::take_changed() noexcept {
  return std::exchange(changed_, false);
}

}  // namespace mserve::cluster
