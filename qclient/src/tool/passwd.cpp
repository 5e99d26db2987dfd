// SPDX-License-Identifier: Apache-2.0
#include "tool/passwd.hpp"

#include <crypt.h>
#include <openssl/evp.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "mserve/shm/unique_fd.hpp"
#include "tool/exit_code.hpp"
#include "usage.hpp"

namespace mserve::tool {
namespace {

constexpr const char* kPasswdAbout =
    "Reads a password and prints the line of a users file, for mserve-broker --users FILE.\n\n"
    "At a terminal it asks twice, without echo; otherwise the password is the first line of\n"
    "standard input. Without --role the line is USER:HASH, for a file of such lines as kdb+'s -u\n"
    "takes; with --role it is USER|HASH|ROLE, for a file with the header user|password|role.";

constexpr const char* kPasswdMore =
    "Examples:\n"
    "  mserve-client passwd ken >> users\n"
    "  (echo 'user|password|role'; mserve-client passwd ken --role user) > users.csv";

/// A password while it is needed. Its memory is wiped, and never grows, which would leave copies.
class Typed {
 public:
  Typed() = default;
  Typed(const Typed&) = delete;
  Typed& operator=(const Typed&) = delete;
  ~Typed() { ::explicit_bzero(bytes_.data(), bytes_.size()); }

  /// Reads one line. @param interrupts  readable when it is to be given up; -1: never is.
  /// @return false: there is none, it is too long, or it was given up.
  [[nodiscard]] bool read_line(int interrupts = -1) {
    for (size_ = 0; size_ + 1 < bytes_.size();) {
      std::array<pollfd, 2> watched{{{STDIN_FILENO, POLLIN, 0}, {interrupts, POLLIN, 0}}};
      const int ready = ::poll(watched.data(), watched.size(), -1);
      if (ready < 0 && errno == EINTR) {
        continue;
      }
      if (ready < 0 || watched[1].revents != 0) {
        return false;
      }
      const ssize_t got = ::read(STDIN_FILENO, &bytes_[size_], 1);
      if (got < 0 && errno == EINTR) {
        continue;
      }
      if (got <= 0 || bytes_[size_] == '\n') {
        bytes_[size_] = '\0';
        return got >= 0 && (got > 0 || size_ != 0);
      }
      ++size_;
    }
    return false;
  }
  [[nodiscard]] const char* c_str() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::string_view text() const noexcept { return {bytes_.data(), size_}; }

 private:
  std::array<char, CRYPT_MAX_PASSPHRASE_SIZE> bytes_{};
  std::size_t size_ = 0;
};

/// The terminal without echo. Signals wait until it has it again, so that it is never left like
/// that.
class NoEcho {
 public:
  NoEcho() {
    sigset_t held;
    sigemptyset(&held);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) {
      sigaddset(&held, signal);
    }
    ::sigprocmask(SIG_BLOCK, &held, &before_);
    signals_.reset(::signalfd(-1, &held, SFD_CLOEXEC));
    ok_ = ::tcgetattr(STDIN_FILENO, &shown_) == 0;
    termios hidden = shown_;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ok_ = ok_ && ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0;
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;
  ~NoEcho() {
    if (ok_) {
      ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown_);
    }
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  [[nodiscard]] bool ok() const noexcept { return ok_; }
  /// Readable while a signal waits, which is for nobody to read: it acts when this ends.
  [[nodiscard]] int signals() const noexcept { return signals_.get(); }
  [[nodiscard]] bool interrupted() const noexcept {
    pollfd watched{signals(), POLLIN, 0};
    return ::poll(&watched, 1, 0) > 0;
  }

 private:
  shm::UniqueFd signals_;
  termios shown_{};
  sigset_t before_{};
  bool ok_ = false;
};

bool ask(const char* prompt, Typed& password) {
  for (;;) {
    std::cerr << prompt << std::flush;
    const NoEcho quiet;
    const bool read = quiet.ok() && password.read_line(quiet.signals());
    std::cerr << '\n';
    if (read || !quiet.interrupted()) {
      return read;
    }
    // Here the signal ends this program; or it stops it, and after fg it asks again.
  }
}

/// @return what is wrong; empty: nothing.
std::string read_password(Typed& password) {
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  if (terminal ? !ask("Password: ", password) : !password.read_line()) {
    return "no password, or one of more than 510 bytes";
  }
  if (password.text().empty() || password.text().find('\0') != std::string_view::npos) {
    return "a password has at least one byte, and no NUL";
  }
  Typed again;
  if (terminal && (!ask("Once more: ", again) || again.text() != password.text())) {
    return "the two passwords differ";
  }
  return {};
}

std::string sha1_hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), bytes.data(), &size, EVP_sha1(), nullptr) != 1) {
    return {};
  }
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    hex += kDigits[bytes[i] >> 4U];
    hex += kDigits[bytes[i] & 15U];
  }
  return hex;
}

/// With a salt of its own and the library's default cost.
std::string yescrypt(const Typed& password) {
  std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> salt{};
  if (::crypt_gensalt_rn("$y$", 0, nullptr, 0, salt.data(), static_cast<int>(salt.size())) ==
      nullptr) {
    return {};
  }
  const auto work = std::make_unique<crypt_data>();
  const char* const hash = ::crypt_r(password.c_str(), salt.data(), work.get());
  std::string text = hash != nullptr && hash[0] != '*' ? hash : "";
  ::explicit_bzero(work.get(), sizeof(*work));
  return text;
}

/// What stands between fields, or ends a line, is in no name.
std::string check_name(const std::string& name) {
  const bool good = !name.empty() && name.find_first_of(":|,\"\t\r\n") == std::string::npos;
  if (name.empty()) {
    return "a user's name is not ''";
  }
  return good ? "" : "'" + name + "': a user's name has no : | , \" or tab in it";
}

}  // namespace

int run_passwd(int argc, char** argv) {
  CLI::App app(kPasswdAbout, "mserve-client passwd");
  app.footer(kPasswdMore);
  std::string user;
  std::string role;
  bool sha1 = false;
  app.add_option("USER", user, "Whose password it is")->required()->check(check_name);
  app.add_option("--role", role, "The user's role, a line of mserve-broker --roles")
      ->check(check_name);
  app.add_flag("--sha1", sha1, "The SHA-1 that LBT and kdb+ know, instead of yescrypt");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return program::end_parsing(app, e, argc, argv);
  }
  Typed password;
  std::string fault = read_password(password);
  const std::string hash = !fault.empty() ? ""
                           : sha1         ? sha1_hex(password.text())
                                          : yescrypt(password);
  if (fault.empty() && hash.empty()) {
    fault = "this machine's libraries cannot make such a hash";
  }
  if (!fault.empty()) {
    std::cerr << "mserve-client passwd: " << fault << '\n';
    return static_cast<int>(ExitCode::usage);
  }
  std::cout << (role.empty() ? user + ":" + hash : user + "|" + hash + "|" + role) << '\n';
  return 0;
}

}  // namespace mserve::tool
