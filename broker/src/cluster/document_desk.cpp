// SPDX-License-Identifier: Apache-2.0
#include "cluster/document_desk.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <utility>

#include "cluster/json_fields.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/names.hpp"

namespace mserve::cluster {

namespace json = boost::json;

namespace {

constexpr std::int64_t kDeskFormat = 1;
constexpr const char* kNothing = "; nothing was written";

std::string answer_line(const char* status, const std::string& text, json::object more = {}) {
  json::object all{{"format", kDeskFormat}, {"status", status}, {"text", text}};
  for (auto& [key, value] : more) {
    all[key] = std::move(value);
  }
  return json::serialize(all) + "\n";
}

/// All but its text.
Document head_of(Document document) {
  document.text.clear();
  return document;
}

json::object head_json(const Document& document) {
  return {{"version", document.version},
          {"by", document.by},
          {"at", document.at},
          {"note", document.note}};
}

std::string number(std::int64_t value) {
  return std::to_string(value);
}

std::string brokers_of(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " broker" : " brokers");
}

}  // namespace

struct DocumentDesk::Order {
  std::string verb{};
  std::string by{};
  std::string text{};
  std::string note{};
  std::optional<std::int64_t> version{};  // base of apply, target of rollback and show
  std::uint64_t wait_ns = 0;
  Reply reply{};
};

Uptake uptake_of(const BrokerRecord& broker, std::int64_t version) noexcept {
  if (!broker.document) {
    return Uptake::unable;
  }
  if (broker.document->refused == version) {
    return Uptake::refused;
  }
  if (broker.document->version == version) {
    return Uptake::applied;
  }
  return broker.draining ? Uptake::draining : Uptake::waiting;
}

const char* to_string(Uptake uptake) noexcept {
  switch (uptake) {
    case Uptake::applied:
      return "applied";
    case Uptake::refused:
      return "refused";
    case Uptake::waiting:
      return "waiting";
    case Uptake::draining:
      return "draining";
    case Uptake::unable:
      break;
  }
  return "unable";
}

DocumentDesk::DocumentDesk(Sources sources) : from_(std::move(sources)) {}

void DocumentDesk::take(std::string_view request, const std::string& by, std::uint64_t now,
                        Reply reply) {
  const auto refuse = [&reply](const std::string& why) { reply(answer_line("invalid", why)); };
  json::value root;
  if (!parse_object(request, kRequestBytesMax, root, /*any_bytes=*/true)) {
    return refuse("the request is no JSON object of at most 2 MiB");
  }
  const json::object& in = root.get_object();
  if (count_at(in, "format") != kDeskFormat) {
    return refuse("the request is of another format: use the mserve-stat of this version");
  }
  const char* const which = in.contains("base") ? "base" : "version";
  const auto note = in.contains("note") ? text_at(in, "note", kNoteBytesMax) : std::string_view();
  if (!note || !printable(*note)) {
    return refuse("the note is longer than 200 bytes, or not printable ASCII");
  }
  const auto version = count_at(in, which);
  if (in.contains(which) && (!version || *version > kVersionMax)) {
    return refuse("the version is none");
  }
  constexpr std::uint64_t kNsPerMs = 1'000'000;
  const auto wait_ms = static_cast<std::uint64_t>(count_at(in, "wait_ms").value_or(0));
  Order order{.verb = std::string(text_at(in, "verb", 16).value_or("")),
              .by = by.substr(0, kAuthorBytesMax),
              .note = std::string(*note),
              .version = version,
              .wait_ns = std::min(wait_ms, kWaitNsMax / kNsPerMs) * kNsPerMs,
              .reply = std::move(reply)};
  if (order.verb == "apply") {
    const auto text = text_at(in, "text", kDocumentBytesMax);
    if (!text) {
      return order.reply(answer_line("refused", "a document has at most 256 KiB"));
    }
    order.text = *text;
    apply(std::move(order));
  } else if (order.verb == "rollback") {
    roll_back(std::move(order));
  } else if (order.verb == "show") {
    show(order.version.value_or(0), order.reply);
  } else if (order.verb == "history") {
    history(order.reply);
  } else {
    order.reply(answer_line("invalid", "there is no such verb: " + shown(order.verb)));
  }
  tick(now);
}

