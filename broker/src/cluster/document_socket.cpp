// SPDX-License-Identifier: Apache-2.0
#include "cluster/document_socket.hpp"

#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>

#include "cluster/document_desk.hpp"
#include "mserve/shm/socket.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::cluster {

namespace asio = boost::asio;
using asio::local::stream_protocol;
using boost::system::error_code;

namespace {

constexpr std::size_t kSessionsMax = 16;
constexpr std::chrono::seconds kPatience{5};
constexpr std::chrono::milliseconds kListenAgain{100};

std::string name_of(uid_t uid) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    return found->pw_name;
  }
  return std::to_string(uid);
}

/// Whether somebody listens there: what a killed process left refuses.
bool listened_at(const std::string& path) {
  const shm::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return fd &&
         (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
          errno == EAGAIN);  // its queue is full
}

}  // namespace

struct DocumentSocket::Parts : std::enable_shared_from_this<DocumentSocket::Parts> {
  Parts(asio::io_context& io, std::string where, Asked call)
      : context(io),
        path(std::move(where)),
        asked(std::move(call)),
        own_name(name_of(geteuid())),
        root_name(name_of(0)),
        acceptor(io),
        again(io) {}

  class Session;
  [[nodiscard]] std::string listen();
  void listen_later();
  void accept();

  asio::io_context& context;
  const std::string path;
  const Asked asked;
  // Looked up once: a directory service may take its time, and keep-alives wait for nobody.
  const std::string own_name;
  const std::string root_name;
  std::optional<struct stat> made{};  // the socket's file, as it was made
  stream_protocol::acceptor acceptor;
  asio::steady_timer again;
  std::size_t sessions = 0;
  bool accepting = false;
  bool over = false;
};

/// From a connection to its answer. Holds itself by what is under way.
class DocumentSocket::Parts::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(std::shared_ptr<Parts> parts, stream_protocol::socket socket)
      : parts_(std::move(parts)), socket_(std::move(socket)), timer_(parts_->context) {
    ++parts_->sessions;
  }
  ~Session() {
    --parts_->sessions;
    parts_->accept();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void begin() {
    const auto who = shm::peer_credentials(socket_.native_handle());
    if (!who || (who.value().uid != geteuid() && who.value().uid != 0)) {
      return answer(
          R"({"format":1,"status":"access","text":"only the broker's own user and root may"})"
          "\n");
    }
    by_ = who.value().uid == 0 ? parts_->root_name : parts_->own_name;
    hurry();
    asio::async_read_until(
        socket_, asio::dynamic_buffer(text_, kRequestBytesMax), '\n',
        [self = shared_from_this()](error_code fault, std::size_t bytes) {
          if (!fault && !self->parts_->over) {
            self->ask(bytes);
          } else if (fault == asio::error::not_found) {
            self->answer(
                R"({"format":1,"status":"invalid","text":"the request is longer than 2 MiB"})"
                "\n");
          }
        });
  }

 private:
  /// Whoever says or reads nothing is left alone after a while.
  void hurry() {
    timer_.expires_after(kPatience);
    timer_.async_wait([self = weak_from_this()](error_code canceled) {
      if (const auto session = self.lock(); !canceled && session) {
        session->close();
      }
    });
  }
  void close() {
    error_code ignored;
    (void)socket_.close(ignored);
    (void)timer_.cancel();
  }

  void ask(std::size_t bytes) {
    (void)timer_.cancel();
    text_.resize(bytes);
    watch();
    // The answer may come when he is gone, and holds nothing then.
    parts_->asked(std::exchange(text_, {}), by_, [self = weak_from_this()](std::string line) {
      if (const auto session = self.lock()) {
        session->answer(std::move(line));
      }
    });
  }

  /// Holds this until the other side hangs up, or more of it comes.
  void watch() {
    socket_.async_wait(stream_protocol::socket::wait_read, [self = shared_from_this()](error_code) {
      if (!self->answering_) {
        self->close();
      }
    });
  }

  void answer(std::string line) {
    answering_ = true;
    text_ = std::move(line);
    hurry();
    asio::async_write(socket_, asio::buffer(text_),
                      [self = shared_from_this()](error_code, std::size_t) { self->close(); });
  }

  const std::shared_ptr<Parts> parts_;
  stream_protocol::socket socket_;
  asio::steady_timer timer_;
  std::string by_;
  std::string text_;
  bool answering_ = false;
};

void DocumentSocket::Parts::accept() {
  if (over || accepting || sessions >= kSessionsMax || !acceptor.is_open()) {
    return;
  }
  accepting = true;
  acceptor.async_accept(
      [self = shared_from_this()](error_code fault, stream_protocol::socket socket) {
        self->accepting = false;
        if (self->over || fault == asio::error::operation_aborted) {
          return;
        }
        if (fault) {  // no descriptors, say
          self->again.expires_after(kPatience);
          self->again.async_wait([self](error_code) { self->accept(); });
          return;
        }
        std::make_shared<Session>(self, std::move(socket))->begin();
        self->accept();
      });
}

std::string document_socket_path(const std::string& directory, const std::string& broker) {
  return directory + "/" + broker + ".cluster.sock";
}

DocumentSocket::DocumentSocket(asio::io_context& context, std::string path, Asked asked)
    : parts_(std::make_shared<Parts>(context, std::move(path), std::move(asked))) {}

DocumentSocket::~DocumentSocket() {
  parts_->over = true;
  (void)parts_->again.cancel();
  if (parts_->acceptor.is_open()) {
    error_code ignored;
    (void)parts_->acceptor.close(ignored);
    // Another one may have made its own there: that of a broker that was started anew at once.
    struct stat there {};
    const auto& made = parts_->made;
    if (made && lstat(parts_->path.c_str(), &there) == 0 && there.st_ino == made->st_ino &&
        there.st_dev == made->st_dev) {
      (void)unlink(parts_->path.c_str());
    }
  }
}

std::string DocumentSocket::Parts::listen() {
  struct stat found {};
  if (lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) {
    if (listened_at(path)) {
      return path + ": another mserve-cluster of this broker listens there";
    }
    (void)unlink(path.c_str());  // left by one that was killed
  }
  error_code fault;
  (void)acceptor.open(stream_protocol(), fault);
  if (!fault) {
    (void)acceptor.bind(stream_protocol::endpoint(path), fault);
  }
  if (!fault && chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0) {
    fault = error_code(errno, boost::system::system_category());
  }
  if (!fault) {
    (void)acceptor.listen(asio::socket_base::max_listen_connections, fault);
  }
  if (fault) {
    error_code ignored;
    (void)acceptor.close(ignored);
    return path + ": " + fault.message();
  }
  if (lstat(path.c_str(), &found) == 0) {
    made = found;
  }
  accept();
  return "";
}

void DocumentSocket::Parts::listen_later() {
  again.expires_after(kListenAgain);
  again.async_wait([self = shared_from_this()](error_code) {
    if (!self->over && !self->listen().empty()) {
      self->listen_later();
    }
  });
}

std::string DocumentSocket::open() {
  const std::string& path = parts_->path;
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return path + " is too long for a socket: choose a shorter --dir or --name";
  }
  std::string fault = parts_->listen();
  if (!fault.empty()) {
    parts_->listen_later();
  }
  return fault;
}

}  // namespace mserve::cluster
