// SPDX-License-Identifier: Apache-2.0
#include "control/operator_protocol.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <span>

#include "mserve/kdb/codec.hpp"
#include "mserve/shm/rendezvous.hpp"
#include "mserve/shm/socket.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::broker {

namespace {

/// A memfd with these bytes that nobody can change any more; empty when there is no memory.
shm::UniqueFd sealed_copy(std::span<const std::byte> bytes) {
  shm::UniqueFd fd(memfd_create("mserve-table", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  while (fd && !bytes.empty()) {
    const ssize_t wrote = write(fd.get(), bytes.data(), bytes.size());
    if (wrote > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(wrote));
    } else if (wrote == 0 || errno != EINTR) {
      fd.reset();
    }
  }
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
  if (fd && fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) {
    fd.reset();
  }
  return fd;
}

}  // namespace

Error check_operator(uid_t asker, uid_t own) noexcept {
  const bool allowed = asker == own || asker == 0;
  return allowed ? Error{} : Error{Errc::access, 0, "only the broker's own user and root may"};
}

void reply_to_operator(int socket, Errc status, std::uint64_t count, const std::string& text) {
  shm::ControlReply reply;
  reply.status = status;
  reply.count = count;
  shm::set_reason(reply.text, text);
  (void)shm::send_message(socket, shm::wire_bytes(reply), {}, 0);
}

void reply_with_table(int socket, const kdb::Value& table, const std::string& remark, Errc status) {
  const std::vector<std::byte> bytes = kdb::encode(table);
  const shm::UniqueFd fd =
      bytes.size() <= shm::kControlTableBytesMax ? sealed_copy(bytes) : shm::UniqueFd{};
  if (!fd) {
    reply_to_operator(socket, Errc::no_memory, 0, "no memory for the table; ask for fewer rows");
    return;
  }
  shm::ControlReply reply;
  reply.status = status;
  reply.table_bytes = bytes.size();
  reply.count = table.count();
  shm::set_reason(reply.text, remark);
  const std::array<int, 1> fds{fd.get()};
  (void)shm::send_message(socket, shm::wire_bytes(reply), fds, 0);
}

}  // namespace mserve::broker
