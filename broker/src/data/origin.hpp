// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "dispatch/types.hpp"

namespace mserve::broker {

struct Session;

/// Who asks: a client's session has one origin, a gateway's one per TCP connection. What is fair,
/// bounded or closed is so per origin. The data thread's alone.
struct OriginState {
  Session* session = nullptr;    ///< Null: not in use.
  std::uint32_t number = 0;      ///< Place in the table, and the Dispatcher's index.
  std::uint32_t life = 0;        ///< Differs between two uses of the place.
  std::uint32_t index = 0;       ///< What the frames of its session call it,
  std::uint64_t generation = 0;  ///< and which of that index's lives.
  bool open = false;             ///< False from the moment at which it is closed.

  std::uint64_t window_left = 0;  ///< Flow bytes it may still be sent.
  std::uint32_t outbox_first = kNone;
  std::uint32_t outbox_last = kNone;
  std::uint64_t outbox_bytes = 0;
  std::uint32_t flows_first = kNone;  ///< Requests arriving in fragments (RequestFlow).
  std::uint32_t flow_count = 0;
  std::uint32_t requests_first = kNone;  ///< Not yet answered (RequestRecord), newest first.

  /// Whose the life before was: its requests may still run, and are told with its name.
  struct Past {
    std::uint32_t life = 0;  ///< 0: there was none.
    std::uint32_t session = kNone;
    std::uint32_t session_generation = 0;
    std::uint32_t connection = kNone;
  };
  Past past{};
};

/// All origins, made at construction. Those of client sessions have the number of their session;
/// those of gateways come from the places behind them.
class OriginTable {
 public:
  OriginTable(std::uint32_t sessions, std::uint32_t connections)
      : origins_(sessions + connections) {
    free_.reserve(connections);
    for (std::uint32_t i = 0; i < origins_.size(); ++i) {
      origins_[i].number = i;
    }
    for (std::uint32_t i = connections; i > 0; --i) {
      free_.push_back(sessions + i - 1);
    }
  }

  /// Room for a gateway's origin; null when all are taken.
  [[nodiscard]] OriginState* take() noexcept {
    if (free_.empty()) {
      return nullptr;
    }
    OriginState& origin = origins_[free_.back()];
    free_.pop_back();
    return &origin;
  }
  /// Starts the life of a place that nobody uses.
  void begin(OriginState& origin, Session& session, std::uint64_t window_bytes) noexcept {
    const std::uint32_t number = origin.number;
    const std::uint32_t life = origin.life;
    const OriginState::Past past = origin.past;
    origin = OriginState{};
    origin.number = number;
    origin.life = life + 1;
    origin.past = past;
    origin.session = &session;
    origin.window_left = window_bytes;
    origin.open = true;
  }
  void give_back(OriginState& origin, bool from_take) noexcept {
    origin.session = nullptr;
    if (from_take) {
      free_.push_back(origin.number);
    }
  }

  [[nodiscard]] OriginState& operator[](std::uint32_t number) noexcept { return origins_[number]; }
  [[nodiscard]] std::uint32_t count() const noexcept {
    return static_cast<std::uint32_t>(origins_.size());
  }

 private:
  std::vector<OriginState> origins_;
  std::vector<std::uint32_t> free_;
};

/// A gateway session's origins by the index that its frames use.
struct OriginPlaces {
  struct Place {
    std::uint32_t number = kNone;  ///< In the OriginTable; kNone: not open.
    std::uint64_t generation = 0;  ///< Of the last that was open; older ones are over.
  };
  std::vector<Place> places;
  /// Origins that were closed here and of which the gateway must still be told.
  struct Gone {
    std::uint32_t index;
    std::uint64_t generation;
    std::uint64_t code;
  };
  std::vector<Gone> untold;
};

}  // namespace mserve::broker
