// SPDX-License-Identifier: Apache-2.0
#include "stat/serve/http_server.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <csignal>
#include <exception>
#include <functional>
#include <list>
#include <optional>
#include <utility>

namespace mserve::stat {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using beast::error_code;

constexpr std::chrono::seconds kIdle{kHttpIdleSeconds};
constexpr std::chrono::seconds kLinger{1};
constexpr std::size_t kLingerBytes = 65536;

/// What to say to a request that cannot be read; 0: nothing, it is just over.
unsigned status_of(const error_code& fault) {
  constexpr unsigned kBadRequest = 400;
  constexpr unsigned kBody = 413;
  constexpr unsigned kLargeHeaders = 431;
  if (fault == http::error::header_limit || fault == http::error::buffer_overflow) {
    return kLargeHeaders;
  }
  if (fault == http::error::body_limit || fault == http::error::unexpected_body) {
    return kBody;
  }
  const bool over = fault == http::error::end_of_stream || fault == http::error::partial_message;
  return fault.category() == http::make_error_code(http::error::bad_version).category() && !over
             ? kBadRequest
             : 0;
}

/// A fresh socket has room for a line. What the peer sent is not read.
void tell(tcp::socket socket, const std::string& line) {
  error_code ignored;
  (void)socket.non_blocking(true, ignored);
  (void)socket.write_some(asio::buffer(line), ignored);
  (void)socket.shutdown(tcp::socket::shutdown_send, ignored);
}

}  // namespace

class HttpPeer;
using HttpPeers = std::list<std::shared_ptr<HttpPeer>>;

/// One connection. Lives as long as an operation of it is under way; all callbacks hold it.
class HttpPeer : public std::enable_shared_from_this<HttpPeer> {
 public:
  HttpPeer(tcp::socket socket, const HttpServer::Handler& handler, HttpPeers& peers)
      : stream_(std::move(socket)), handler_(handler), peers_(peers) {}

  void start() {
    place_ = peers_.insert(peers_.end(), shared_from_this());
    listed_ = true;
    read();
  }
  /// Everything under way ends with an error.
  void close() {
    error_code ignored;
    (void)stream_.socket().close(ignored);
    if (listed_) {
      listed_ = false;
      peers_.erase(place_);  // others hold it until their callbacks ran
    }
  }

 private:
  void read() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(kHttpHeaderBytes));
    parser_->body_limit(0);
    // Of the whole request: whoever sends a byte now and then gains nothing.
    stream_.expires_after(kIdle);
    http::async_read(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](error_code fault, std::size_t) { self->take(fault); });
  }

  void take(error_code fault) {
    if (!listed_) {
      return;
    }
    if (fault) {
      const unsigned status = status_of(fault);
      if (status == 0) {
        close();
      } else {
        send(plain_answer(status, "this request is not understood here: " + fault.message()), false,
             false);
      }
      return;
    }
    peers_.splice(peers_.end(), peers_, place_);  // not the silent one
    const auto& request = parser_->get();
    const auto text = [](beast::string_view view) {
      return std::string_view(view.data(), view.size());
    };
    constexpr unsigned kHttp11 = 11;
    constexpr unsigned kBadRequest = 400;
    if (request.version() >= kHttp11 && request.count(http::field::host) != 1) {
      send(plain_answer(kBadRequest, "a request names one host"), false, false);
      return;
    }
    send(handled({.method = text(request.method_string()),
                  .target = text(request.target()),
                  .host = text(request[http::field::host])}),
         request.method() == http::verb::head, request.keep_alive());
  }

  [[nodiscard]] Answer handled(const Ask& ask) const {
    constexpr unsigned kFault = 500;
    try {
      return handler_(ask);
    } catch (const std::exception&) {  // of memory there is none left
      return plain_answer(kFault, "that did not work");
    }
  }

  void send(Answer answer, bool head, bool again) {
    constexpr unsigned kHttp11 = 11;
    constexpr unsigned kFirstFault = 400;
    constexpr unsigned kFirstOfServer = 500;
    response_ = {};
    response_.version(kHttp11);
    response_.result(answer.status);
    for (auto& [name, value] : answer.headers) {
      response_.set(name, value);
    }
    response_.set(http::field::cache_control, "no-store");
    response_.set("X-Content-Type-Options", "nosniff");
    response_.set("Referrer-Policy", "no-referrer");
    response_.set("Cross-Origin-Resource-Policy", "same-origin");
    if (response_.count("Content-Security-Policy") == 0) {
      response_.set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
    }
    const bool refused = answer.status >= kFirstFault && answer.status < kFirstOfServer;
    again = again && !refused;
    response_.keep_alive(again);
    response_.content_length(answer.body.size());
    if (!head) {
      response_.body() = std::move(answer.body);
    }
    stream_.expires_after(kIdle);
    http::async_write(stream_, response_,
                      [self = shared_from_this(), again](error_code fault, std::size_t) {
                        self->sent(fault, again);
                      });
  }

  void sent(error_code fault, bool again) {
    if (!listed_) {
      return;
    }
    if (fault) {
      close();
    } else if (again) {
      read();
    } else {
      // Closing with bytes unread would reset the connection, and the answer might not arrive.
      error_code ignored;
      (void)stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
      stream_.expires_after(kLinger);
      buffer_.clear();
      drain();
    }
  }

  void drain() {
    constexpr std::size_t kAtOnce = 4096;
    stream_.async_read_some(buffer_.prepare(kAtOnce),
                            [self = shared_from_this()](error_code fault, std::size_t bytes) {
                              self->drained_ += bytes;
                              if (fault || !self->listed_ || self->drained_ > kLingerBytes) {
                                self->close();
                              } else {
                                self->drain();
                              }
                            });
  }

  beast::tcp_stream stream_;
  const HttpServer::Handler& handler_;
  HttpPeers& peers_;
  HttpPeers::iterator place_{};
  bool listed_ = false;
  beast::flat_buffer buffer_{2 * kHttpHeaderBytes};
  std::optional<http::request_parser<http::empty_body>> parser_{};
  http::response<http::string_body> response_{};
  std::size_t drained_ = 0;
};

