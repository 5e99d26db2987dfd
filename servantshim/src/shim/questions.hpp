// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mserve::shim {

/// Something that q was asked and has not answered yet.
struct Question {
  std::uint64_t id = 0;   ///< The broker's, for its reply.
  std::uint64_t qid = 0;  ///< Ours: what LBT's servants send back. 0: a probe.
  bool probe = false;     ///< Our own health probe: nobody waits for the answer.
  bool orphan = false;    ///< Its session ended, or it was cancelled: nobody waits for its answer.
  bool unwanted = false;  ///< The broker wants no answer; q may be interrupted for that, once.
  bool sent = false;      ///< All of it went to q; an answer before that is no answer.
};

/// What q was asked, oldest first. A plain q answers in that order, LBT's servants by qid. At most
/// credit + 1 entries, of a peer twice as many, and usually one, so a search from the oldest beats
/// any index.
class Questions {
 public:
  /// Makes room, so that add() does not allocate.
  void reserve(std::size_t count) { entries_.reserve(count); }
  void add(const Question& question) { entries_.push_back(question); }

  /// Takes the oldest one out. @return false when q was asked nothing.
  [[nodiscard]] bool take_oldest(Question& out) noexcept { return take_at(0, out); }
  /// Takes out the one that q answers by `qid`. @return false when there is none.
  [[nodiscard]] bool take(std::uint64_t qid, Question& out) noexcept {
    return take_at(index_of(qid), out);
  }
  /// Takes out the only one. @return false when there are none or several.
  [[nodiscard]] bool take_only(Question& out) noexcept {
    return entries_.size() == 1 && take_at(0, out);
  }
  void remove(std::uint64_t qid) noexcept {
    Question ignored;
    (void)take(qid, ignored);
  }

  /// The one that q answers by `qid`, to look at; nullptr when there is none.
  [[nodiscard]] const Question* find(std::uint64_t qid) const noexcept {
    const std::size_t index = index_of(qid);
    return index < entries_.size() ? &entries_[index] : nullptr;
  }
  void mark_sent(std::uint64_t qid) noexcept {
    const std::size_t index = index_of(qid);
    if (index < entries_.size()) {
      entries_[index].sent = true;
    }
  }
  /// The broker's request `id` is not wanted any more. Nothing happens when q was not asked it.
  void mark_unwanted(std::uint64_t id) noexcept {
    for (Question& question : entries_) {
      question.unwanted = question.unwanted || (question.id == id && !question.probe);
    }
  }
  /// q was asked one thing and no more.
  [[nodiscard]] bool one() const noexcept { return entries_.size() == 1; }
  /// The oldest one, which q runs if it has all of it; nullptr when it was asked nothing.
  [[nodiscard]] Question* oldest() noexcept { return entries_.empty() ? nullptr : &entries_[0]; }
  [[nodiscard]] const Question* oldest() const noexcept {
    return entries_.empty() ? nullptr : &entries_[0];
  }
  /// The broker's request `id`, if q was sent all of it and it is no orphan; nullptr: there is
  /// none.
  [[nodiscard]] Question* find_sent(std::uint64_t id) noexcept {
    const auto found = std::find_if(entries_.begin(), entries_.end(), [id](const Question& q) {
      return q.id == id && q.sent && !q.probe && !q.orphan;
    });
    return found != entries_.end() ? &*found : nullptr;
  }
  [[nodiscard]] std::size_t orphans() const noexcept {
    return static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(),
                                                  [](const Question& q) { return q.orphan; }));
  }
  /// Each request that q was sent all of and somebody waits for.
  template <class Visit>
  void each_wanted(Visit visit) const {
    for (const Question& question : entries_) {
      if (question.sent && !question.probe && !question.orphan && !question.unwanted) {
        visit(question);
      }
    }
  }
  void orphan_all() noexcept {
    for (Question& question : entries_) {
      question.orphan = true;
    }
  }
  void clear() noexcept { entries_.clear(); }

  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  /// Those that the broker waits for.
  [[nodiscard]] std::size_t requests() const noexcept {
    return static_cast<std::size_t>(std::count_if(
        entries_.begin(), entries_.end(), [](const Question& q) { return !q.probe && !q.orphan; }));
  }
  /// Nothing but a probe, if anything: whoever keeps quiet has no other reason to.
  [[nodiscard]] bool only_probes() const noexcept {
    return std::all_of(entries_.begin(), entries_.end(), [](const Question& q) { return q.probe; });
  }
  [[nodiscard]] bool has_probe() const noexcept {
    return std::any_of(entries_.begin(), entries_.end(), [](const Question& q) { return q.probe; });
  }

 private:
  [[nodiscard]] std::size_t index_of(std::uint64_t qid) const noexcept {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [qid](const Question& q) { return q.qid == qid; });
    return static_cast<std::size_t>(found - entries_.begin());
  }
  bool take_at(std::size_t index, Question& out) noexcept {
    if (index >= entries_.size()) {
      return false;
    }
    out = entries_[index];
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(index));
    return true;
  }

  std::vector<Question> entries_;
};

}  // namespace mserve::shim
