// A ring of turns per session, and the sessions in order of their last turn.
#include "router/admin/decision_log.h"

#include <algorithm>

namespace hearth {

void DecisionLog::add(const SessionKey& key, PastTurn turn) {
    if (capacity_ == 0) return;
    if (const auto known = index_.find(key); known != index_.end()) {
        order_.splice(order_.begin(), order_, known->second);
    } else if (order_.size() < capacity_) {
        order_.emplace_front().key = key;
        index_.emplace(key, order_.begin());
    } else {
        // The place of the one that is forgotten serves again, so a full log allocates nothing.
        auto node = index_.extract(order_.back().key);
        order_.splice(order_.begin(), order_, std::prev(order_.end()));
        order_.front().key = key;
        order_.front().count = 0;
        node.key() = key;
        node.mapped() = order_.begin();
        index_.insert(std::move(node));
    }
    Session& session = order_.front();
    session.turns[session.count++ % kTurnsKept] = std::move(turn);
}

std::vector<PastTurn> DecisionLog::find(const SessionKey& key) const {
    std::vector<PastTurn> turns;
    const auto known = index_.find(key);
    if (known == index_.end()) return turns;
    const Session& session = *known->second;
    const std::size_t kept = std::min(session.count, kTurnsKept);
    for (std::size_t i = session.count - kept; i < session.count; ++i)
        turns.push_back(session.turns[i % kTurnsKept]);
    return turns;
}

}  // namespace hearth
