// SessionLedger: what each session's last turn left behind, to tell at the next one what is
// reusable.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cachenode/kv/miss_reason.h"
#include "common/base/clock.h"
#include "common/wire/session_key.h"
#include "engine/model/config.h"

namespace hearth {

// The end of a session's last turn.
struct SessionTurn {
    std::vector<engine::TokenId> tokens;  // As the next prompt will render them.
    std::int64_t stored = 0;              // So many of them had their KV in the tree then ...
    MissReason unstored = MissReason::kCapacity;  // ... and the others not, for this reason.
    std::int64_t turn = 0;
    MonotonicNs ended = 0;  // When that was; of another node's turn, as this node's clock has it.
};

// Bounded in sessions and bytes; the longest unused goes first. A session under another salt is
// another session: nothing crosses tenants here either. Scheduler's thread.
class SessionLedger {
  public:
    SessionLedger(std::int64_t sessions_max, std::int64_t bytes_max);

    // Null when unknown; valid until the next put(). Makes the session the most recent.
    SessionTurn* find(const SessionKey& session, const std::string& salt);
    // Another salt's turns of the session are known here.
    bool has_other_salt(const SessionKey& session, const std::string& salt) const;
    void put(const SessionKey& session, const std::string& salt, SessionTurn turn);

    void erase(const SessionKey& session, const std::string& salt);
    // Every session and the salt that it is known under, the most recent first.
    std::vector<std::pair<SessionKey, std::string>> known() const;

    std::int64_t sessions() const { return static_cast<std::int64_t>(entries_.size()); }
    std::int64_t bytes() const { return bytes_; }

  private:
    using Key = std::pair<SessionKey, std::string>;
    struct KeyHash {
        std::size_t operator()(const Key& key) const noexcept;
    };
    struct Entry {
        Key key;
        SessionTurn turn;
    };
    static std::int64_t bytes_of(const Entry& entry);
    void forget_oldest();

    std::int64_t sessions_max_;
    std::int64_t bytes_max_;
    std::int64_t bytes_ = 0;
    std::list<Entry> entries_;  // Most recent first.
    std::unordered_map<Key, std::list<Entry>::iterator, KeyHash> by_key_;
    std::unordered_map<SessionKey, std::int32_t> salts_;  // That each session is known under.
};

}  // namespace hearth
