// An LRU list with an index by session and salt.
#include "cachenode/kv/session_ledger.h"

namespace hearth {

SessionLedger::SessionLedger(std::int64_t sessions_max, std::int64_t bytes_max)
    : sessions_max_(sessions_max), bytes_max_(bytes_max) {}

std::size_t SessionLedger::KeyHash::operator()(const Key& key) const noexcept {
    return std::hash<SessionKey>{}(key.first) ^ std::hash<std::string>{}(key.second);
}

std::int64_t SessionLedger::bytes_of(const Entry& entry) {
    const std::size_t bytes = entry.turn.tokens.capacity() * sizeof(engine::TokenId) +
                              2 * entry.key.second.size() + sizeof(Entry) + sizeof(Key);
    return static_cast<std::int64_t>(bytes);
}

SessionTurn* SessionLedger::find(const SessionKey& session, const std::string& salt) {
    const auto found = by_key_.find(Key(session, salt));
    if (found == by_key_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return &found->second->turn;
}

void SessionLedger::put(const SessionKey& session, const std::string& salt, SessionTurn turn) {
    if (SessionTurn* const known = find(session, salt)) {
        Entry& entry = entries_.front();
        bytes_ -= bytes_of(entry);
        *known = std::move(turn);
        bytes_ += bytes_of(entry);
    } else {
        entries_.push_front({Key(session, salt), std::move(turn)});
        by_key_[entries_.front().key] = entries_.begin();
        ++salts_[session];
        bytes_ += bytes_of(entries_.front());
    }
    while (!entries_.empty() && (sessions() > sessions_max_ || bytes_ > bytes_max_)) {
        forget_oldest();
    }
}

bool SessionLedger::has_other_salt(const SessionKey& session, const std::string& salt) const {
    const auto salts = salts_.find(session);
    if (salts == salts_.end()) return false;
    return salts->second > (by_key_.contains(Key(session, salt)) ? 1 : 0);
}

void SessionLedger::erase(const SessionKey& session, const std::string& salt) {
    const auto found = by_key_.find(Key(session, salt));
    if (found == by_key_.end()) return;
    entries_.splice(entries_.end(), entries_, found->second);
    forget_oldest();
}

std::vector<std::pair<SessionKey, std::string>> SessionLedger::known() const {
    std::vector<Key> out;
    out.reserve(entries_.size());
    for (const Entry& entry : entries_) out.push_back(entry.key);
    return out;
}

void SessionLedger::forget_oldest() {
    bytes_ -= bytes_of(entries_.back());
    by_key_.erase(entries_.back().key);
    const auto salts = salts_.find(entries_.back().key.first);
    if (--salts->second == 0) salts_.erase(salts);
    entries_.pop_back();
}

}  // namespace hearth
