// A list in order of use, and an index into it.
#include "cachenode/scheduler/turn_log.h"

namespace hearth {

void TurnLog::add(const SessionKey& session, LoggedTurn turn) {
    const auto known = by_session_.find(session);
    if (known != by_session_.end()) {
        entries_.splice(entries_.begin(), entries_, known->second);
    } else {
        entries_.push_front({session, {}});
        by_session_[session] = entries_.begin();
    }
    std::deque<LoggedTurn>& turns = entries_.front().turns;
    turns.push_back(std::move(turn));
    if (turns.size() > kTurnsMax) turns.pop_front();
    if (entries_.size() <= kSessionsMax) return;
    by_session_.erase(entries_.back().session);
    entries_.pop_back();
}

std::vector<LoggedTurn> TurnLog::find(const SessionKey& session) const {
    const auto known = by_session_.find(session);
    if (known == by_session_.end()) return {};
    return {known->second->turns.begin(), known->second->turns.end()};
}

void TurnLog::erase(const SessionKey& session) {
    const auto known = by_session_.find(session);
    if (known == by_session_.end()) return;
    entries_.erase(known->second);
    by_session_.erase(known);
}

}  // namespace hearth
