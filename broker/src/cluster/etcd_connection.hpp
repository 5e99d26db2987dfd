// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "cluster/cluster_options.hpp"
#include "cluster/host_lookup.hpp"

namespace boost::asio {  // NOLINT(readability-identifier-naming): not ours
class io_context;
}  // namespace boost::asio

namespace mserve::cluster {

/// Whom we trust and what we show, read from files once.
class TlsContext {
 public:
  /// @param fault  why it cannot be: a file cannot be read, or is no certificate.
  /// @return null then.
  [[nodiscard]] static std::shared_ptr<TlsContext> load(const ClusterOptions& options,
                                                        std::string& fault);
  struct Parts;
  [[nodiscard]] Parts& parts() const noexcept { return *parts_; }

 private:
  std::shared_ptr<Parts> parts_;
};

struct HttpAnswer {
  unsigned status = 0;
  std::string body{};
  /// Not empty: there is no answer, and the connection is of no use any more unless it was
  /// too_large.
  std::string fault{};
  bool too_large = false;  ///< It is longer than kAnswerBytesMax.
};

/// One HTTP/1.1 connection to one etcd: calls one after the other, or one endless answer of lines.
/// Bounded: kAnswerBytesMax of an answer or a line, 8 KiB of headers, `patience` for a call with
/// all that it takes, looking up the name included. Threads: that of its io_context.
class EtcdConnection {
 public:
  using Answered = std::function<void(HttpAnswer)>;
  using Line = std::function<void(std::string_view line)>;
  using Ended = std::function<void(const std::string& fault)>;

  virtual ~EtcdConnection() = default;
  EtcdConnection(const EtcdConnection&) = delete;
  EtcdConnection& operator=(const EtcdConnection&) = delete;

  /// POSTs `body`; it connects first if it has to. Not before the last one was answered.
  /// @param token  of authentication; may be empty.
  virtual void call(const std::string& path, std::string body, const std::string& token,
                    Answered answered) = 0;
  /// The same for an answer that goes on: `line` gets each line without its end. The first one
  /// comes within `patience`; later ones come when they come.
  virtual void stream(const std::string& path, std::string body, const std::string& token,
                      Line line, Ended ended) = 0;
  /// Nothing is called any more. To be called before the last owner lets go of it, and before the
  /// io_context ends.
  virtual void close() = 0;

 protected:
  EtcdConnection() = default;
};

/// @param tls  of an https:// endpoint, else null. @param resolver  of a host that is a name; it is
/// called on other threads. @param purpose  of its look-ups.
[[nodiscard]] std::shared_ptr<EtcdConnection> connection_to(
    boost::asio::io_context& context, const EtcdEndpoint& endpoint, std::shared_ptr<TlsContext> tls,
    std::uint64_t patience_ns, Resolver resolver = resolve_by_system,
    LookupFor purpose = LookupFor::membership);

}  // namespace mserve::cluster
