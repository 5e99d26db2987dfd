// SPDX-License-Identifier: Apache-2.0
#include "pin/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace mserve::pin {

namespace {

/// A core that may be given to somebody.
struct Candidate {
  const PhysicalCore* core = nullptr;
  bool isolated = false;
  bool interrupted = false;
};

bool any_of(const CoreList& threads, const CoreList& list) {
  return std::any_of(threads.begin(), threads.end(),
                     [&list](int thread) { return contains(list, thread); });
}

/// What a servant on another node costs.
constexpr const char* kFarCost = "0.3 to 1 us more for each request";

class Planner {
 public:
  Planner(const Topology& topology, const CoreFacts& facts, const Wishes& wishes)
      : topology_(topology), facts_(facts), wishes_(wishes) {
    plan_.machine = topology.to_text();
    plan_.gateway = wishes.gateway;
    sort_candidates();
  }

  Plan run() && {
    if (topology_.cores.size() == 1 ||
        (topology_.cores.size() < 3 && wishes_.gateway == GatewayPlace::data)) {
      leave_unpinned();
    } else if (needed() <= candidates_.size()) {
      place_all();
    } else if (wishes_.gateway == GatewayPlace::own && needed() - 1 <= candidates_.size()) {
      plan_.warnings.push_back(fmt::format(
          "{} cores are wanted and {} can be given: the gateway shares with the control threads, "
          "some 5 us more for a query of a kdb+ client while these are busy",
          needed(), candidates_.size()));
      plan_.gateway = GatewayPlace::shared;
      place_all();
    } else {
      place_broker_alone();
    }
    warn();
    return std::move(plan_);
  }

 private:
  /// Physical cores that each of them having one of its own takes.
  [[nodiscard]] std::size_t needed() const {
    const std::size_t each = wishes_.q && !has_siblings() ? 2 : 1;
    return 1 + (plan_.gateway == GatewayPlace::own ? 1 : 0) + each * wishes_.servants;
  }
  [[nodiscard]] bool has_siblings() const {
    return std::all_of(candidates_.begin(), candidates_.end(),
                       [](const Candidate& c) { return c.core->threads.size() > 1; });
  }

  /// The system keeps the first core, which the kernel uses for itself; the best of the others
  /// stand in front.
  void sort_candidates() {
    const PhysicalCore* system = &topology_.cores.front();
    for (const PhysicalCore& core : topology_.cores) {
      // An isolated first core means that somebody decided otherwise.
      if (!any_of(core.threads, facts_.isolated)) {
        system = &core;
        break;
      }
    }
    for (const PhysicalCore& core : topology_.cores) {
      if (&core != system) {
        candidates_.push_back({&core, any_of(core.threads, facts_.isolated),
                               any_of(core.threads, facts_.interrupted)});
      }
    }
    if (candidates_.empty()) {
      return;
    }
    const auto [node, l3] = choose_home();
    const auto rank = [node = node, l3 = l3](const Candidate& c) {
      return std::make_tuple(!c.isolated, c.core->node != node, c.interrupted, c.core->l3 != l3,
                             c.core->node, c.core->threads.front());
    };
    std::sort(candidates_.begin(), candidates_.end(),
              [&rank](const Candidate& a, const Candidate& b) { return rank(a) < rank(b); });
  }

  /// The node, and the last cache within it, with room for all; else with most room.
  [[nodiscard]] std::pair<int, int> choose_home() const {
    const bool some_isolated = std::any_of(candidates_.begin(), candidates_.end(),
                                           [](const Candidate& c) { return c.isolated; });
    std::map<int, std::size_t> nodes;
    std::map<std::pair<int, int>, std::size_t> caches;
    for (const Candidate& c : candidates_) {
      const bool good = some_isolated ? c.isolated : !c.interrupted;
      nodes[c.core->node] += good ? 1 : 0;
      caches[{c.core->node, c.core->l3}] += good ? 1 : 0;
    }
    const auto score = [&](const std::pair<int, int>& home) {
      return std::make_tuple(caches[home] >= needed(), std::min(nodes[home.first], needed()),
                             std::min(caches[home], needed()));
    };
    std::pair<int, int> best = caches.begin()->first;
    for (const auto& [home, count] : caches) {
      best = score(home) > score(best) ? home : best;
    }
    return best;
  }

