// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/broker_record.hpp"
#include "cluster/shared_document.hpp"

namespace mserve::cluster {

/// What a broker says when it is to read its configuration again.
struct ReloadAnswer {
  enum class Kind : std::uint8_t {
    done,
    refused,  ///< It keeps what it had.
    silent,   ///< Nobody knows: it is away, stopped or too busy. Ask again.
  };
  Kind kind = Kind::silent;
  std::string text{};     ///< Of refused: why.
  bool document = false;  ///< Of done: it has read one.
};

/// Brings a document to the broker: checks it, stages it where the broker looks when it reads its
/// configuration again, and has it do so. Only what it has taken comes to where it looks when it is
/// started anew: whoever dies in between leaves nothing there that it may refuse. Neither I/O nor a
/// clock of its own: all of that is in Hands. Threads: one.
class DocumentKeeper {
 public:
  struct Hands {
    /// What the broker reads at its start; nothing: there is no such file.
    std::function<std::optional<std::string>()> read{};
    /// What it reads instead when it is asked to read again; nothing: what it read at its start.
    /// @return what went wrong; empty: nothing.
    std::function<std::string(const std::optional<std::string>&)> stage{};
    /// What is staged, and given here, is what it reads at its start from now on. Nothing is staged
    /// then. @return what went wrong; empty: nothing.
    std::function<std::string(const std::string&)> keep{};
    /// Each fault of a text.
    std::function<std::vector<std::string>(std::string_view)> check{};
    /// Asks the broker; the answer comes once, and not before this has returned.
    std::function<void(std::function<void(ReloadAnswer)>)> reload{};
    /// standing() is another, or what was wanted is done.
    std::function<void()> changed{};
  };
  /// A broker that does not answer is asked again after this.
  static constexpr std::uint64_t kAgainNs = 1'000'000'000;
  /// So many documents in turn are brought to it, and then one in kAgainNs.
  static constexpr std::uint32_t kAtOnce = 16;

  /// Until told otherwise what the file holds is what is wanted: whether it holds at the broker,
  /// which may have refused it at its start, only the broker can say.
  explicit DocumentKeeper(Hands hands);

  /// What etcd says from now on, of version 1 or more. One that is written again is tried again.
  void want(const Document& document);
  /// Goes on with what is due. To be called now and then.
  /// @param epoch  of the broker, another one after each of its starts; 0: it is not there.
  void tick(std::uint64_t epoch, std::uint64_t now);

  [[nodiscard]] const DocumentStanding& standing() const noexcept { return standing_; }
  /// What the file held when this began, or what the broker took last; version 0: nothing.
  [[nodiscard]] Document held() const;

 private:
  [[nodiscard]] bool may_begin(std::uint64_t now);
  void begin(std::uint64_t now);
  void answered(const ReloadAnswer& answer, bool doubt, std::uint64_t now);
  void keep(std::uint64_t now);
  void take_back(const std::string& why, bool doubt);
  void try_again(DocumentStanding standing, std::uint64_t now);
  void settle(DocumentStanding standing);

  const Hands hands_;
  std::optional<Document> wanted_{};
  std::optional<std::string> held_{};  // the last file that the broker took
  std::string target_{};               // the one that it is asked to take
  Document trying_{};
  DocumentStanding standing_{};
  std::uint64_t epoch_ = 0;
  std::uint64_t tried_at_epoch_ = 0;
  std::uint64_t again_at_ = 0;
  std::uint32_t left_ = kAtOnce;
  std::uint64_t refilled_at_ = 0;
  bool settled_ = false;  // what is wanted was tried at the broker of tried_at_epoch_
  bool unkept_ = false;   // that broker has taken it, and would not find it at its start
  bool asking_ = false;
  bool unsure_ = false;  // what the broker has: it was asked to read, and has not answered
};

/// `text` as a fault of a standing: printable, and not too long.
[[nodiscard]] std::string short_fault(std::string_view text);

}  // namespace mserve::cluster
