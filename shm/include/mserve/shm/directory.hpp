// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::shm {

// The directory in which brokers and peers of one host meet. For a broker called NAME it holds
// NAME.sock (the socket) and NAME.lock (who may own that name). `reason` parameters receive one
// sentence that tells what is wrong and what to do; they may be null and are only set on errors.

/// Longest broker name, in bytes.
inline constexpr std::size_t kBrokerNameBytesMax = 64;

/// True for 1..kBrokerNameBytesMax characters of [A-Za-z0-9._-] that do not start with a dot.
[[nodiscard]] bool valid_broker_name(std::string_view name) noexcept;

/// Where the rendezvous directory is by the rule: $MSERVE_DIR, else $XDG_RUNTIME_DIR/mserve, else
/// /run/mserve for root, else /tmp/mserve-UID. Without a trailing slash. Creates nothing.
/// Environment variables that are empty or not absolute are passed over.
[[nodiscard]] std::string default_directory();

/// Whose directory a peer accepts.
enum class DirectoryOwner {
  self,          ///< Only our own: what a broker needs.
  self_or_root,  ///< Ours or root's: peers that use the rule.
  anybody,       ///< Any: peers to whom the user named the directory.
};

/// For brokers: creates `directory` (its parent must exist) with mode 0700, or 0750 for `group`,
/// and checks it as check_directory() does.
/// @return code ok; `unsafe_directory` (symbolic link, somebody else's, too open); `os`.
Error prepare_directory(const std::string& directory, std::optional<gid_t> group = std::nullopt,
                        std::string* reason = nullptr);

/// Refuses a directory that is a symbolic link, belongs to somebody else than `owner` allows, is
/// writable for anybody but its owner or, without `group_allowed`, accessible to its group. The
/// world must have no access at all.
/// @return code ok; `no_broker` (missing: no broker ever ran here); `unsafe_directory`; `access`
///         (we may not look inside); `os`.
Error check_directory(const std::string& directory, DirectoryOwner owner, bool group_allowed,
                      std::string* reason = nullptr);

/// `directory`/`name`.sock.
/// @return `invalid` for a bad name or a path longer than a Unix socket address takes (107 bytes):
///         choose a shorter MSERVE_DIR.
[[nodiscard]] Result<std::string> socket_path(const std::string& directory, std::string_view name,
                                              std::string* reason = nullptr);

/// The right to be the broker of that name in that directory: an exclusive flock on NAME.lock. A
/// dead broker loses it with its process, so its stale socket may be replaced; a live broker never
/// does.
///
/// The lock belongs to the open file: a child forked while it is held keeps it alive after the
/// broker died. So take it after the launcher was forked, or call abandon() in the child.
class NameLock {
 public:
  /// Never waits. @return `in_use` (a live broker has it; reason names its pid), `invalid` (name),
  /// `os`.
  [[nodiscard]] static Result<NameLock> take(const std::string& directory, std::string_view name,
                                             std::string* reason = nullptr);

  NameLock(NameLock&& other) noexcept = default;
  NameLock& operator=(NameLock&& other) noexcept;
  ~NameLock() { release(); }

  /// Clean stop: unlinks socket and lock file while still holding the lock, then gives it up.
  /// Whoever opened the lock file in between notices and starts over. In a forked child it only
  /// drops the child's copy. Harmless when called twice.
  void release() noexcept;

  /// Drops this process's copy without touching the files: for a forked child.
  void abandon() noexcept { fd_.reset(); }

  [[nodiscard]] bool held() const noexcept { return static_cast<bool>(fd_); }
  /// The socket of this name; listen_at() it.
  [[nodiscard]] const std::string& socket() const noexcept { return socket_path_; }

 private:
  NameLock(UniqueFd fd, std::string lock_path, std::string socket_path) noexcept;

  UniqueFd fd_;
  std::string lock_path_;
  std::string socket_path_;
  pid_t owner_pid_ = 0;
};

}  // namespace mserve::shm