  [[nodiscard]] static std::string place_of(const PhysicalCore& core) {
    return core.l3 >= 0 ? fmt::format("node {}, L3 {}", core.node, core.l3)
                        : fmt::format("node {}", core.node);
  }
  [[nodiscard]] std::string quality_of(const Candidate& c) const {
    return (c.isolated ? ", isolated" : "") +
           std::string(c.interrupted ? ", but devices interrupt it" : "");
  }

  const Candidate& take() { return candidates_[taken_++]; }

  /// Somebody who spins gets a physical core; its siblings stay idle.
  int take_alone(std::string& why, const char* who) {
    const Candidate& c = take();
    why =
        fmt::format("{}, alone on its physical core ({}{})", who, place_of(*c.core), quality_of(c));
    leave_idle(*c.core);
    return c.core->threads.front();
  }

  void leave_idle(const PhysicalCore& core) {
    plan_.left_idle =
        joined(plan_.left_idle, CoreList(core.threads.begin() + 1, core.threads.end()));
  }

  void place_all() {
    plan_.broker = take_alone(plan_.broker_why, "the data thread");
    plan_.idle = plan_.gateway == GatewayPlace::data ? "auto" : "spin";
    home_ = candidates_.front().core;
    if (plan_.gateway == GatewayPlace::own) {
      plan_.gateway_core = take_alone(plan_.gateway_why, "the gateway's thread");
    }
    const bool siblings = has_siblings();
    for (std::uint32_t i = 0; i < wishes_.servants; ++i) {
      const Candidate& c = take();
      Plan::Servant servant{.cores = {c.core->threads.front()}, .shim = {}};
      servant.why = place_of(*c.core) + quality_of(c);
      if (wishes_.q && siblings) {
        servant.shim = {c.core->threads[1]};
        servant.why += "; q and its shim are SMT siblings";
      } else if (wishes_.q) {
        servant.shim = {take().core->threads.front()};
        servant.why += "; q and its shim have a core each";
      } else {
        leave_idle(*c.core);
      }
      if (c.core->node != home_->node) {
        far_.push_back(static_cast<int>(i + 1));
      }
      plan_.servants.push_back(std::move(servant));
    }
    give_the_rest_to_control();
  }

  void give_the_rest_to_control() {
    const CoreList taken = joined(plan_.used(), plan_.left_idle);
    CoreList near;
    CoreList rest;
    for (const PhysicalCore& core : topology_.cores) {
      const CoreList open = minus(minus(core.threads, taken), facts_.isolated);
      // The second threads of servants' cores: whoever ran there would slow them down.
      if (any_of(core.threads, taken)) {
        continue;
      }
      rest = joined(rest, open);
      if (home_ != nullptr && core.node == home_->node) {
        near = joined(near, open);
      }
    }
    plan_.control = near.empty() ? rest : near;
    if (plan_.control.empty()) {  // all that is left is isolated
      plan_.control = minus(topology_.threads(), taken);
    }
    plan_.control_why = near.empty() ? "control, waker and access threads: none is left near the "
                                       "broker"
                                     : "control, waker and access threads, near the broker";
  }

  /// Too few for everybody: the broker has a core, the others share what is left.
  void place_broker_alone() {
    plan_.warnings.push_back(fmt::format(
        "{} cores are wanted and {} can be given: the broker has one of its own, everything else "
        "shares the rest. Let nothing spin there (--idle auto, the default): more spinners than "
        "cores keep each other waiting for milliseconds",
        needed(), candidates_.size()));
    if (plan_.gateway == GatewayPlace::own) {
      plan_.gateway = GatewayPlace::shared;
      if (topology_.cores.size() < 3) {
        plan_.warnings.emplace_back(
            "with fewer than three cores kdb+ clients are served faster with nothing pinned: plan "
            "with --gateway data");
      }
    }
    plan_.broker = take_alone(plan_.broker_why, "the data thread");
    home_ = candidates_.front().core;
    const CoreList rest = minus(topology_.threads(), joined({plan_.broker}, plan_.left_idle));
    const CoreList balanced = minus(rest, facts_.isolated);
    plan_.control = balanced.empty() ? rest : balanced;
    plan_.control_why = "everybody but the data thread";
    share(plan_.control);
    if (!balanced.empty()) {
      deal_isolated(minus(rest, balanced));
    }
  }

