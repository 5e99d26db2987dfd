// SPDX-License-Identifier: Apache-2.0
// Any bytes as what etcd answers and as what another broker wrote: refused with a word, or read as
// something that reads the same when it is written again; and the table of peers stays in bounds.
// The same of documents, of requests of operators and of answers to them.
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cluster/base64.hpp"
#include "cluster/broker_record.hpp"
#include "cluster/cluster_options.hpp"
#include "cluster/document_desk.hpp"
#include "cluster/document_keeper.hpp"
#include "cluster/etcd_messages.hpp"
#include "cluster/lister.hpp"
#include "cluster/peer_table.hpp"
#include "cluster/shared_document.hpp"
#include "stat/cluster_call.hpp"
#include "stat/cluster_view.hpp"

namespace {

using namespace mserve::cluster;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

/// Something, or a word on why not.
template <class Read>
auto read_with(Read read, const std::string& text) {
  std::string fault;
  auto result = read(text, fault);
  require(result.has_value() == fault.empty());
  return result;
}

void fuzz_answers(const std::string& text) {
  (void)read_with(read_token, text);
  (void)read_with(read_grant, text);
  (void)read_with(read_keep_alive, text);
  (void)read_with(read_revision, text);
  (void)read_with(read_newest, text);
  if (const auto listing = read_with(read_listing, text)) {
    require(listing->all.size() <= kKeysMax && listing->revision > 0);
    PeerTable table("/", "me", "", "");
    table.listed(*listing, {});
    require(table.peers().size() <= kPeersMax);
  }
  Lister lister("c");
  std::string fault;
  for (int i = 0; i < 3 && lister.take(text, fault) == Lister::Step::more; ++i) {
    require(!lister.request().empty() && lister.all().all.size() <= 3 * kKeysMax);
  }
  if (const auto answer = read_with(read_watch_line, text)) {
    PeerTable table("/", "me", "", "");
    for (const WatchEvent& event : answer->events) {
      table.told(event, {});
    }
  }
  if (const auto txn = read_with(read_txn, text)) {
    require(!txn->succeeded || !txn->found);
  }
  require(read_refusal(text).size() <= 200);
}

void fuzz_record(const std::string& text) {
  std::string fault;
  const auto record = read_record(text, "b", fault);
  require(record.has_value() == fault.empty());
  PeerTable table("/", "me", "", "");
  table.told({.kv = {.key = "/b", .value = text, .mod_revision = 1}}, {});
  require(table.peers().size() == (record ? 1U : 0U));
  for (const LinkAction& action : table.take_actions(0)) {
    require(action.spec.tags.size() <= kTagsBytesMax && valid_address(action.spec.address));
  }
  if (!record) {
    return;
  }
  const std::string written = to_json(*record);
  if (written.size() <= kValueBytesMax) {
    const auto again = read_record(written, "b", fault);
    require(again.has_value() && to_json(*again) == written);
  }
}

void fuzz_document(const std::string& text) {
  DocumentWatch watch("c");
  require(watch.told({.kv = {.key = document_key("c"), .value = text, .mod_revision = 1}}));
  require(watch.fault().empty() == (watch.document().version != 0));
  if (const auto document = read_with(
          [](const std::string& value, std::string& fault) { return read_document(value, fault); },
          text)) {
    require(to_value(*document).size() <= kStoredBytesMax);
    std::string fault;
    require(read_document(to_value(*document), fault) == document);
    require(from_file(to_file(*document)).version == document->version);
  }
  (void)version_of("c", text);
  require(short_fault(text).size() <= kFaultBytesMax);
}

/// A request to a desk that has no etcd, and an answer of one: each is answered once.
void fuzz_desk(const std::string& text) {
  boost::asio::io_context context;
  const DocumentWatch watch("c");
  const PeerTable peers("/", "me", "", "");
  DocumentStore store(context, "c", nullptr, [] { return DocumentStore::Way{}; });
  DocumentDesk desk({.watch = watch,
                     .peers = peers,
                     .store = store,
                     .etcd_fault = [] { return std::string("away"); },
                     .held = [] { return Document{}; },
                     .own = [] { return BrokerRecord{}; },
                     .check = [](std::string_view) { return std::vector<std::string>{}; },
                     .wall_now = [] { return std::int64_t{0}; },
                     .show = [] {}});
  int answers = 0;
  desk.take(text, "me", 0, [&](const std::string& line) {
    ++answers;
    require(line.ends_with('\n') && line.find('\n') == line.size() - 1);
    require(mserve::stat::read_document_answer(line.substr(0, line.size() - 1)).has_value());
  });
  require(answers == 1);
  (void)mserve::stat::read_document_answer(text);
}

void fuzz_words(const std::string& text) {
  if (const auto bytes = from_base64(text, text.size())) {
    require(to_base64(*bytes) == text);
  }
  if (const auto endpoint = parse_etcd_url(text)) {
    require(parse_etcd_url(endpoint->text()) == endpoint);
  }
  std::string reason;
  require(static_cast<bool>(mserve::stat::view_cluster(text, 0, reason)) == reason.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  fuzz_answers(text);
  fuzz_record(text);
  fuzz_document(text);
  fuzz_desk(text);
  fuzz_words(text);
  return 0;
}