void DocumentDesk::apply(Order order) {
  if (const std::string fault = from_.etcd_fault(); !fault.empty()) {
    return order.reply(answer_line("no_etcd", "etcd is not reached: " + fault + kNothing));
  }
  const Document& current = from_.watch.document();
  if (order.version && *order.version != current.version) {
    return order.reply(answer_line("conflict",
                                   current.version == 0
                                       ? "there is no document any more" + std::string(kNothing)
                                       : "the current one is " + current.name() + ", not " +
                                             number(*order.version) +
                                             ": look at it with show, and apply again" + kNothing,
                                   {{"document", head_json(current)}}));
  }
  if (const auto faults = from_.check(order.text); !faults.empty()) {
    json::array all;
    for (const std::string& fault : faults) {
      all.emplace_back(shown(fault, 1000));
    }
    return order.reply(answer_line("refused", "the document is not valid" + std::string(kNothing),
                                   {{"faults", std::move(all)}}));
  }
  if (current.version != 0 && current.text == order.text && from_.watch.fault().empty() &&
      count(current.version, Uptake::refused) == 0) {
    return confirm(std::move(order));
  }
  Document document{.by = order.by, .note = order.note, .text = order.text};
  write(std::move(order), document);
}

/// The document has the wanted text already, unless etcd knows of another one than this broker.
void DocumentDesk::confirm(Order order) {
  const Document& current = from_.watch.document();
  from_.store.find_current([this, current, order = std::move(order)](const WriteResult& now) {
    if (!now.fault.empty() || now.document != current) {
      return written(order, now);
    }
    const std::uint64_t at = shm::steady_now();
    waiting_.push_back({.document = head_of(current),
                        .what = "version " + number(current.version) + " has that text already",
                        .there = serving(),
                        .deadline = at + order.wait_ns,
                        .reply = order.reply});
    tick(at);
  });
}

void DocumentDesk::write(Order order, const Document& document) {
  Document next = document;
  next.version = from_.watch.document().version;
  next.at = from_.wall_now();
  from_.store.write(
      std::move(next), from_.watch.revision(), next.version == 0 ? newest_held() : 0,
      [this, order = std::move(order)](const WriteResult& result) { written(order, result); });
}

/// What an etcd that lost the document knew, as far as brokers still do: a number that stood for
/// another text would be taken for this one.
std::int64_t DocumentDesk::newest_held() const {
  std::int64_t newest = 0;
  const auto look = [&newest](std::int64_t version) {
    newest = version <= kVersionBelieved ? std::max(newest, version) : newest;
  };
  look(from_.held().version);
  for (const BrokerRecord& broker : brokers()) {
    look(broker.document.value_or(DocumentStanding{}).version);
  }
  return newest;
}

void DocumentDesk::written(const Order& order, const WriteResult& result) {
  using Kind = WriteResult::Kind;
  const json::object head{{"document", head_json(result.document)}};
  switch (result.kind) {
    case Kind::written: {
      const std::uint64_t now = shm::steady_now();
      Waiting waiting{.document = head_of(result.document),
                      .what = "version " + number(result.document.version) + " is written",
                      .rollback = order.verb == "rollback",
                      .there = serving(),
                      .deadline = now + order.wait_ns,
                      .reply = order.reply};
      waiting_.push_back(std::move(waiting));
      return tick(now);
    }
    case Kind::conflict:
      if (!result.fault.empty()) {
        return order.reply(answer_line("conflict",
                                       "what etcd has meanwhile cannot be read (" + result.fault +
                                           "): apply again, and it is written over" + kNothing,
                                       head));
      }
      return order.reply(
          answer_line("conflict",
                      result.document.version == 0
                          ? "the document was taken away meanwhile" + std::string(kNothing)
                          : "another version was written meanwhile (" +
                                number(result.document.version) + " by " + result.document.by +
                                "): look at it with show, and apply again" + kNothing,
                      head));
    case Kind::failed:
      return order.reply(answer_line("no_etcd", result.fault + kNothing));
    case Kind::unknown:
      return order.reply(answer_line(
          "no_etcd", result.fault + "; whether it was written nobody knows: look with show"));
  }
}

