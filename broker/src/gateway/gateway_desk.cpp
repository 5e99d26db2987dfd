// SPDX-License-Identifier: Apache-2.0
// What is asked of the gateway itself.
#include <unistd.h>

#include <algorithm>

#include "control/operator_protocol.hpp"
#include "gateway/admin_answer.hpp"
#include "gateway/gateway_loop.hpp"
#include "gateway/http_page.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/counters.hpp"

namespace mserve::broker {

namespace {

std::vector<CounterRow> read_counters(const std::string& name) {
  std::vector<CounterRow> rows;
  if (const auto reader = shm::CountersReader::open(name, geteuid())) {
    for (auto& value : reader.value().snapshot()) {
      rows.push_back({std::move(value.name), value.value});
    }
  }
  return rows;
}

}  // namespace

/// How many queries are shown when `count` are asked for: what makes the table makes requests wait
/// where it is the data thread.
std::size_t Gateway::Loop::queries_at_once(std::size_t count) const noexcept {
  constexpr std::size_t kSharedMax = 1000;
  return data_ != nullptr ? std::min(count, kSharedMax) : count;
}

kdb::Value Gateway::Loop::admin_answer(const AdminCall& call) {
  const std::vector<SessionRow> sessions = setup_.board->rows();
  switch (call.name) {
    case AdminCall::Name::servants:
      return servants_table(sessions);
    case AdminCall::Name::clients: {
      std::vector<ClientRow> rows;
      rows.reserve(client_count_);
      for (const auto& client : clients_) {
        if (client != nullptr) {
          rows.push_back(client->connection.row());
        }
      }
      return clients_table(rows, sessions);
    }
    case AdminCall::Name::queries: {
      const std::size_t count =
          queries_at_once(static_cast<std::size_t>(call.argument.value_or(INT64_MAX)));
      return queries_table(context_.queries.last(count, context_.now_ns), sessions);
    }
    case AdminCall::Name::stats:
    case AdminCall::Name::beat:  // its connection answers it
    case AdminCall::Name::cancel:
      break;
  }
  return stats_dict(read_counters(setup_.counters_name));
}

std::vector<SessionRow> Gateway::Loop::sessions() const {
  return setup_.board->rows();
}

void Gateway::Loop::show_queries(shm::UniqueFd socket, std::size_t count) {
  {
    const std::lock_guard lock(question_mutex_);
    questions_.push_back({std::move(socket), count});
  }
  wake();
}

/// What operators asked the control thread, which cannot look into the log of queries itself.
void Gateway::Loop::answer_operators() {
  std::vector<Question> questions;
  {
    const std::lock_guard lock(question_mutex_);
    questions.swap(questions_);
  }
  for (const Question& question : questions) {
    const std::size_t count = queries_at_once(question.count);
    const kdb::Value table =
        queries_table(context_.queries.last(count, shm::steady_now()), setup_.board->rows());
    const bool cut = count < question.count && table.count() == count;
    reply_with_table(question.socket.get(), table,
                     cut ? "no more than " + std::to_string(count) +
                               " at once where the gateway shares the data thread "
                               "(--gateway-thread)"
                         : "");
  }
}

std::string Gateway::Loop::http_answer(std::string_view method, std::string_view target) {
  const std::vector<SessionRow> sessions = setup_.board->rows();
  HttpFacts facts;
  facts.name = setup_.options.name;
  facts.port = listeners_.port();
  facts.connections = client_count_;
  facts.servants = static_cast<std::uint64_t>(std::count_if(
      sessions.begin(), sessions.end(), [](const SessionRow& row) { return row.servant; }));
  facts.requests = context_.counters.requests->get();
  facts.draining = leaving_.load(std::memory_order_relaxed);  // as it is stored
  const AccessRules* const rules = context_.access.get();
  facts.awaits_users = awaits_users() || (rules != nullptr && rules->user_count() == 0);
  return http_page(method, target, facts);
}

bool Gateway::Loop::check_login(OriginId origin, const std::string& user, Secret password) {
  return checker_->try_ask(
      {origin.index, origin.generation, context_.access, user, std::move(password)});
}

}  // namespace mserve::broker
