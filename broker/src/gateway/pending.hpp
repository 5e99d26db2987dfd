// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gateway/conventions.hpp"
#include "gateway/query_log.hpp"
#include "mserve/shm/errc.hpp"
#include "mserve/shm/frame.hpp"

namespace mserve::broker {

class Connection;
class PendingList;
struct Broadcast;

/// How far the answer to one message of a client has come.
enum class AnswerState : std::uint8_t {
  awaited,    ///< Nothing came yet.
  gathering,  ///< It comes in fragments, kept in `answer`.
  streaming,  ///< It comes in fragments that go straight on to the client.
  complete,   ///< A whole message for the client in `answer`; its turn has not come.
  dropped,    ///< The client has its answer (an error); fragments still to come are swallowed.
};

/// One message of a client that has no answer yet, or one request of a broadcast. Nodes belong to
/// the PendingTable; a connection strings those of its own together.
struct Pending {
  // Who it is.
  std::uint64_t id = 0;  ///< Of the request, as the data plane knows it.
  Connection* owner = nullptr;
  Pending* next = nullptr;  ///< In the owner's list, or among the free ones.
  Pending* previous = nullptr;
  PendingList* list = nullptr;  ///< Of the owner's, the one that it is in.
  std::uint64_t sequence = 0;   ///< Place among the messages of its connection.
  Convention convention = Convention::sync;
  bool silent = false;     ///< Its answer goes nowhere (`--async-reply none`).
  bool stamps = false;     ///< lbt: its info says when it came, went and was answered.
  bool refused = false;    ///< The message broke the fixed convention: aw is told so in words.
  bool counted = false;    ///< Among the owner's unanswered sync requests.
  bool cancelled = false;  ///< The data plane was told that nobody waits for it.
  /// Not null: it is no message but a request of this broadcast, in none of the owner's lists.
  Broadcast* broadcast = nullptr;
  std::size_t row = 0;  ///< Of the broadcast's table.

  // The request.
  std::uint64_t route = 0;
  std::string route_text;
  QueryHead query_head{};  ///< For .mserve.queries[], as the two below.
  QueryOptionsHead options_head{};
  std::uint8_t options_bytes = 0;
  std::uint64_t begun_ns = 0;
  shm::RequestTerms terms;
  std::uint64_t request_bytes = 0;
  std::uint64_t sent_bytes = 0;         ///< Of a request in fragments.
  std::uint64_t granted_bytes = 0;      ///< How many of its bytes may be sent, from the first one.
  std::array<std::byte, 9> id_bytes{};  ///< lbt: the client's own id, encoded.
  std::uint8_t id_size = 0;
  std::int64_t qid = 0;
  std::vector<std::byte> quoted;  ///< np: callback and query, which the answer repeats.
  std::size_t callback_bytes = 0;

  // The answer.
  AnswerState state = AnswerState::awaited;
  Errc status = Errc::ok;
  bool streamable = false;  ///< Its fragments need not be gathered.
  bool has_info = false;
  std::uint32_t servant = 0;
  std::uint64_t answer_bytes = 0;  ///< Payload that has come.
  std::uint64_t answer_total = 0;  ///< Of an answer in fragments.
  std::vector<std::byte> answer;
  shm::InfoExt info;

  [[nodiscard]] bool sending() const noexcept { return sent_bytes < request_bytes; }
  [[nodiscard]] std::span<const std::byte> client_id() const noexcept {
    return std::span(id_bytes).first(id_size);
  }
  [[nodiscard]] std::span<const std::byte> callback() const noexcept {
    return std::span(quoted).first(callback_bytes);
  }
  [[nodiscard]] std::span<const std::byte> query() const noexcept {
    return std::span(quoted).subspan(callback_bytes);
  }
};

/// All nodes, found by request id. Memory is taken in blocks and never given back, so that a node's
/// address is stable and a busy gateway allocates none. Threads: one.
class PendingTable {
 public:
  /// A node with an id of its own and everything else as new.
  [[nodiscard]] Pending& take();
  /// Its id names nobody from here on. Its buffers' memory must have been given back.
  void give_back(Pending& pending) noexcept;
  /// @return nullptr for an id that was given back, or never given out.
  [[nodiscard]] Pending* find(std::uint64_t id) noexcept;
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  static constexpr std::size_t kBlockNodes = 64;
  static constexpr std::uint64_t kSlotBits = 32;  // more nodes than memory can hold

  std::vector<std::unique_ptr<std::array<Pending, kBlockNodes>>> blocks_;
  Pending* free_ = nullptr;
  std::size_t used_ = 0;
};

/// A list of nodes in the order in which they were added.
class PendingList {
 public:
  /// @param pending  in no list.
  void add(Pending& pending) noexcept;
  /// @param pending  in this list.
  void remove(Pending& pending) noexcept;
  /// Puts `by`, which is in no list, in the place of `pending`, which is then in none.
  void replace(Pending& pending, Pending& by) noexcept;
  [[nodiscard]] Pending* first() const noexcept { return first_; }

 private:
  Pending* first_ = nullptr;
  Pending* last_ = nullptr;
};

}  // namespace mserve::broker