void DocumentDesk::roll_back(Order order) {
  if (const std::string fault = from_.etcd_fault(); !fault.empty()) {
    return order.reply(answer_line("no_etcd", "etcd is not reached: " + fault + kNothing));
  }
  const std::int64_t current = from_.watch.document().version;
  // What stands there now cannot be read: the current one is what brokers hold, and was before it.
  const bool spoilt = !from_.watch.fault().empty();
  const bool lost = current == 0 && from_.held().version != 0;
  const bool named = order.version && (*order.version != 0 || lost);
  if (current == 0 && !spoilt && !named) {
    return order.reply(answer_line(
        "refused", "there is no document; see history, and say which version to go back to"));
  }
  const std::int64_t version = order.version.value_or(spoilt ? current : current - 1);
  if (version == current && !spoilt && !lost) {
    return order.reply(
        answer_line("refused", "version " + number(version) + " is the current one"));
  }
  if (version > current && current != 0) {
    return order.reply(answer_line("refused", "version " + number(version) +
                                                  " is beyond the current one (" + number(current) +
                                                  "): see history" + kNothing));
  }
  order.version = current;  // or somebody else's would be written over
  if (order.note.empty()) {
    order.note = version == 0 ? "rollback to nothing" : "rollback to version " + number(version);
  }
  if (version == 0) {
    return apply(std::move(order));  // as before the first one
  }
  from_.store.find(version, [this, version, order = std::move(order)](
                                const std::vector<Document>& found, const std::string& fault) {
    if (!fault.empty()) {
      return order.reply(answer_line("no_etcd", fault + kNothing));
    }
    if (found.empty()) {
      return order.reply(answer_line(
          "refused", "version " + number(version) + " is not kept: see history" + kNothing));
    }
    Order again = order;
    again.text = found.front().text;
    apply(std::move(again));
  });
}

/// @param away  why etcd is not reached; empty: it is.
std::string DocumentDesk::doubt_of_shown(const std::string& away) const {
  if (!away.empty()) {
    return "etcd is not reached, so it may be old: " + away;
  }
  if (const std::string& broken = from_.watch.fault(); !broken.empty()) {
    return "what etcd has now cannot be read: " + broken + "; this is the one before";
  }
  const bool lost = from_.watch.known() && from_.watch.document().version == 0;
  return lost ? "etcd has none any more; this is what this broker keeps: apply it, and all have it"
              : "";
}

void DocumentDesk::show(std::int64_t version, const Reply& reply) {
  const auto tell = [reply](const Document& document, const std::string& text) {
    json::object whole = head_json(document);
    whole["text"] = document.text;
    reply(answer_line("ok", text, {{"document", std::move(whole)}}));
  };
  const std::string away = from_.etcd_fault();
  const Document& current = from_.watch.document();
  if (version == 0 || version == current.version) {
    const bool known = from_.watch.known();
    const Document document = current.version != 0 ? current : from_.held();
    if (document.version == 0 && !away.empty() && !known) {
      return reply(answer_line("no_etcd", "etcd is not reached: " + away));
    }
    if (document.version == 0) {
      return reply(answer_line("refused", "there is no document"));
    }
    return tell(document, doubt_of_shown(away));
  }
  if (!away.empty()) {
    return reply(answer_line("no_etcd", "etcd is not reached: " + away));
  }
  from_.store.find(version, [tell, reply, version](const std::vector<Document>& found,
                                                   const std::string& fault) {
    if (!fault.empty()) {
      reply(answer_line("no_etcd", fault));
    } else if (found.empty()) {
      reply(answer_line("refused", "version " + number(version) + " is not kept: see history"));
    } else {
      tell(found.front(), "");
    }
  });
}

