// SPDX-License-Identifier: Apache-2.0
#include "cluster/etcd_connection.hpp"

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <charconv>
#include <chrono>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "cluster/etcd_messages.hpp"
#include "mserve/shm/tcp.hpp"

namespace mserve::cluster {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using asio::ip::tcp;
using beast::error_code;

struct TlsContext::Parts {
  ssl::context context{ssl::context::tls_client};
};

std::shared_ptr<TlsContext> TlsContext::load(const ClusterOptions& options, std::string& fault) {
  auto made = std::make_shared<TlsContext>();
  made->parts_ = std::make_shared<Parts>();
  ssl::context& context = made->parts_->context;
  error_code failed;
  const auto take = [&](const std::string& file, error_code result) {
    if (result && fault.empty()) {
      fault = file + ": " + result.message();
    }
  };
  take("TLS", context.set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 |
                                      ssl::context::no_sslv3 | ssl::context::no_tlsv1 |
                                      ssl::context::no_tlsv1_1,
                                  failed));
  if (options.ca_file.empty()) {
    take("the system's certificates", context.set_default_verify_paths(failed));
  } else {
    take(options.ca_file, context.load_verify_file(options.ca_file, failed));
  }
  if (!options.cert_file.empty()) {
    take(options.cert_file, context.use_certificate_chain_file(options.cert_file, failed));
    take(options.key_file,
         context.use_private_key_file(options.key_file, ssl::context::pem, failed));
  }
  take("TLS", context.set_verify_mode(ssl::verify_peer, failed));
  return fault.empty() ? made : nullptr;
}

