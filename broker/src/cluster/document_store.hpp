// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/cluster_options.hpp"
#include "cluster/shared_document.hpp"

namespace boost::asio {  // NOLINT(readability-identifier-naming): not ours
class io_context;
}  // namespace boost::asio

namespace mserve::cluster {

class TlsContext;

/// What became of writing a document.
struct WriteResult {
  enum class Kind : std::uint8_t {
    written,
    conflict,  ///< Another one was written meanwhile; nothing was.
    failed,    ///< Nothing was written.
    unknown,   ///< etcd was asked, and its answer is lost.
  };
  Kind kind = Kind::failed;
  Document document{};  ///< Of conflict: the other one, version 0 if it is gone; else ours.
  std::string fault{};  ///< Of failed and unknown; of conflict: why the other one cannot be read.
};

/// Documents in etcd, read and written when somebody asks for it: each time by a connection of its
/// own, so that nothing of it touches the lease. Threads: that of its io_context. What is under way
/// when this ends is told to nobody.
class DocumentStore {
 public:
  /// Which etcd, and what it wants to see: as it is when something is asked.
  struct Way {
    EtcdEndpoint endpoint{};
    std::string token{};
  };
  using Written = std::function<void(const WriteResult&)>;
  using Found = std::function<void(std::vector<Document> found, const std::string& fault)>;

  DocumentStore(boost::asio::io_context& context, std::string cluster,
                std::shared_ptr<TlsContext> tls, std::function<Way()> way);
  ~DocumentStore();
  DocumentStore(const DocumentStore&) = delete;
  DocumentStore& operator=(const DocumentStore&) = delete;

  /// Gives `document` the next version, see next_version(), and writes it, if what stands there is
  /// of `revision` (0: nothing stands there).
  /// @param document  its version is that of what stands there; 0: that has none.
  /// @param beyond    the next version is beyond that one too.
  void write(Document document, std::int64_t revision, std::int64_t beyond, Written written);
  /// What stands there, as a conflict with it, or that it failed.
  void find_current(Written found);
  /// That version, if it is kept.
  void find(std::int64_t version, Found found);
  /// The newest kVersionsTold that are kept, newest first.
  /// @param current  nothing beyond it is any; 0: it is not known.
  void find_latest(std::int64_t current, Found found);
  /// An answer holds no more of the longest ones.
  static constexpr std::size_t kVersionsTold = 16;

 private:
  struct Parts;
  std::shared_ptr<Parts> parts_;
};

}  // namespace mserve::cluster
