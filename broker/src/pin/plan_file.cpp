// SPDX-License-Identifier: Apache-2.0
#include "pin/plan_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "toml.hpp"

namespace mserve::pin {

namespace {

constexpr std::int64_t kFormat = 1;

constexpr std::array<std::pair<std::string_view, GatewayPlace>, 4> kPlaces{
    {{"none", GatewayPlace::none},
     {"own", GatewayPlace::own},
     {"data", GatewayPlace::data},
     {"shared", GatewayPlace::shared}}};

std::string_view word_of(GatewayPlace place) {
  return kPlaces[static_cast<std::size_t>(place)].first;
}

/// Comment lines, of which each begins on its own.
std::string commented(const std::string& text) {
  return "# " + text + "\n";
}

std::string_view what_gateway(const Plan& plan) {
  switch (plan.gateway) {
    case GatewayPlace::own:
      return plan.gateway_why;
    case GatewayPlace::data:
      return "the data thread serves kdb+ clients";
    case GatewayPlace::shared:
      return "with the control threads";
    case GatewayPlace::none:
      break;
  }
  return "no kdb+ clients (mserve-broker without -p)";
}

/// What is wrong in a file; read_plan() is the only one that catches it.
struct PlanFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void refuse(const toml::node& at, const std::string& what) {
  throw PlanFault(fmt::format("{}: {}", at.source().begin.line, what));
}

void only(const toml::table& table, std::initializer_list<std::string_view> keys) {
  for (const auto& [key, node] : table) {
    if (std::find(keys.begin(), keys.end(), key.str()) == keys.end()) {
      refuse(node, fmt::format("there is no key '{}' here", key.str()));
    }
  }
}

const toml::node& needed(const toml::table& table, std::string_view key) {
  const toml::node* const node = table.get(key);
  if (node == nullptr) {
    refuse(table, fmt::format("the key '{}' is missing", key));
  }
  return *node;
}

const toml::table& table_at(const toml::table& table, std::string_view key) {
  const toml::node& node = needed(table, key);
  if (!node.is_table()) {
    refuse(node, fmt::format("'{}' is no table", key));
  }
  return *node.as_table();
}

std::string text_at(const toml::table& table, std::string_view key) {
  const toml::node& node = needed(table, key);
  const auto value = node.value_exact<std::string>();
  if (!value) {
    refuse(node, fmt::format("{} takes text", key));
  }
  return *value;
}

/// @param none  what stands for a core that is not given.
int core_at(const toml::table& table, std::string_view key, int none) {
  const toml::node* const node = table.get(key);
  if (node == nullptr) {
    return none;
  }
  const auto value = node->value_exact<std::int64_t>();
  if (!value || *value < 0 || *value >= kCoresMax) {
    refuse(*node, fmt::format("{} takes the number of a core", key));
  }
  return static_cast<int>(*value);
}

CoreList cores_at(const toml::table& table, std::string_view key) {
  const auto cores = parse_cores(text_at(table, key));
  if (!cores || cores->empty()) {
    refuse(needed(table, key), fmt::format("{} takes a list of cores such as \"2,4-6\"", key));
  }
  return *cores;
}

void read_broker(const toml::table& table, Plan& plan) {
  only(table, {"core", "idle", "leave_idle"});
  plan.broker = core_at(table, "core", -1);
  plan.idle = text_at(table, "idle");
  constexpr std::array<std::string_view, 4> kIdle{"spin", "yield", "park", "auto"};
  if (std::find(kIdle.begin(), kIdle.end(), plan.idle) == kIdle.end()) {
    refuse(needed(table, "idle"), "idle is spin, yield, park or auto");
  }
  if (table.contains("leave_idle")) {
    plan.left_idle = cores_at(table, "leave_idle");
  }
}

void read_gateway(const toml::table& table, Plan& plan) {
  only(table, {"thread", "core"});
  const std::string word = text_at(table, "thread");
  const auto* const place = std::find_if(kPlaces.begin(), kPlaces.end(),
                                         [&word](const auto& p) { return p.first == word; });
  if (place == kPlaces.end()) {
    refuse(needed(table, "thread"), "thread is own, data, shared or none");
  }
  plan.gateway = place->second;
  plan.gateway_core = core_at(table, "core", -1);
  if ((plan.gateway_core >= 0) != (plan.gateway == GatewayPlace::own)) {
    refuse(table, "a gateway with thread = \"own\" has a core, and no other has");
  }
  if (plan.gateway == GatewayPlace::data && plan.idle == "spin") {
    refuse(table, "thread = \"data\" does not go with idle = \"spin\" of the broker");
  }
}

void read_servants(const toml::table& table, Plan& plan) {
  const toml::node* const node = table.get("servant");
  if (node == nullptr) {
    return;
  }
  const toml::array* const list = node->as_array();
  if (list == nullptr || list->size() > kServantsMax) {
    refuse(*node, fmt::format("servants are [[servant]], at most {}", kServantsMax));
  }
  for (const toml::node& one : *list) {
    if (!one.is_table()) {
      refuse(one, "servants are [[servant]]");
    }
    const toml::table& servant = *one.as_table();
    only(servant, {"cores", "shim"});
    plan.servants.push_back(
        {.cores = cores_at(servant, "cores"),
         .shim = servant.contains("shim") ? cores_at(servant, "shim") : CoreList{}});
  }
}

/// A thread that never sleeps shares its core with nobody.
void check_sharing(const Plan& plan) {
  CoreList others = plan.control;
  for (std::size_t i = 0; i < plan.servants.size(); ++i) {
    const CoreList all = joined(plan.servants[i].cores, plan.servants[i].shim);
    for (const int core : {plan.broker, plan.gateway_core}) {
      if (core >= 0 && contains(all, core)) {
        throw PlanFault(fmt::format(" core {} is the {}'s, and servant {} would be there too", core,
                                    core == plan.broker ? "data thread" : "gateway", i + 1));
      }
    }
  }
  for (const int core : {plan.broker, plan.gateway_core}) {
    if (core >= 0 && contains(others, core)) {
      throw PlanFault(
          fmt::format(" core {} is the {}'s, and the control threads would be there too", core,
                      core == plan.broker ? "data thread" : "gateway"));
    }
  }
  if (plan.broker >= 0 && plan.broker == plan.gateway_core) {
    throw PlanFault(
        fmt::format(" core {} is given to the data thread and to the gateway", plan.broker));
  }
}

}  // namespace

std::string write_plan(const Plan& plan, const std::string& made_by) {
  std::string text = commented("Cores for mserve, proposed by `" + made_by + "`.");
  text += commented("Change it as you like; `mserve-pin run` checks it against the machine.");
  text += commented("Machine: " + plan.machine + ". Cores are numbered as the kernel does.");
  for (const std::string& warning : plan.warnings) {
    text += commented("WARNING: " + warning + ".");
  }
  text += fmt::format("format = {}\n\n[broker]\n", kFormat);
  text += plan.broker >= 0 ? fmt::format("core = {}  # {}\n", plan.broker, plan.broker_why)
                           : commented("no core: the data thread is not pinned");
  text += fmt::format("idle = \"{}\"{}\n", plan.idle,
                      plan.idle == "spin" ? "  # it has the core to itself" : "");
  if (!plan.left_idle.empty()) {
    text += fmt::format("leave_idle = \"{}\"  # SMT siblings, so that nobody slows it down\n",
                        cores_text(plan.left_idle));
  }
  text += fmt::format("\n[control]\ncores = \"{}\"  # {}\n", cores_text(plan.control),
                      plan.control_why);
  text += fmt::format("\n[gateway]\nthread = \"{}\"  # {}\n", word_of(plan.gateway),
                      what_gateway(plan));
  if (plan.gateway_core >= 0) {
    text += fmt::format("core = {}\n", plan.gateway_core);
  }
  for (std::size_t i = 0; i < plan.servants.size(); ++i) {
    const Plan::Servant& servant = plan.servants[i];
    text += fmt::format("\n[[servant]]  # {}\ncores = \"{}\"  # {}\n", i + 1,
                        cores_text(servant.cores), servant.why);
    if (!servant.shim.empty()) {
      text += fmt::format("shim = \"{}\"\n", cores_text(servant.shim));
    }
  }
  return text;
}

std::optional<Plan> read_plan(const std::string& text, const std::string& name,
                              std::string& fault) {
  try {
    const toml::table table = toml::parse(text, name);
    only(table, {"format", "broker", "control", "gateway", "servant"});
    if (const toml::node& format = needed(table, "format");
        format.value_exact<std::int64_t>() != kFormat) {
      refuse(format, fmt::format("this mserve-pin reads format {}", kFormat));
    }
    Plan plan;
    read_broker(table_at(table, "broker"), plan);
    const toml::table& control = table_at(table, "control");
    only(control, {"cores"});
    plan.control = cores_at(control, "cores");
    read_gateway(table_at(table, "gateway"), plan);
    read_servants(table, plan);
    check_sharing(plan);
    return plan;
  } catch (const toml::parse_error& e) {
    fault = fmt::format("{}:{}: {}", name, e.source().begin.line, e.description());
  } catch (const PlanFault& e) {
    fault = fmt::format("{}:{}", name, e.what());
  }
  return std::nullopt;
}

}  // namespace mserve::pin