  /// The kernel moves nobody between isolated cores, so each servant and shim that comes to these
  /// gets one and stays there; the others share what is not isolated. All are dealt in turn, so
  /// that each core has about as many.
  void deal_isolated(const CoreList& isolated) {
    const std::size_t round = isolated.size() + plan_.control.size();
    std::size_t turn = 0;
    for (Plan::Servant& servant : plan_.servants) {
      for (CoreList* const cores : {&servant.cores, &servant.shim}) {
        if (!cores->empty() && turn++ % round < isolated.size()) {
          *cores = {isolated[(turn - 1) % round]};
          servant.why = "isolated cores one by one, the rest shared with all others";
        }
      }
    }
  }

  /// Servants, and shims, that all run wherever the scheduler puts them among these.
  void share(const CoreList& cores) {
    Plan::Servant servant;
    servant.cores = cores;
    servant.shim = wishes_.q ? cores : CoreList{};
    servant.why = "shared with all others";
    plan_.servants.assign(wishes_.servants, servant);
  }

  void leave_unpinned() {
    const CoreList all = topology_.threads();
    plan_.control = all;
    plan_.control_why = "everybody";
    if (topology_.cores.size() == 1) {
      plan_.warnings.emplace_back(
          "one core: nothing is pinned and nothing may spin; requests take some 10 us and more, "
          "as each step is a switch");
      plan_.gateway = plan_.gateway == GatewayPlace::none ? GatewayPlace::none : GatewayPlace::data;
    } else {
      plan_.warnings.emplace_back(
          "two cores: nothing is pinned, the gateway's thread runs the data plane and the "
          "scheduler finds the better core for each (broker/README.md, Few cores)");
    }
    share(all);
  }

  /// Several isolated cores for one thread are as good as one of them.
  void warn_of_unbalanced() {
    CoreList several = plan_.control.size() > 1 ? plan_.control : CoreList{};
    for (const Plan::Servant& servant : plan_.servants) {
      for (const CoreList* const cores : {&servant.cores, &servant.shim}) {
        several = cores->size() > 1 ? joined(several, *cores) : several;
      }
    }
    const CoreList isolated = minus(several, minus(several, facts_.isolated));
    if (!isolated.empty()) {
      plan_.warnings.push_back(fmt::format(
          "cores {} are isolated, and several share them: the kernel moves nobody between isolated "
          "cores, so some may be crowded while others are idle; isolate fewer",
          cores_text(isolated)));
    }
  }

  void warn() {
    warn_of_unbalanced();
    if (!far_.empty()) {
      plan_.warnings.push_back(fmt::format("servants {} are on another node than the broker: {}",
                                           cores_text(far_), kFarCost));
    }
    CoreList own = plan_.broker >= 0 ? CoreList{plan_.broker} : CoreList{};
    own = plan_.gateway_core >= 0 ? joined(own, {plan_.gateway_core}) : own;
    for (const Plan::Servant& servant : plan_.servants) {
      own = servant.cores.size() == 1 ? joined(own, joined(servant.cores, servant.shim)) : own;
    }
    // Siblings too: whatever the system ran there would slow down who is alone on the core.
    own = joined(own, plan_.left_idle);
    own = minus(own, plan_.control);  // shared cores cannot be taken from the system
    const CoreList open = minus(own, facts_.isolated);
    if (facts_.known && !open.empty()) {
      plan_.warnings.push_back(
          fmt::format("{} not isolated: boot with isolcpus=managed_irq,domain,{} nohz_full={} "
                      "rcu_nocbs={}, then plan again",
                      cores_are(open), cores_text(own), cores_text(own), cores_text(own)));
    }
  }

  const Topology& topology_;
  const CoreFacts& facts_;
  const Wishes& wishes_;
  Plan plan_;
  std::vector<Candidate> candidates_;
  std::size_t taken_ = 0;
  const PhysicalCore* home_ = nullptr;
  CoreList far_;  // numbers of servants
};

}  // namespace

CoreList Plan::used() const {
  CoreList all = control;
  for (const int core : {broker, gateway_core}) {
    all = core >= 0 ? joined(all, {core}) : all;
  }
  for (const Servant& servant : servants) {
    all = joined(all, joined(servant.cores, servant.shim));
  }
  return all;
}

Plan make_plan(const Topology& topology, const CoreFacts& facts, const Wishes& wishes) {
  return Planner(topology, facts, wishes).run();
}

}  // namespace mserve::pin
