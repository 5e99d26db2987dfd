// SPDX-License-Identifier: Apache-2.0
// DIR/NAME.cluster.sock: where operators ask mserve-cluster.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace boost::asio {  // NOLINT(readability-identifier-naming): not ours
class io_context;
}  // namespace boost::asio

namespace mserve::cluster {

[[nodiscard]] std::string document_socket_path(const std::string& directory,
                                               const std::string& broker);

/// A Unix stream socket: one line is asked and one answered on each connection. For this process's
/// user and root; whoever else asks is told so. Bounded: kRequestBytesMax a line, five seconds for
/// it to come, sixteen connections at once (others wait). Threads: that of its io_context.
class DocumentSocket {
 public:
  using Reply = std::function<void(std::string line)>;
  /// @param by     who asks: his name, or number.
  /// @param reply  may be called later, once, also when nobody reads it any more.
  using Asked = std::function<void(const std::string& request, const std::string& by, Reply reply)>;

  DocumentSocket(boost::asio::io_context& context, std::string path, Asked asked);
  /// Takes the file away.
  ~DocumentSocket();
  DocumentSocket(const DocumentSocket&) = delete;
  DocumentSocket& operator=(const DocumentSocket&) = delete;

  /// Listens. What lies at the path is replaced if it is a socket at which nobody listens.
  /// @return what went wrong; empty: nothing. It is tried again ten times a second then, unless the
  ///         path is too long.
  [[nodiscard]] std::string open();

 private:
  struct Parts;
  std::shared_ptr<Parts> parts_;
};

}  // namespace mserve::cluster
