// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "mserve/shm/errc.hpp"
#include "mserve/shm/segment.hpp"

namespace mserve::shm {

/// A named shared memory object that this process made. It keeps a flock on it while it lives, by
/// which a live one is told from what a killed process left behind. Removed by the destructor,
/// unless a forked child runs it. Threads: one.
class NamedObject {
 public:
  struct Wish {
    std::string base;                           ///< Name, without a suffix.
    std::uint64_t bytes = 0;                    ///< Reserved at once, zero, mapped writable.
    std::optional<gid_t> group{};               ///< Members may read (0640), else the user (0600).
    int suffix_max = 0;                         ///< A taken name gets `.1` to `.suffix_max`.
    const char* where = "create named object";  ///< For errors; a literal.
  };
  /// Removes what killed writers left of these names, then takes the first that is free.
  /// @return `in_use` (every name is taken), `no_memory`, `os`.
  [[nodiscard]] static Result<NamedObject> create(const Wish& wish);

  NamedObject(NamedObject&&) noexcept;
  NamedObject& operator=(NamedObject&&) noexcept;
  ~NamedObject();

  [[nodiscard]] const std::string& name() const noexcept;
  [[nodiscard]] int suffix() const noexcept;  ///< 0: none.
  [[nodiscard]] std::byte* data() const noexcept;

 private:
  struct Parts;
  explicit NamedObject(std::unique_ptr<Parts> parts) noexcept;
  std::unique_ptr<Parts> parts_;
};

/// Removes the object if it is ours and no writer holds its lock; leaves everything else alone.
void remove_if_stale(const std::string& name);

/// Highest suffix of the counters' object; the monitor's is looked for beside each.
inline constexpr int kCountersSuffixMax = 15;

/// The name with a suffix; 0: without.
[[nodiscard]] std::string suffixed(const std::string& base, int suffix);

/// Whether it is a name as they are made here: no slash, so nothing outside.
[[nodiscard]] bool object_name_ok(const std::string& name) noexcept;

/// Maps another process's object read-only.
/// @param owner  who must own it: it could truncate the object under us, so never a stranger.
/// @return the mapping of all of it; `no_broker` (no such object), `empty` (its writer is still
///         sizing it), `access`, `bad_segment` (no memory object, or not of `bytes_min` to
///         `bytes_max`), `invalid` (name), `os`.
[[nodiscard]] Result<Mapping> open_named(const std::string& name, uid_t owner,
                                         std::uint64_t bytes_min, std::uint64_t bytes_max);

}  // namespace mserve::shm
