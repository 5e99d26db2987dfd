// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "mserve/shm/clock.hpp"
#include "mserve/shm/monitor.hpp"
#include "named_object.hpp"

namespace mserve::shm {
namespace {

constexpr int kTries = 3;  // a reader waits for nobody

/// `load()` again while `version()` says that it met a change; then what there is. @return the
/// version it belongs to; odd: it may be half of two.
template <class Version, class Load>
std::uint64_t read_stable(const Version& version, const Load& load) {
  std::uint64_t before = 0;
  for (int i = 0; i < kTries; ++i) {
    before = version();
    load();
    if ((before & 1) == 0 && version() == before) {
      return before;
    }
  }
  return before | 1;
}

template <std::size_t N>
std::string text_in(const char (&text)[N]) {
  std::string copied(text, ::strnlen(text, N));
  std::replace_if(
      copied.begin(), copied.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return copied;
}

MonitorHistogram load_cells(const MonitorCells& cells) {
  MonitorHistogram histogram;
  for (std::uint32_t i = 0; i < kMonitorBuckets; ++i) {
    histogram.counts[i] = cells.counts[i].get();
  }
  histogram.sum_ns = cells.sum_ns.get();
  return histogram;
}

MonitorLatency load_book(const MonitorBook& book) {
  MonitorLatency latency{load_cells(book.queue), load_cells(book.execution),
                         load_cells(book.whole)};
  const MonitorHistogram direct = load_cells(book.direct);
  latency.queue.counts[monitor_bucket_of(0)] += direct.count();
  latency.execution.merge(direct);
  latency.whole.merge(direct);
  return latency;
}

MonitorBusyCounts load_busy(const MonitorBusy& busy) {
  return {.requests = busy.requests.get(),
          .answered = busy.answered.get(),
          .errors = busy.errors.get(),
          .hits = busy.hits.get(),
          .overruns = busy.overruns.get(),
          .interrupts = busy.interrupts.get(),
          .kept = busy.kept.get(),
          .lost = busy.lost.get()};
}

void merge(MonitorLatency& into, const MonitorLatency& other) noexcept {
  into.queue.merge(other.queue);
  into.execution.merge(other.execution);
  into.whole.merge(other.whole);
}

}  // namespace

std::uint64_t MonitorHistogram::count() const noexcept {
  std::uint64_t count = 0;
  for (const std::uint64_t n : counts) {
    count += n;
  }
  return count;
}

double MonitorHistogram::mean_ns() const noexcept {
  const std::uint64_t n = count();
  return n != 0 ? static_cast<double>(sum_ns) / static_cast<double>(n) : 0;
}

double MonitorHistogram::percentile_ns(double percent) const noexcept {
  const std::uint64_t all = count();
  if (all == 0) {
    return 0;
  }
  const double share = percent > 0 ? std::min(percent, 100.0) / 100 : 0;
  const double wanted = std::max(1.0, share * static_cast<double>(all));
  double below = 0;
  for (std::uint32_t i = 0; i < kMonitorBuckets; ++i) {
    const auto here = static_cast<double>(counts[i]);
    if (here > 0 && below + here >= wanted) {
      const auto begin = static_cast<double>(monitor_bucket_begin(i));
      const double width = static_cast<double>(monitor_bucket_begin(i + 1)) - begin;
      // A bucket of one value has no inside.
      return width > 1 ? begin + width * (wanted - below) / here : begin;
    }
    below += here;
  }
  return static_cast<double>(max_ns());
}

std::uint64_t MonitorHistogram::max_ns() const noexcept {
  for (std::uint32_t i = kMonitorBuckets; i > 0; --i) {
    if (counts[i - 1] != 0) {
      const std::uint64_t begin = monitor_bucket_begin(i - 1);
      const std::uint64_t end = monitor_bucket_begin(i);
      return end - begin > 1 ? end : begin;  // a bucket of one value has no inside
    }
  }
  return 0;
}

void MonitorHistogram::merge(const MonitorHistogram& other) noexcept {
  for (std::uint32_t i = 0; i < kMonitorBuckets; ++i) {
    counts[i] += other.counts[i];
  }
  sum_ns += other.sum_ns;
}

MonitorHistogram MonitorHistogram::since(const MonitorHistogram& earlier) const noexcept {
  const auto grown = [](std::uint64_t now, std::uint64_t then) {
    return now > then ? now - then : 0;
  };
  MonitorHistogram difference;
  for (std::uint32_t i = 0; i < kMonitorBuckets; ++i) {
    difference.counts[i] = grown(counts[i], earlier.counts[i]);
  }
  difference.sum_ns = grown(sum_ns, earlier.sum_ns);
  return difference;
}

bool MonitorSession::is(Role role) const noexcept {
  return identity.role == static_cast<std::uint32_t>(role);
}
bool MonitorSession::attached() const noexcept {
  return (now.flags & kMonitorClosed) == 0;
}
std::string MonitorSession::name() const {
  return text_in(identity.name);
}
std::string MonitorSession::tags() const {
  return text_in(identity.tags);
}

struct MonitorReader::Parts {
  CountersReader counters;
  Mapping mapping;
  MonitorShape shape;
  std::string name;
  uid_t owner = 0;
  std::uint64_t broker_epoch = 0;
  pid_t pid = 0;

