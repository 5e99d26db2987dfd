// SPDX-License-Identifier: Apache-2.0
#include "cluster/document_store.hpp"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <optional>
#include <set>
#include <utility>

#include "cluster/broker_record.hpp"
#include "cluster/etcd_connection.hpp"
#include "cluster/json_fields.hpp"
#include "control/log.hpp"

namespace mserve::cluster {

namespace asio = boost::asio;
using broker::log;
using broker::LogLevel;
using broker::LogText;

namespace {

constexpr std::uint64_t kPatienceNs = 3'000'000'000;

/// @param kv  what stands there; null: nothing.
WriteResult conflict_with(const KeyValue* kv) {
  WriteResult result{.kind = WriteResult::Kind::conflict};
  if (kv != nullptr) {
    result.document = read_document(kv->value, result.fault).value_or(Document{});
  }
  return result;
}

}  // namespace

struct DocumentStore::Parts : std::enable_shared_from_this<DocumentStore::Parts> {
  using Connection = std::shared_ptr<EtcdConnection>;
  using Handler = std::function<void(const std::string& body, const std::string& fault)>;

  Parts(asio::io_context& io, std::string name, std::shared_ptr<TlsContext> tls_context,
        std::function<Way()> which)
      : context(io), cluster(std::move(name)), tls(std::move(tls_context)), way(std::move(which)) {}

  /// One call; the connection is closed behind it.
  void call(const char* path, std::string body, Handler handler) {
    const Way now = way();
    const Connection connection = connection_to(context, now.endpoint, tls, kPatienceNs,
                                                resolve_by_system, LookupFor::documents);
    open.insert(connection);
    connection->call(path, std::move(body), now.token,
                     [self = shared_from_this(), connection = std::weak_ptr(connection),
                      handler = std::move(handler)](const HttpAnswer& answer) {
                       if (const Connection done = connection.lock()) {
                         done->close();
                         self->open.erase(done);
                       }
                       if (!self->over) {
                         tell(answer, handler);
                       }
                     });
  }

  static void tell(const HttpAnswer& answer, const Handler& handler) {
    constexpr unsigned kOk = 200;
    if (!answer.fault.empty()) {
      handler("", answer.fault);
    } else if (answer.status != kOk) {
      handler("", "etcd refuses with status " + std::to_string(answer.status) + ": " +
                      read_refusal(answer.body));
    } else {
      handler(answer.body, "");
    }
  }

  void write(Document document, std::int64_t revision, std::int64_t beyond, Written written) {
    // Where a document stands its version counts alone, and the last key tells of strays.
    const std::size_t keys = document.version != 0 ? 1 : kKeysMax;
    call(
        kRangePath, latest_request(history_keys(cluster), keys, false),
        [this, document = std::move(document), revision, beyond, written = std::move(written)](
            const std::string& body, std::string fault) mutable {
          const auto last = fault.empty() ? read_listing(body, fault) : std::nullopt;
          if (!last) {
            return written({.document = std::move(document), .fault = std::move(fault)});
          }
          NextVersion next = next_version(cluster, document.version, *last);
          document.version = std::max(next.version, beyond + 1);
          if (document.version > kVersionMax) {
            return written({.document = std::move(document),
                            .fault = "what stands there has the last version that there can be. "
                                     "Take it away, then apply again: etcdctl del " +
                                     document_key(cluster)});
          }
          if (std::string why; read_document(to_value(document), why) != document) {
            return written({.document = std::move(document), .fault = "it cannot be kept: " + why});
          }
          commit(std::move(document), revision, std::move(next.stray), std::move(written));
        });
  }

  void commit(Document document, std::int64_t revision, std::string stray, Written written) {
    std::string body = txn_request(write_txn(cluster, document, revision));
    call(kTxnPath, std::move(body),
         [this, document = std::move(document), stray = std::move(stray),
          written = std::move(written)](const std::string& answered, std::string fault) mutable {
           using Kind = WriteResult::Kind;
           // What it could not do in time it may do yet.
           const bool refused = fault.starts_with("etcd refuses with status 4");
           const auto answer = fault.empty() ? read_txn(answered, fault) : std::nullopt;
           if (!answer) {
             return written({.kind = refused ? Kind::failed : Kind::unknown,
                             .document = std::move(document),
                             .fault = std::move(fault)});
           }
           if (answer->succeeded) {  // so it was no version that is newer than what we know
             tell_stray(stray);
             return written({.kind = Kind::written, .document = std::move(document)});
           }
           written(conflict_with(answer->found ? &*answer->found : nullptr));
         });
  }

  /// Once: who put it there need not know how to fill a log.
  void tell_stray(const std::string& key) {
    if (key.empty() || std::exchange(stray_told, true)) {
      return;
    }
    log(LogLevel::warning, "history_key_ignored",
        {{"key", LogText{shown(key)}},
         {"reason", LogText{"it is none of a version that there was: somebody else wrote it"}}});
  }

  void find(const std::string& request, const Found& found) {
    call(kRangePath, request, [this, found](const std::string& body, std::string fault) {
      const auto listing = fault.empty() ? read_listing(body, fault) : std::nullopt;
      std::vector<Document> all;
      if (!listing) {
        return found({}, fault);
      }
      for (const KeyValue& kv : listing->all) {
        std::string ignored;  // one that cannot be read spoils no other
        auto document = read_document(kv.value, ignored);
        if (document && document->version == version_of(cluster, kv.key)) {
          all.push_back(std::move(*document));
        }
      }
      found(std::move(all), "");
    });
  }

  asio::io_context& context;
  const std::string cluster;
  const std::shared_ptr<TlsContext> tls;
  const std::function<Way()> way;
  std::set<Connection> open{};
  bool stray_told = false;
  bool over = false;
};

DocumentStore::DocumentStore(asio::io_context& context, std::string cluster,
                             std::shared_ptr<TlsContext> tls, std::function<Way()> way)
    : parts_(std::make_shared<Parts>(context, std::move(cluster), std::move(tls), std::move(way))) {
}

DocumentStore::~DocumentStore() {
  parts_->over = true;
  for (const auto& connection : parts_->open) {
    connection->close();
  }
  parts_->open.clear();
}

void DocumentStore::write(Document document, std::int64_t revision, std::int64_t beyond,
                          Written written) {
  parts_->write(std::move(document), revision, beyond, std::move(written));
}

void DocumentStore::find_current(Written found) {
  parts_->call(kRangePath, range_request(only_key(document_key(parts_->cluster))),
               [found = std::move(found)](const std::string& body, std::string fault) {
                 const auto listing = fault.empty() ? read_listing(body, fault) : std::nullopt;
                 if (!listing) {
                   return found({.kind = WriteResult::Kind::failed, .fault = std::move(fault)});
                 }
                 found(conflict_with(listing->all.empty() ? nullptr : &listing->all.front()));
               });
}

void DocumentStore::find(std::int64_t version, Found found) {
  parts_->find(range_request(only_key(history_key(parts_->cluster, version))), found);
}

void DocumentStore::find_latest(std::int64_t current, Found found) {
  KeyRange kept = history_keys(parts_->cluster);
  if (current != 0) {
    kept.end = only_key(history_key(parts_->cluster, current)).end;
  }
  parts_->find(latest_request(kept, kVersionsTold, true), found);
}

}  // namespace mserve::cluster
