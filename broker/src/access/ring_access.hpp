// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "access/rules.hpp"
#include "mserve/shm/socket.hpp"

namespace mserve::broker {

/// Who may attach to the rings beside root and the broker's own user, who could change the broker
/// itself and so are asked nothing.
///
/// Nobody takes a query from a ring apart before it is at its servant, so what a role lists cannot
/// be enforced here. Therefore only users who may call everything get rings; the others go through
/// the gateway, which judges each query.
class RingAccess {
 public:
  /// @param groups  names, or numbers; a name that nobody has is one of `faults`. Asks the system's
  /// user database.
  [[nodiscard]] static std::vector<gid_t> find_groups(const std::vector<std::string>& groups,
                                                      std::vector<std::string>& faults);

  /// A user by name or number. @return nothing: nobody has that name. Asks the same database.
  [[nodiscard]] static std::optional<std::uint32_t> uid_of(const std::string& text);

  /// The group of --socket-group, in the same way. @return nothing: none was given, or a fault.
  [[nodiscard]] static std::optional<gid_t> socket_group(const std::string& name,
                                                         std::vector<std::string>& faults);

  /// @param access    null: there are no users, so whom these lists name may attach,
  /// @param required  unless nobody shall then.
  RingAccess(std::vector<std::uint32_t> users, std::vector<gid_t> groups,
             std::shared_ptr<const AccessRules> access, bool required = false)
      : users_(std::move(users)),
        groups_(std::move(groups)),
        access_(std::move(access)),
        required_(required) {}

  /// Whether these lists say nothing about him.
  [[nodiscard]] static bool is_trusted(uid_t uid) noexcept;

  /// @param socket  his, connected. May ask the system's user database, which may ask a network.
  /// @return nothing: he may attach; else why not, and what to do.
  [[nodiscard]] std::optional<std::string> refuse(int socket, const shm::Credentials& who) const;

  /// For those who attach from now on.
  void set_access(std::shared_ptr<const AccessRules> access) { access_ = std::move(access); }

 private:
  std::vector<std::uint32_t> users_;
  std::vector<gid_t> groups_;
  std::shared_ptr<const AccessRules> access_;
  bool required_;
};

}  // namespace mserve::broker