void DocumentDesk::history(const Reply& reply) {
  if (const std::string fault = from_.etcd_fault(); !fault.empty()) {
    return reply(answer_line("no_etcd", "etcd is not reached: " + fault));
  }
  const auto tell = [reply](const std::vector<Document>& found, const std::string& fault) {
    if (!fault.empty()) {
      return reply(answer_line("no_etcd", fault));
    }
    json::array all;
    for (const Document& document : found) {
      json::object head = head_json(document);
      head["bytes"] = document.text.size();
      all.push_back(std::move(head));
    }
    reply(answer_line("ok", "", {{"documents", std::move(all)}}));
  };
  from_.store.find_latest(from_.watch.document().version, tell);
}

void DocumentDesk::tick(std::uint64_t now) {
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const auto one = at++;
    if (answer(*one, now)) {
      waiting_.erase(one);
    }
  }
}

std::vector<BrokerRecord> DocumentDesk::brokers() const {
  std::vector<BrokerRecord> all;
  if (BrokerRecord own = from_.own(); !own.id.empty()) {
    all.push_back(std::move(own));
  }
  for (const auto& [id, peer] : from_.peers.peers()) {
    all.push_back(peer.record);
  }
  return all;
}

std::size_t DocumentDesk::count(std::int64_t version, Uptake uptake) const {
  const std::vector<BrokerRecord> all = brokers();
  return static_cast<std::size_t>(
      std::count_if(all.begin(), all.end(), [version, uptake](const BrokerRecord& broker) {
        return uptake_of(broker, version) == uptake;
      }));
}

std::vector<std::string> DocumentDesk::serving() const {
  std::vector<std::string> ids;
  for (const BrokerRecord& broker : brokers()) {
    if (!broker.draining) {
      ids.push_back(broker.id);
    }
  }
  return ids;
}

/// @return whether there is no need to wait any more, and that is told.
bool DocumentDesk::answer(const Waiting& waiting, std::uint64_t now) const {
  const std::int64_t version = waiting.document.version;
  const std::size_t open = count(version, Uptake::waiting);
  const Document& current = from_.watch.document();
  const bool overtaken = open > 0 && current.version > version;
  if (open > 0 && !overtaken && now < waiting.deadline) {
    return false;
  }
  from_.show();
  json::array all;
  std::size_t gone = 0;
  const std::vector<BrokerRecord> known = brokers();
  for (const std::string& id : waiting.there) {
    if (std::none_of(known.begin(), known.end(), [&id](const auto& b) { return b.id == id; })) {
      ++gone;
      all.push_back(json::object{
          {"id", id}, {"state", "gone"}, {"version", 0}, {"fault", "it left meanwhile"}});
    }
  }
  for (const BrokerRecord& broker : known) {
    const Uptake uptake = uptake_of(broker, version);
    const DocumentStanding standing = broker.document.value_or(DocumentStanding{});
    all.push_back(json::object{
        {"id", broker.id},
        {"state", to_string(uptake)},
        {"version", standing.version},
        {"fault", uptake == Uptake::refused  ? standing.fault
                  : uptake == Uptake::unable ? "it is too old for documents: upgrade it"
                                             : ""}});
  }
  const std::string of = brokers_of(all.size());
  const std::size_t refused = count(version, Uptake::refused) + count(version, Uptake::unable);
  const json::object more{{"document", head_json(waiting.document)}, {"brokers", std::move(all)}};
  if (overtaken) {
    waiting.reply(
        answer_line("conflict", waiting.what + ", and " + current.name() + " after it", more));
  } else if (refused > 0) {
    waiting.reply(answer_line(
        "refused",
        waiting.what + ", but " + std::to_string(refused) + " of " + of +
            (refused == 1 ? " does not take it and keeps" : " do not take it and keep") +
            " what was there" +
            (waiting.rollback ? "" : ": apply a better one, or take it back with rollback"),
        more));
  } else if (const std::size_t unknown = open > 0 ? open : gone; unknown > 0) {
    waiting.reply(answer_line("timed_out",
                              waiting.what + ", but " + std::to_string(unknown) + " of " + of +
                                  (open > 0 ? " did not say in time that it holds there"
                                            : " left before it was known whether it holds there") +
                                  "; see mserve-stat cluster",
                              more));
  } else {
    waiting.reply(answer_line(
        "ok", waiting.what + " and holds at " + brokers_of(count(version, Uptake::applied)), more));
  }
  return true;
}

}  // namespace mserve::cluster
