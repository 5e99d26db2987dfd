// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cluster/peer_table.hpp"
#include "control/log.hpp"

namespace mserve::cluster {

/// What all links have in common.
struct LinkSetup {
  std::string shim{};       ///< Path of mserve-qshim, or its name on PATH.
  std::string broker{};     ///< --name of the local broker,
  std::string directory{};  ///< and where its socket is.
  std::string login{};      ///< USER:PASSWORD for the peers; empty: as the environment says.
  std::string stat{};       ///< Path of mserve-stat, or its name on PATH; retires links.
};

/// The command line of a link.
[[nodiscard]] std::vector<std::string> link_command(const LinkSetup& setup, const std::string& id,
                                                    const LinkSpec& spec);

/// How a link is.
struct LinkView {
  pid_t pid = 0;             ///< 0: it does not run.
  const char* state = "";    ///< running, waiting (it ended, and is started again), retired, none
  std::uint32_t ending = 0;  ///< Former ones that finish what runs.
};

/// The processes that are links: one mserve-qshim for each peer. One that ends by itself is started
/// again after 100 ms, 200 ms ... 10 s; one that ends with 0 was retired by an operator, and comes
/// back when its broker is started anew, or it is ordered otherwise. The log has some lines of such
/// restarts at once, of all links, and then one a second; the same, with some for each peer that
/// there can be, of what was ordered. One that is not wanted any more is retired as by an operator
/// (`mserve-stat ctl retire`): the broker sends it nothing new, and it ends once it has answered
/// what it runs, so that nothing is lost. Where that fails it gets SIGTERM, and as long as it
/// likes. All of them end with this process. Threads: one, which must not end before the process.
class Links {
 public:
  /// The number by which the local broker knows a link that is attached; 0: it is not.
  using NumberOf = std::function<std::uint32_t(pid_t)>;

  /// @param changed    called when a pid or a state changes.
  /// @param number_of  may be empty: nothing is known of any.
  Links(LinkSetup setup, std::function<void()> changed, NumberOf number_of = {});
  /// SIGTERM to all of them; waits for none.
  ~Links();
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  void carry_out(const LinkAction& action, std::uint64_t now);
  /// After SIGCHLD.
  void reap(std::uint64_t now);
  /// Starts those whose time has come.
  void tick(std::uint64_t now);
  [[nodiscard]] LinkView view(const std::string& id) const;
  /// Whether it does not run, or the local broker does not know it: it has no peer then.
  [[nodiscard]] bool down(const std::string& id) const;
  /// Former links of a peer, and of all of them.
  [[nodiscard]] std::uint32_t ending(const std::string& id) const;
  [[nodiscard]] std::uint32_t ending() const noexcept;
  void stop_all(std::uint64_t now);
  /// Whether any process is left.
  [[nodiscard]] bool any() const noexcept;

 private:
  struct Link {
    LinkSpec spec{};
    std::uint64_t epoch = 0;
    pid_t pid = 0;
    bool retired = false;
    std::uint64_t started_at = 0;
    std::uint64_t start_at = 0;
    std::uint64_t backoff_ns = 0;
  };
  void start(const std::string& id, Link& link, std::uint64_t now);
  /// The process may take its time; it is not a link any more.
  /// @param gently  the broker is asked to retire it, if it knows it.
  void let_go(const std::string& id, Link& link, const char* why, bool gently, std::uint64_t now);
  /// Asks the local broker, by a process of its own, once there are few of those. @return false:
  /// there is none to ask for.
  bool retire(pid_t link);
  bool ask_to_retire(pid_t link);
  void retire_next();
  void ended(const std::string& id, Link& link, int status, std::uint64_t now);

  const LinkSetup setup_;
  const std::function<void()> changed_;
  const NumberOf number_of_;
  std::vector<std::string> environment_;
  broker::KindLimiter restarts_{};
  broker::KindLimiter orders_{kPeersMax};
  std::map<std::string, Link> links_;
  std::map<pid_t, std::string> ending_;  // and whose links they were
  std::deque<pid_t> to_retire_;          // links for which there is no process yet
  std::map<pid_t, pid_t> retiring_;      // processes that ask for it, and the link that each is for
};

}  // namespace mserve::cluster
