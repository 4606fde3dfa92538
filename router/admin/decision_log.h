// DecisionLog: where the last turns of each session went and why, for people who ask afterwards.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/wire/session_key.h"
#include "router/placement/decide.h"

namespace hearth {

struct PastTurn {
    UnixMs at = 0;  // Of its end.
    std::string request_id;
    std::string node;  // The last that was tried.
    Reason reason = Reason::kHome;
    KeySource source = KeySource::kHeader;
    std::int64_t epoch = 0;
    int attempts = 0;
    int status = 0;
    std::string aborted;       // Why it ended early; empty = it did not.
    double first_byte_ms = 0;  // 0 = there was none.
    double total_ms = 0;
};

// One owner, one thread. At most `sessions` of them with kTurnsKept turns each; the session whose
// last turn is longest ago is forgotten. Holds keys that are hashes, no prompts.
class DecisionLog {
  public:
    static constexpr std::size_t kTurnsKept = 8;

    explicit DecisionLog(std::size_t sessions) : capacity_(sessions) {}

    void add(const SessionKey& key, PastTurn turn);
    std::vector<PastTurn> find(const SessionKey& key) const;  // Oldest first; empty = unknown.
    std::size_t size() const { return order_.size(); }

  private:
    struct Session {
        SessionKey key;
        std::array<PastTurn, kTurnsKept> turns;  // A ring.
        std::size_t count = 0;                   // Ever added.
    };
    using Order = std::list<Session>;  // Most recent first.

    std::size_t capacity_;
    Order order_;
    std::unordered_map<SessionKey, Order::iterator> index_;
};

}  // namespace hearth