/// Where connections come from.
class HttpDoor {
 public:
  using Taken = std::function<void(tcp::socket)>;

  explicit HttpDoor(asio::io_context& context) : acceptor_(context), pause_(context) {}

  /// @return what went wrong; empty: it listens.
  [[nodiscard]] std::string open(const std::string& host, std::uint16_t port) {
    error_code fault;
    const auto address = asio::ip::make_address(host, fault);
    if (fault) {
      return "'" + host + "' is no numeric address";
    }
    const tcp::endpoint endpoint(address, port);
    (void)acceptor_.open(endpoint.protocol(), fault);
    if (!fault) {
      (void)acceptor_.set_option(tcp::acceptor::reuse_address(true), fault);
    }
    if (!fault) {
      (void)acceptor_.bind(endpoint, fault);
    }
    if (!fault) {
      (void)acceptor_.listen(static_cast<int>(kHttpConnections), fault);
    }
    return fault ? "cannot listen at " + host + " port " + std::to_string(port) + ": " +
                       fault.message() + "; --port 0 takes any free one"
                 : std::string();
  }

  [[nodiscard]] bool is_open() const { return acceptor_.is_open(); }
  /// As in an address of the web: `127.0.0.1:8080`, `[::1]:8080`.
  [[nodiscard]] std::string address() const {
    error_code fault;
    const tcp::endpoint own = acceptor_.local_endpoint(fault);
    const std::string address = own.address().to_string();
    return (own.address().is_v6() ? "[" + address + "]" : address) + ":" +
           std::to_string(own.port());
  }

  void accept(const Taken& taken) {
    acceptor_.async_accept([this, taken](error_code fault, tcp::socket socket) {
      if (fault == asio::error::operation_aborted) {
        return;
      }
      if (fault) {
        // No descriptor is left, or the like: trying at once would spin.
        constexpr std::chrono::milliseconds kPause{100};
        pause_.expires_after(kPause);
        pause_.async_wait([this, taken](error_code over) {
          if (!over) {
            accept(taken);
          }
        });
        return;
      }
      taken(std::move(socket));
      accept(taken);
    });
  }

 private:
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
};

struct HttpServer::Parts {
  explicit Parts(Handler answer) : handler(std::move(answer)) {}

  void take(tcp::socket socket) {
    if (peers.size() >= kHttpConnections) {
      const std::shared_ptr<HttpPeer> silent = peers.front();
      silent->close();
    }
    std::make_shared<HttpPeer>(std::move(socket), handler, peers)->start();
  }

  void tick(const std::function<void()>& each_second) {
    each_second();
    constexpr std::chrono::seconds kSecond{1};
    second.expires_after(kSecond);
    second.async_wait([this, &each_second](error_code over) {
      if (!over) {
        tick(each_second);
      }
    });
  }

  Handler handler;
  std::function<std::string()> line{};
  asio::io_context context{1};
  HttpDoor door{context};
  HttpDoor line_door{context};
  asio::steady_timer second{context};
  asio::signal_set signals{context};
  HttpPeers peers{};
};

HttpServer::HttpServer(Handler handler) : parts_(std::make_unique<Parts>(std::move(handler))) {}
HttpServer::~HttpServer() {
  while (!parts_->peers.empty()) {
    const std::shared_ptr<HttpPeer> peer = parts_->peers.front();
    peer->close();
  }
}

std::string HttpServer::listen(const std::string& host, std::uint16_t port) {
  return parts_->door.open(host, port);
}

std::string HttpServer::tell_at(const std::string& host, std::uint16_t port,
                                std::function<std::string()> line) {
  parts_->line = std::move(line);
  return parts_->line_door.open(host, port);
}

std::string HttpServer::url() const {
  return "http://" + parts_->door.address() + "/";
}

std::string HttpServer::told_at() const {
  return parts_->line_door.address();
}

void HttpServer::run(const std::function<void()>& each_second) {
  (void)parts_->signals.add(SIGTERM);
  (void)parts_->signals.add(SIGINT);
  parts_->signals.async_wait([this](error_code fault, int) {
    if (!fault) {
      parts_->context.stop();
    }
  });
  parts_->door.accept([this](tcp::socket socket) { parts_->take(std::move(socket)); });
  if (parts_->line_door.is_open()) {
    parts_->line_door.accept(
        [this](tcp::socket socket) { tell(std::move(socket), parts_->line()); });
  }
  parts_->tick(each_second);
  (void)parts_->context.run();
}

}  // namespace mserve::stat
