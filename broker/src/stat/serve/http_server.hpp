// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "stat/serve/answers.hpp"

namespace mserve::stat {

/// Answers HTTP/1.1 at one address: requests without a body, one after the other on a connection.
/// All is bounded: kHttpHeaderBytes of request line and headers, kHttpConnections at a time (one
/// more, and the one that has been silent for longest is closed), kHttpIdleSeconds for a request to
/// arrive or an answer to be taken. What does not follow the protocol gets a 4xx and is closed.
/// Threads: one.
inline constexpr std::size_t kHttpHeaderBytes = 8192;
inline constexpr std::size_t kHttpConnections = 64;
inline constexpr unsigned kHttpIdleSeconds = 30;

class HttpServer {
 public:
  using Handler = std::function<Answer(const Ask&)>;

  explicit HttpServer(Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// @param host  a numeric address.
  /// @param port  0: any free one.
  /// @return what went wrong; empty: it listens.
  [[nodiscard]] std::string listen(const std::string& host, std::uint16_t port);
  /// Listens at another port too, where each connection gets what `line` says, and is closed.
  /// @param host, port, @return  as of listen().
  [[nodiscard]] std::string tell_at(const std::string& host, std::uint16_t port,
                                    std::function<std::string()> line);
  /// `ADDRESS:PORT` of tell_at().
  [[nodiscard]] std::string told_at() const;
  /// `http://ADDRESS:PORT/`, as a browser takes it.
  [[nodiscard]] std::string url() const;
  /// Serves until SIGTERM or SIGINT. @param each_second  called at once, and then each second.
  void run(const std::function<void()>& each_second);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace mserve::stat
