// MetadataStore in this process: two maps under a mutex, with times to live by the clock.
#include "common/redis/memory_store.h"

#include <algorithm>

namespace hearth {
namespace {

MonotonicNs expiry(const Clock& clock, std::chrono::milliseconds ttl) {
    return clock.now() + ttl.count() * kMs;
}

}  // namespace

Task<Result<void>> MemoryStore::publish_node(const NodeRecord& record,
                                             std::chrono::milliseconds ttl) {
    const std::lock_guard lock(mutex_);
    nodes_[record.node_id] = {record, expiry(clock_, ttl)};
    co_return Result<void>();
}

Task<Result<void>> MemoryStore::remove_node(const std::string& node_id,
                                            const std::string& generation) {
    const std::lock_guard lock(mutex_);
    const auto place = nodes_.find(node_id);
    // A newer generation under the same id is another process: leave it.
    if (place != nodes_.end() && place->second.value.generation == generation) nodes_.erase(place);
    co_return Result<void>();
}

Task<Result<std::vector<NodeRecord>>> MemoryStore::nodes() {
    const std::lock_guard lock(mutex_);
    std::vector<NodeRecord> live;
    for (auto place = nodes_.begin(); place != nodes_.end();) {
        if (place->second.expires <= clock_.now()) {
            place = nodes_.erase(place);
            continue;
        }
        live.push_back(place->second.value);
        ++place;
    }
    co_return live;
}

void MemoryStore::sweep() {
    if (sessions_.size() < sweep_at_) return;
    std::erase_if(sessions_,
                  [now = clock_.now()](const auto& s) { return s.second.expires <= now; });
    sweep_at_ = std::max<std::size_t>(1024, sessions_.size() * 2);
}

MemoryStore::Entry<SessionRecord>& MemoryStore::alive(const SessionKey& key) {
    sweep();
    Entry<SessionRecord>& entry = sessions_[key];
    if (entry.expires <= clock_.now()) entry = {};
    return entry;
}

void MemoryStore::put(Entry<SessionRecord>& entry, const SessionRecord& record,
                      MonotonicNs expires) {
    const std::string pin = entry.value.pin;
    entry = {record, expires};
    entry.value.pin = pin;
}

Task<Result<void>> MemoryStore::publish_session(const SessionKey& key, const SessionRecord& record,
                                                std::chrono::milliseconds ttl) {
    const std::lock_guard lock(mutex_);
    Entry<SessionRecord>& entry = alive(key);
    const SessionRecord& held = entry.value;
    const bool other = !held.node_id.empty() && held.node_id != record.node_id;
    if (held.epoch < record.epoch || (held.epoch == record.epoch && !other))
        put(entry, record, expiry(clock_, ttl));
    co_return Result<void>();
}

Task<Result<SessionRecord>> MemoryStore::claim_session(const SessionKey& key,
                                                       const SessionRecord& record,
                                                       std::chrono::milliseconds ttl) {
    const std::lock_guard lock(mutex_);
    Entry<SessionRecord>& entry = alive(key);
    const bool held = !entry.value.node_id.empty() && entry.value.epoch >= record.epoch;
    if (!held) {
        const SessionRecord last = entry.value;
        put(entry, record, expiry(clock_, ttl));
        if (last.tokens > 0 && last.node_id == record.from_node)
            entry.value.from_tokens = last.tokens;
    }
    co_return entry.value;
}

Task<Result<void>> MemoryStore::pin_session(const SessionKey& key, const std::string& node_id,
                                            std::chrono::milliseconds ttl) {
    const std::lock_guard lock(mutex_);
    Entry<SessionRecord>& entry = alive(key);
    entry.value.pin = node_id;
    entry.expires = std::max(entry.expires, expiry(clock_, ttl));
    if (node_id.empty() && entry.value.node_id.empty()) sessions_.erase(key);
    co_return Result<void>();
}

Task<Result<std::optional<SessionRecord>>> MemoryStore::find_session(const SessionKey& key) {
    const std::lock_guard lock(mutex_);
    std::optional<SessionRecord> found;
    const auto place = sessions_.find(key);
    if (place != sessions_.end()) {
        if (place->second.expires > clock_.now())
            found = place->second.value;
        else
            sessions_.erase(place);
    }
    co_return found;
}

Task<Result<void>> MemoryStore::erase_session(const SessionKey& key) {
    const std::lock_guard lock(mutex_);
    sessions_.erase(key);
    co_return Result<void>();
}

std::size_t MemoryStore::sessions_held() const {
    const std::lock_guard lock(mutex_);
    return sessions_.size();
}

Task<Result<void>> MemoryStore::set_drained(const std::string& node_id, bool drained) {
    const std::lock_guard lock(mutex_);
    drains_[node_id] = drained;
    co_return Result<void>();
}

Task<Result<std::map<std::string, bool>>> MemoryStore::drains() {
    const std::lock_guard lock(mutex_);
    co_return drains_;
}

Task<Result<std::string>> MemoryStore::memory_name(const std::string& candidate) {
    const std::lock_guard lock(mutex_);
    if (memory_name_.empty()) memory_name_ = candidate;
    co_return memory_name_;
}

Task<Result<void>> MemoryStore::append_event(std::string, std::string, std::string) {
    co_return Result<void>();  // Nobody reads events in one process; the log has them.
}

}  // namespace hearth
