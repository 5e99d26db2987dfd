// SPDX-License-Identifier: Apache-2.0
#include "control/operation_text.hpp"

namespace mserve::broker {

namespace {

/// What has happened to servants of which the verb is done.
const char* outcome_of(shm::Verb verb) noexcept {
  switch (verb) {
    case shm::Verb::resume:
      return "resumed";
    case shm::Verb::drain:
      return "drained";
    case shm::Verb::retire:
      return "retired";
    default:
      return "paused";
  }
}

/// What becomes of those for which nobody waits any longer.
const char* afterwards(shm::Verb verb) noexcept {
  const bool drains = verb == shm::Verb::drain || verb == shm::Verb::retire;
  return drains ? "; what is not resumed stays paused" : "; the order stands";
}

std::string servants_text(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " servant" : " servants");
}

}  // namespace

const char* name_of(shm::Verb verb) noexcept {
  switch (verb) {
    case shm::Verb::pause:
      return "pause";
    case shm::Verb::resume:
      return "resume";
    case shm::Verb::drain:
      return "drain";
    case shm::Verb::retire:
      return "retire";
    case shm::Verb::servants:
      return "servants";
    case shm::Verb::queries:
      return "queries";
    case shm::Verb::policy:
      return "policy";
    case shm::Verb::log_level:
      return "log-level";
    case shm::Verb::reload:
      return "reload";
  }
  return "unknown";
}

void ServantList::add(std::string_view name, std::uint32_t number, std::string_view note) {
  constexpr std::size_t kBytesMax = 100;  // one of the longest name fits
  ++count_;
  std::string item = shown_ == 0 ? "" : ", ";
  item += name;
  item += number == 0 ? " (not attached" : " (number " + std::to_string(number);
  item.append(note.empty() ? "" : ", ").append(note).append(")");
  // Once one did not fit, no later one is shown, so that what is shown comes first.
  if (shown_ + 1 == count_ && text_.size() + item.size() <= kBytesMax) {
    text_ += item;
    ++shown_;
  }
}

std::string ServantList::text() const {
  return count_ == shown_ ? text_ : text_ + " and " + std::to_string(count_ - shown_) + " more";
}

std::optional<OperationAnswer> answer_of(shm::Verb verb, const OperationProgress& progress,
                                         bool expired) {
  const auto& [done, gone, waiting, called_off] = progress;
  const std::string outcome = outcome_of(verb);
  if (waiting.count() == 0) {
    std::string text = done.count() == 0 ? "none " + outcome : outcome + ": " + done.text();
    text += gone.count() == 0 ? "" : "; " + std::to_string(gone.count()) + " gone: " + gone.text();
    return OperationAnswer{done.count() == 0 ? Errc::no_servant : Errc::ok, done.count(), text};
  }
  if (called_off) {
    return OperationAnswer{Errc::cancelled, done.count(),
                           "resumed meanwhile, so this was called off"};
  }
  if (!expired) {
    return std::nullopt;
  }
  const std::size_t all = done.count() + gone.count() + waiting.count();
  return OperationAnswer{Errc::timed_out, done.count(),
                         std::to_string(waiting.count()) + " of " + servants_text(all) + " not " +
                             outcome + " yet: " + waiting.text() + afterwards(verb)};
}

}  // namespace mserve::broker
