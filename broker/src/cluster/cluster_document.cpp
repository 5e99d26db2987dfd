// SPDX-License-Identifier: Apache-2.0
#include "cluster/cluster_document.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "cluster/replace_file.hpp"
#include "control/log.hpp"
#include "document.hpp"
#include "mserve/shm/clock.hpp"
#include "mserve/shm/unique_fd.hpp"
#include "wall_clock.hpp"

namespace mserve::cluster {

using broker::log;
using broker::LogLevel;
using broker::LogText;

static_assert(kDocumentBytesMax == broker::kDocumentBytesMax);
static_assert(kHeadBytesMax == broker::kDocumentHeadBytesMax);

namespace {

/// All of a file of ours; nothing: there is none that we could have written.
std::optional<std::string> read_file(const std::string& path) {
  const shm::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status {};
  if (!fd || fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode) ||
      status.st_size > static_cast<off_t>(kDocumentBytesMax + kHeadBytesMax)) {
    return std::nullopt;
  }
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  const ssize_t got = read(fd.get(), text.data(), text.size());
  if (got != static_cast<ssize_t>(text.size())) {
    return std::nullopt;
  }
  return text;
}

std::string fault_of(const std::string& path, int fault) {
  return fault == 0 ? "" : path + ": " + std::strerror(fault);
}

std::string remove_file(const std::string& path) {
  return fault_of(path, unlink(path.c_str()) != 0 && errno != ENOENT ? errno : 0);
}

std::string move_file(const std::string& from, const std::string& to) {
  return fault_of(to, std::rename(from.c_str(), to.c_str()) != 0 ? errno : 0);
}

}  // namespace

ClusterDocument::ClusterDocument(const Around& around)
    : around_(around),
      path_(broker::document_path(around.setup.broker.directory, around.setup.broker.name)),
      staged_(
          broker::staged_document_path(around.setup.broker.directory, around.setup.broker.name)),
      watch_(around.setup.options.name),
      reload_(around.context, around.setup.broker),
      keeper_(hands()),
      store_(
          around.context, around.setup.options.name, around.setup.tls,
          [this] {
            return DocumentStore::Way{
                .endpoint =
                    parse_etcd_url(around_.membership.status().endpoint).value_or(EtcdEndpoint{}),
                .token = around_.membership.token()};
          }),
      desk_(sources()),
      socket_(
          around.context,
          document_socket_path(around.setup.broker.directory, around.setup.broker.name),
          [this](const std::string& request, const std::string& by, DocumentSocket::Reply reply) {
            desk_.take(request, by + "@" + around_.setup.options.id, shm::steady_now(),
                       std::move(reply));
          }),
      told_(keeper_.standing()) {}

DocumentKeeper::Hands ClusterDocument::hands() {
  return {.read = [this] { return read_file(path_); },
          .stage =
              [this](const auto& text) {
                return text ? fault_of(staged_, replace_file(staged_, *text))
                            : remove_file(staged_);
              },
          .keep = [this](const auto& /*text*/) { return move_file(staged_, path_); },
          .check = broker::check_document,
          .reload = [this](auto answered) { reload_.ask(std::move(answered)); },
          .changed = [this] { settled(); }};
}

DocumentDesk::Sources ClusterDocument::sources() {
  return {.watch = watch_,
          .peers = around_.peers,
          .store = store_,
          .etcd_fault =
              [this] {
                const EtcdStatus& etcd = around_.membership.status();
                return etcd.reached         ? std::string()
                       : etcd.fault.empty() ? "nothing has been heard of it yet"
                                            : etcd.fault;
              },
          .held = [this] { return keeper_.held(); },
          .own =
              [this] {
                BrokerRecord own = around_.own;
                own.document = keeper_.standing();
                if (!there_) {
                  own.id.clear();
                }
                return own;
              },
          .check = broker::check_document,
          .wall_now = broker::wall_now,
          .show = around_.show};
}

void ClusterDocument::open() {
  if (const std::string fault = socket_.open(); !fault.empty()) {
    log(LogLevel::warning, "document_socket",
        {{"reason", LogText{fault}},
         {"note", LogText{"mserve-stat ctl cluster cannot ask this one until it is mended"}}});
  }
}

bool ClusterDocument::listed(const Listing& all) {
  return follow(watch_.listed(all));
}

bool ClusterDocument::told(const WatchEvent& event) {
  return follow(watch_.told(event));
}

bool ClusterDocument::follow(bool news) {
  if (news && !watch_.fault().empty()) {
    lines_.log("document_unreadable", LogLevel::error, shm::steady_now(), "document_unreadable",
               {{"reason", LogText{watch_.fault()}}, {"note", LogText{"what there was stays"}}});
  } else if (news) {
    take(watch_.document());
  }
  tick(there_, shm::steady_now());
  return news;
}

/// An etcd that has none any more was set up anew, or somebody took the key away: users and limits
/// of all brokers are not to go with it.
void ClusterDocument::take(const Document& document) {
  if (document.version != 0) {
    lines_.log(
        "document_seen", LogLevel::info, shm::steady_now(), "document_seen",
        {{"version", document.version}, {"by", document.by}, {"note", LogText{document.note}}});
    keeper_.want(document);
  } else if (const Document held = keeper_.held(); held.version != 0) {
    lines_.log(
        "document_gone", LogLevel::warning, shm::steady_now(), "document_gone",
        {{"kept", held.version},
         {"note", LogText{"etcd has none any more: apply what mserve-stat ctl cluster show gives, "
                          "or an empty one"}}});
  }
}

void ClusterDocument::settled() {
  const DocumentStanding& now = keeper_.standing();
  if (now.refused != 0 && now != told_) {
    lines_.log("document_refused", LogLevel::error, shm::steady_now(), "document_refused",
               {{"version", now.refused}, {"reason", LogText{now.fault}}, {"kept", now.version}});
  } else if (now.version != told_.version) {
    lines_.log("document_applied", LogLevel::info, shm::steady_now(), "document_applied",
               {{"version", now.version}});
  }
  told_ = now;
  around_.changed();
  desk_.tick(shm::steady_now());
}

void ClusterDocument::tick(bool there, std::uint64_t now) {
  there_ = there;
  lines_.tell_swallowed(now);
  keeper_.tick(there ? around_.own.epoch : 0, now);
  desk_.tick(now);
}

}  // namespace mserve::cluster
