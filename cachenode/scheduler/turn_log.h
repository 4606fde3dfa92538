// TurnLog: what the last turns of each session found here, for people who ask why.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cachenode/scheduler/turn.h"
#include "common/base/clock.h"
#include "common/wire/session_key.h"

namespace hearth {

struct LoggedTurn {
    std::int64_t number = 0;
    MonotonicNs at = 0;  // Its admission.
    TurnUsage usage;     // As of then.
};

// The last 8 turns of the 4,096 sessions that had a turn last. Counts and reasons, no text.
// Scheduler's thread.
class TurnLog {
  public:
    void add(const SessionKey& session, LoggedTurn turn);
    std::vector<LoggedTurn> find(const SessionKey& session) const;  // The oldest first.
    void erase(const SessionKey& session);

  private:
    static constexpr std::size_t kSessionsMax = 4'096, kTurnsMax = 8;
    struct Entry {
        SessionKey session;
        std::deque<LoggedTurn> turns;
    };
    std::list<Entry> entries_;  // The most recent first.
    std::unordered_map<SessionKey, std::list<Entry>::iterator> by_session_;
};

}  // namespace hearth
