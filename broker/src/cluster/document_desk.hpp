// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/broker_record.hpp"
#include "cluster/document_store.hpp"
#include "cluster/peer_table.hpp"
#include "cluster/shared_document.hpp"

namespace mserve::cluster {

/// The longest request: a text of which JSON escapes each byte.
inline constexpr std::size_t kRequestBytesMax = std::size_t{2} << 20;

/// How one broker stands to a version.
enum class Uptake : std::uint8_t {
  applied,
  refused,
  waiting,   ///< It has not said yet.
  draining,  ///< It ends, and may take none any more.
  unable,    ///< It is too old to know of documents.
};
[[nodiscard]] Uptake uptake_of(const BrokerRecord& broker, std::int64_t version) noexcept;
[[nodiscard]] const char* to_string(Uptake uptake) noexcept;

/// Answers what operators ask about the document: a line of JSON each, and one back.
///
/// Requests: `{"format":1,"verb":"apply","text":T,"note":N,"base":V,"wait_ms":M}` (base: only if
/// that version is the current one; 0: only if there is none; missing: whichever it is),
/// `{"verb":"rollback","version":V,"note":N,"wait_ms":M}` and `{"verb":"show","version":V}`
/// (without a version: the one before the current one; the current one), `{"verb":"history"}`.
/// Answers: `status` (ok, refused, conflict, no_etcd, timed_out, invalid), `text` (a sentence),
/// `document` (of apply and rollback without its text), `documents`, `faults` (of the text),
/// `brokers` (id, state, version, fault) as far as there are any.
/// Each request is answered once, unless this ends before. Threads: one.
class DocumentDesk {
 public:
  /// How the rest of the process is, when it is asked.
  struct Sources {
    const DocumentWatch& watch;
    const PeerTable& peers;
    DocumentStore& store;
    std::function<std::string()> etcd_fault{};  ///< Empty: etcd is reached.
    std::function<Document()> held{};           ///< The broker's own; version 0: none.
    std::function<BrokerRecord()> own{};        ///< This broker; without an id: it is not there.
    std::function<std::vector<std::string>(std::string_view)> check{};
    std::function<std::int64_t()> wall_now{};
    /// Called before it is said that brokers have a document: so does whoever looks next see it.
    std::function<void()> show{};
  };
  using Reply = std::function<void(std::string line)>;

  explicit DocumentDesk(Sources sources);

  /// @param by  who asks.
  void take(std::string_view request, const std::string& by, std::uint64_t now, Reply reply);
  /// Answers those who wait for brokers, if they need not any more.
  void tick(std::uint64_t now);

 private:
  struct Waiting {
    Document document{};
    std::string what{};  ///< What has been done.
    bool rollback = false;
    std::vector<std::string> there{};  ///< Ids of the brokers that served when it was written.
    std::uint64_t deadline = 0;
    Reply reply{};
  };
  struct Order;
  void apply(Order order);
  void roll_back(Order order);
  void show(std::int64_t version, const Reply& reply);
  void history(const Reply& reply);
  void confirm(Order order);
  void write(Order order, const Document& document);
  void written(const Order& order, const WriteResult& result);
  [[nodiscard]] std::int64_t newest_held() const;
  [[nodiscard]] std::string doubt_of_shown(const std::string& away) const;
  [[nodiscard]] std::vector<BrokerRecord> brokers() const;
  [[nodiscard]] std::size_t count(std::int64_t version, Uptake uptake) const;
  [[nodiscard]] std::vector<std::string> serving() const;
  [[nodiscard]] bool answer(const Waiting& waiting, std::uint64_t now) const;

  const Sources from_;
  std::list<Waiting> waiting_;
};

}  // namespace mserve::cluster
