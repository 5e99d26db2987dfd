// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "cluster/etcd_connection.hpp"

namespace mserve::cluster {

/// Calls to an etcd by one connection, one after the other. What waits when that is closed is told
/// to nobody. Threads: that of the connection's io_context.
class EtcdCalls {
 public:
  using Handler = std::function<void(const std::string& body)>;
  struct Owner {
    std::function<std::shared_ptr<void>()> held{};  ///< Kept while a call is under way.
    std::function<const std::string&()> token{};    ///< Sent with a call, as it is then.
    /// What to make of an answer; it calls the handler, or closes.
    std::function<void(const std::string& path, const HttpAnswer& answer, const Handler& handler)>
        answered{};
  };
  explicit EtcdCalls(Owner owner) : owner_(std::move(owner)) {}

  void open(std::shared_ptr<EtcdConnection> connection);
  void close();
  [[nodiscard]] bool is_open() const noexcept { return connection_ != nullptr; }

  /// @param path  lives as long as the program.
  void call(const char* path, std::string body, Handler handler);
  /// Before all that waits.
  void call_first(const char* path, std::string body, Handler handler);
  /// Forgets what waits. @param path  of those to forget; empty: all. @return whether it was any.
  bool forget(std::string_view path = {});

 private:
  struct Call {
    const char* path = "";
    std::string body{};
    Handler handler{};
  };
  void next();

  const Owner owner_;
  std::shared_ptr<EtcdConnection> connection_{};
  std::deque<Call> waiting_{};
  bool calling_ = false;
};

}  // namespace mserve::cluster