  template <class Part>
  [[nodiscard]] std::span<const Part> at(std::uint64_t offset, std::size_t count) const noexcept {
    return {reinterpret_cast<const Part*>(mapping.data() + offset), count};
  }
  [[nodiscard]] const MonitorBroker& broker() const noexcept {
    return at<MonitorBroker>(MonitorShape::kBrokerAt, 1).front();
  }
  [[nodiscard]] std::span<const MonitorRow> rows() const noexcept {
    return at<MonitorRow>(MonitorShape::kRowsAt, shape.sessions);
  }
  [[nodiscard]] std::span<const MonitorBook> books() const noexcept {
    return at<MonitorBook>(shape.books_at(), shape.books);
  }
};

MonitorReader::MonitorReader(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}
MonitorReader::MonitorReader(MonitorReader&&) noexcept = default;
MonitorReader& MonitorReader::operator=(MonitorReader&&) noexcept = default;
MonitorReader::~MonitorReader() = default;

Result<MonitorReader> MonitorReader::open(const std::string& counters_name, uid_t owner) {
  auto counters = CountersReader::open(counters_name, owner);
  if (!counters) {
    return counters.error();
  }
  const auto suffix = counters.value().monitor_suffix();
  if (!suffix) {
    return Error{Errc::no_broker, 0, "open monitor: it shows none"};
  }
  const std::string name = monitor_name(counters_name, *suffix);
  auto mapping = open_named(name, owner, MonitorShape{1, 1}.bytes(), kMonitorBytesMax);
  if (!mapping) {
    return mapping.error();
  }
  const auto* const header = reinterpret_cast<const MonitorHeader*>(mapping.value().data());
  const std::uint64_t ready = header->ready.load(std::memory_order_acquire);  // M1
  if (ready == 0) {
    return Error{Errc::empty, 0, "open monitor: being filled"};
  }
  if (ready >> 32 != kMonitorMagic) {
    return Error{Errc::bad_segment, 0, "open monitor: magic"};
  }
  if (((ready >> 16) & 0xffff) != kMonitorMajor) {
    return Error{Errc::version_mismatch, 0, "open monitor: version"};
  }
  const MonitorShape shape{header->sessions, header->books};
  if (!shape.valid() || header->route_sets != kMonitorRouteSets ||
      header->events != kMonitorEvents || shape.bytes() != mapping.value().size()) {
    return Error{Errc::bad_segment, 0, "open monitor: sizes"};
  }
  const std::uint64_t epoch = header->broker_epoch;
  const pid_t pid = header->pid;
  return MonitorReader(std::make_unique<Parts>(Parts{.counters = std::move(counters).value(),
                                                     .mapping = std::move(mapping).value(),
                                                     .shape = shape,
                                                     .name = name,
                                                     .owner = owner,
                                                     .broker_epoch = epoch,
                                                     .pid = pid}));
}

MonitorTotals MonitorReader::totals() const {
  return parts_->broker().totals.get();
}

std::vector<MonitorSession> MonitorReader::sessions(bool with_latency) const {
  std::vector<MonitorSession> sessions;
  const auto books = parts_->books();
  for (const MonitorRow& row : parts_->rows()) {
    MonitorSession session;
    const auto load = [&] {
      session.identity = row.identity.get();
      if (session.identity.number == 0) {
        return;
      }
      session.held = row.held.load(std::memory_order_acquire);  // M2
      session.busy = load_busy(row.busy);
      session.now = row.now.get();
      const std::uint32_t book = session.identity.book;
      session.latency.reset();
      if (with_latency && session.is(Role::servant) && book != 0 && book < books.size()) {
        session.latency = load_book(books[book]);
      }
    };
    const std::uint64_t version = read_stable([&row] { return row.version.get(); }, load);
    if (session.identity.number != 0 && (version & 1) == 0) {
      sessions.push_back(std::move(session));
    }
  }
  return sessions;
}

MonitorLatency MonitorReader::latency() const {
  MonitorLatency all;
  const auto& folds = parts_->broker().folds;
  // A book that is folded is in book 0 and still in its own place until then.
  (void)read_stable([&folds] { return folds.get(); },
                    [&] {
                      all = {};
                      for (const MonitorBook& book : parts_->books()) {
                        merge(all, load_book(book));
                      }
                    });
  return all;
}

MonitorBrokerTimes MonitorReader::broker_times() const {
  return {load_cells(parts_->broker().in), load_cells(parts_->broker().out)};
}

std::string monitor_route_name(std::span<const MonitorNameSet> sets, std::uint64_t route) {
  if (route == 0 || sets.size() != kMonitorRouteSets) {
    return {};
  }
  for (const MonitorName& place : sets[monitor_set_of(route)].names) {
    MonitorName::Text text{};
    bool found = false;
    const std::uint64_t version =
        read_stable([&place] { return place.version.get(); },
                    [&] {
                      found = place.hash.load(std::memory_order_acquire) == route;  // M2
                      text = found ? place.text.get() : MonitorName::Text{};
                    });
    if (found && (version & 1) == 0) {
      return text_in(text.text);
    }
  }
  return {};
}

std::vector<MonitorRoute> MonitorReader::routes() const {
  std::vector<MonitorRoute> routes;
  const auto names = parts_->at<MonitorNameSet>(MonitorShape::kNamesAt, kMonitorRouteSets);
  for (const MonitorRouteSet& set :
       parts_->at<MonitorRouteSet>(MonitorShape::kRoutesAt, kMonitorRouteSets)) {
    for (std::uint32_t i = 0; i < kMonitorWays; ++i) {
      MonitorRoute route;
      // Its key is the version: 0 during a change, and another one after it.
      const auto key = [&] { return set.keys[i].look(); };
      bool same = false;
      for (int n = 0; n < kTries && !same; ++n) {
        route.hash = key();
        route.answered = set.counts[i].look();
        route.error = std::min(set.errors[i].look(), route.answered);
        route.hits = std::min(set.hits[i].look(), route.answered);
        route.execution_ns = set.execution_ns[i].look();
        same = key() == route.hash;
      }
      if (route.hash != 0 && same) {
        route.name = monitor_route_name(names, route.hash);
        routes.push_back(std::move(route));
      }
    }
  }
  std::sort(routes.begin(), routes.end(), [](const MonitorRoute& a, const MonitorRoute& b) {
    return a.answered != b.answered ? a.answered > b.answered : a.hash < b.hash;
  });
  return routes;
}

MonitorSnapshot MonitorReader::snapshot() const {
  MonitorSnapshot snapshot;
  snapshot.taken_at = steady_now();
  snapshot.totals = totals();
  snapshot.sessions = sessions();
  snapshot.latency = latency();
  snapshot.broker = broker_times();
  snapshot.routes = routes();
  return snapshot;
}

std::vector<MonitorHappening> MonitorReader::events(std::uint64_t after) const {
  const std::uint64_t told =
      parts_->broker().events.load(std::memory_order_acquire);  // M2: stored behind each
  const std::uint64_t count = std::min(told, UINT64_MAX / 4);
  const auto ring = parts_->at<MonitorEvent>(MonitorShape::kEventsAt, kMonitorEvents);
  std::vector<MonitorHappening> happenings;
  const std::uint64_t oldest = count > kMonitorEvents ? count - kMonitorEvents : 0;
  for (std::uint64_t number = std::max(std::min(after, count), oldest) + 1; number <= count;
       ++number) {
    const MonitorEvent& event = ring[(number - 1) % kMonitorEvents];
    MonitorEventWords words;
    const std::uint64_t version =
        read_stable([&event] { return event.version.get(); }, [&] { words = event.words.get(); });
    // The place holds this one, and not one that came meanwhile.
    if (version == 2 * ((number - 1) / kMonitorEvents + 1)) {
      happenings.push_back({.number = number,
                            .at = words.at,
                            .kind = static_cast<MonitorEventKind>(words.kind),
                            .session = words.session,
                            .code = static_cast<Errc>(words.code),
                            .pid = words.pid,
                            .text = text_in(words.text)});
    }
  }
  return happenings;
}

std::vector<CountersReader::Value> MonitorReader::counters() const {
  return parts_->counters.snapshot();
}
std::uint64_t MonitorReader::broker_epoch() const noexcept {
  return parts_->broker_epoch;
}
pid_t MonitorReader::pid() const noexcept {
  return parts_->pid;
}

bool MonitorReader::current() const {
  const auto now =
      open_named(parts_->name, parts_->owner, parts_->mapping.size(), parts_->mapping.size());
  return now && reinterpret_cast<const MonitorHeader*>(now.value().data())->broker_epoch ==
                    parts_->broker_epoch;
}

const char* to_string(MonitorEventKind kind) noexcept {
  switch (kind) {
    case MonitorEventKind::started:
      return "started";
    case MonitorEventKind::attached:
      return "attached";
    case MonitorEventKind::detached:
      return "detached";
    case MonitorEventKind::closed:
      return "closed";
    case MonitorEventKind::stopped:
      return "stopped";
    case MonitorEventKind::resumed:
      return "resumed";
    case MonitorEventKind::order:
      return "order";
    case MonitorEventKind::reloaded:
      return "reloaded";
    case MonitorEventKind::draining:
      return "draining";
    case MonitorEventKind::launch:
      return "launch";
  }
  return "unknown";
}

}  // namespace mserve::shm