namespace {

constexpr std::uint32_t kHeaderBytesMax = 8192;

template <class Stream>
class Connection final : public EtcdConnection,
                         public std::enable_shared_from_this<Connection<Stream>> {
  static constexpr bool kTls = !std::is_same_v<Stream, beast::tcp_stream>;
  using Bytes = std::array<char, 16384>;

 public:
  Connection(asio::io_context& context, EtcdEndpoint endpoint, std::shared_ptr<TlsContext> tls,
             std::uint64_t patience_ns, Resolver resolver, LookupFor purpose)
      : endpoint_(std::move(endpoint)),
        tls_(std::move(tls)),
        patience_(patience_ns),
        resolver_(std::move(resolver)),
        purpose_(purpose),
        patience_timer_(context),
        context_(context) {}

  void call(const std::string& path, std::string body, const std::string& token,
            Answered answered) override {
    if (closed_) {  // it failed when nothing was asked
      asio::post(patience_timer_.get_executor(), [answered = std::move(answered)] {
        answered({.fault = "the connection was lost"});
      });
      return;
    }
    answered_ = std::move(answered);
    begin(path, std::move(body), token);
  }

  void stream(const std::string& path, std::string body, const std::string& token, Line line,
              Ended ended) override {
    line_ = std::move(line);
    ended_ = std::move(ended);
    begin(path, std::move(body), token);
  }

  void close() override {
    closed_ = true;
    answered_ = nullptr;
    line_ = nullptr;
    ended_ = nullptr;
    error_code ignored;
    lookup_.reset();
    (void)patience_timer_.cancel();
    if (stream_) {
      (void)beast::get_lowest_layer(*stream_).socket().close(ignored);
    }
  }

 private:
  /// One for each connection: TLS that was said good-bye to does not begin again.
  void make_stream() {
    if constexpr (kTls) {
      stream_.emplace(context_, tls_->parts().context);
    } else {
      stream_.emplace(context_);
    }
    buffer_.clear();
  }

  /// What an operation calls when it is over, unless this was closed meanwhile.
  template <class... Rest>
  auto then(void (Connection::*next)(error_code, Rest...)) {
    return [self = this->shared_from_this(), next](error_code fault, std::decay_t<Rest>... rest) {
      if (!self->closed_) {
        (self.get()->*next)(fault, rest...);
      }
    };
  }

  void begin(const std::string& path, std::string body, const std::string& token) {
    constexpr unsigned kHttp11 = 11;
    request_ = {};
    request_.version(kHttp11);
    request_.method(http::verb::post);
    request_.target(path);
    request_.set(http::field::host, endpoint_.host + ":" + endpoint_.port);
    request_.set(http::field::content_type, "application/json");
    if (!token.empty()) {
      request_.set(http::field::authorization, token);
    }
    request_.body() = std::move(body);
    request_.prepare_payload();
    wait_no_longer();
    if (connected_) {
      write();
      return;
    }
    make_stream();
    error_code no_address;
    (void)asio::ip::make_address(endpoint_.host, no_address);
    if (!no_address) {
      connect({.addresses = {endpoint_.host}});
      return;
    }
    lookup_ = HostLookup::begin(
        endpoint_.host, resolver_,
        [self = this->weak_from_this(), context = &context_](const HostAnswer& answer) {
          asio::post(*context, [self, answer] {
            if (const auto here = self.lock(); here && !here->closed_) {
              here->connect(answer);
            }
          });
        },
        purpose_);
    if (!lookup_) {
      asio::post(context_, [self = this->shared_from_this()] {
        if (!self->closed_) {
          self->fail("the host is still being looked up");
        }
      });
    }
  }

  /// Bounds what has begun, as a whole.
  void wait_no_longer() {
    patience_timer_.expires_after(patience_);
    // Its end may be on the way already when an answer comes: that has another turn.
    patience_timer_.async_wait(
        [self = this->shared_from_this(), turn = ++turn_](error_code canceled) {
          if (!canceled && !self->closed_ && turn == self->turn_) {
            self->fail("no answer within its time");
          }
        });
  }
  void was_in_time() {
    ++turn_;
    (void)patience_timer_.cancel();
  }

  void connect(const HostAnswer& found) {
    lookup_.reset();
    std::uint16_t port = 0;
    (void)std::from_chars(endpoint_.port.data(), endpoint_.port.data() + endpoint_.port.size(),
                          port);
    std::vector<tcp::endpoint> endpoints;
    for (const std::string& text : found.addresses) {
      error_code fault;
      if (const auto address = asio::ip::make_address(text, fault); !fault) {
        endpoints.emplace_back(address, port);
      }
    }
    if (endpoints.empty()) {
      return fail("the host is not found: " + found.fault);
    }
    beast::get_lowest_layer(*stream_).async_connect(endpoints, then(&Connection::connected));
  }

  void connected(error_code fault, const tcp::endpoint& /*which*/) {
    if (fault) {
      return fail("cannot connect: " + fault.message());
    }
    shm::set_tcp_options(beast::get_lowest_layer(*stream_).socket().native_handle(),
                         {.idle_s = 5, .every_s = 1, .probes = 3, .user_timeout_ms = 5000});
    if constexpr (kTls) {
      error_code failed;
      (void)asio::ip::make_address(endpoint_.host, failed);
      if (failed) {  // a name, by which a server may choose what it shows
        (void)SSL_set_tlsext_host_name(stream_->native_handle(), endpoint_.host.c_str());
        failed = {};
      }
      (void)stream_->set_verify_callback(ssl::host_name_verification(endpoint_.host), failed);
      if (failed) {
        return fail("TLS: " + failed.message());
      }
      stream_->async_handshake(ssl::stream_base::client, then(&Connection::shaken));
    } else {
      shaken({});
    }
  }

  void shaken(error_code fault) {
    if (fault) {
      return fail("TLS: " + fault.message());
    }
    connected_ = true;
    write();
  }

  void write() { http::async_write(*stream_, request_, then(&Connection::written)); }

  void written(error_code fault, std::size_t /*bytes*/) {
    if (fault) {
      return fail("the request is not taken: " + fault.message());
    }
    if (line_) {
      lines_.emplace();
      lines_->header_limit(kHeaderBytesMax);
      lines_->body_limit(std::numeric_limits<std::uint64_t>::max());
      http::async_read_header(*stream_, buffer_, *lines_, then(&Connection::read_header));
      return;
    }
    whole_.emplace();
    whole_->header_limit(kHeaderBytesMax);
    whole_->body_limit(kAnswerBytesMax);
    http::async_read(*stream_, buffer_, *whole_, then(&Connection::read_whole));
  }

  void read_whole(error_code fault, std::size_t /*bytes*/) {
    if (fault == http::error::body_limit) {
      hang_up();
      was_in_time();
      std::exchange(answered_,
                    nullptr)({.fault = "the answer is longer than 8 MiB", .too_large = true});
      return;
    }
    if (fault) {
      return fail("the answer breaks off: " + fault.message());
    }
    was_in_time();
    HttpAnswer answer{.status = whole_->get().result_int(),
                      .body = std::move(whole_->get().body())};
    connected_ = whole_->get().keep_alive();
    if (!connected_) {
      hang_up();
    }
    std::exchange(answered_, nullptr)(std::move(answer));
  }

  /// The next call connects again.
  void hang_up() {
    connected_ = false;
    error_code ignored;
    (void)beast::get_lowest_layer(*stream_).socket().close(ignored);
  }

  void read_header(error_code fault, std::size_t /*bytes*/) {
    if (fault) {
      return fail("the answer breaks off: " + fault.message());
    }
    if (lines_->get().result_int() != kOk) {
      return fail("etcd refuses with status " + std::to_string(lines_->get().result_int()));
    }
    read_some();
  }

  void read_some() {
    lines_->get().body().data = bytes_.data();
    lines_->get().body().size = bytes_.size();
    http::async_read_some(*stream_, buffer_, *lines_, then(&Connection::read_part));
  }

  void read_part(error_code fault, std::size_t /*bytes*/) {
    if (fault == http::error::need_buffer) {  // it is full, which is no fault
      fault = {};
    }
    if (fault) {
      return fail("the watch breaks off: " + fault.message());
    }
    std::string_view got(bytes_.data(), bytes_.size() - lines_->get().body().size);
    while (!got.empty()) {
      const std::size_t end = got.find('\n');
      partial_.append(got.substr(0, end));
      if (partial_.size() > kAnswerBytesMax) {
        return fail("a line is longer than 8 MiB");
      }
      if (end == std::string_view::npos) {
        break;
      }
      got.remove_prefix(end + 1);
      was_in_time();
      const std::string line = std::exchange(partial_, {});
      const Line told = line_;  // it may close this, and so take itself away
      if (!line.empty()) {
        told(line);
      }
      if (closed_) {
        return;
      }
    }
    if (lines_->is_done()) {
      return fail("the watch is over");
    }
    read_some();
  }

  void fail(const std::string& why) {
    const auto self = this->shared_from_this();
    const Answered answered = std::exchange(answered_, nullptr);
    const Ended ended = std::exchange(ended_, nullptr);
    close();
    if (answered) {
      answered({.fault = why});
    } else if (ended) {
      ended(why);
    }
  }

  static constexpr unsigned kOk = 200;
  const EtcdEndpoint endpoint_;
  const std::shared_ptr<TlsContext> tls_;
  const std::chrono::nanoseconds patience_;
  const Resolver resolver_;
  const LookupFor purpose_;
  std::unique_ptr<HostLookup> lookup_{};
  asio::steady_timer patience_timer_;
  asio::io_context& context_;
  std::optional<Stream> stream_{};
  beast::flat_buffer buffer_{std::size_t{2} * kHeaderBytesMax + 65536};
  http::request<http::string_body> request_{};
  std::optional<http::response_parser<http::string_body>> whole_{};
  std::optional<http::response_parser<http::buffer_body>> lines_{};
  Bytes bytes_{};
  std::string partial_{};
  Answered answered_{};
  Line line_{};
  Ended ended_{};
  std::uint64_t turn_ = 0;  // of what patience_timer_ bounds
  bool connected_ = false;
  bool closed_ = false;
};

}  // namespace

std::shared_ptr<EtcdConnection> connection_to(asio::io_context& context,
                                              const EtcdEndpoint& endpoint,
                                              std::shared_ptr<TlsContext> tls,
                                              std::uint64_t patience_ns, Resolver resolver,
                                              LookupFor purpose) {
  if (endpoint.tls) {
    return std::make_shared<Connection<beast::ssl_stream<beast::tcp_stream>>>(
        context, endpoint, std::move(tls), patience_ns, std::move(resolver), purpose);
  }
  return std::make_shared<Connection<beast::tcp_stream>>(context, endpoint, nullptr, patience_ns,
                                                         std::move(resolver), purpose);
}

}  // namespace mserve::cluster
