// MemoryStore: MetadataStore in this process, for `hearth up` and tests. Any thread; TTLs by Clock.
#pragma once

#include <map>
#include <mutex>
#include <unordered_map>

#include "common/base/clock.h"
#include "common/redis/metadata_store.h"

namespace hearth {

class MemoryStore final : public MetadataStore {
  public:
    explicit MemoryStore(const Clock& clock) : clock_(clock) {}

    Task<Result<void>> publish_node(const NodeRecord& record,
                                    std::chrono::milliseconds ttl) override;
    Task<Result<void>> remove_node(const std::string& node_id,
                                   const std::string& generation) override;
    Task<Result<std::vector<NodeRecord>>> nodes() override;
    Task<Result<void>> publish_session(const SessionKey& key, const SessionRecord& record,
                                       std::chrono::milliseconds ttl) override;
    Task<Result<std::optional<SessionRecord>>> find_session(const SessionKey& key) override;
    Task<Result<SessionRecord>> claim_session(const SessionKey& key, const SessionRecord& record,
                                              std::chrono::milliseconds ttl) override;
    Task<Result<void>> pin_session(const SessionKey& key, const std::string& node_id,
                                   std::chrono::milliseconds ttl) override;
    Task<Result<void>> erase_session(const SessionKey& key) override;
    Task<Result<void>> set_drained(const std::string& node_id, bool drained) override;
    Task<Result<std::map<std::string, bool>>> drains() override;
    Task<Result<std::string>> memory_name(const std::string& candidate) override;
    Task<Result<void>> append_event(std::string kind, std::string subject,
                                    std::string detail) override;
    bool up() const override { return true; }

    std::size_t sessions_held() const;  // Expired ones that were not swept yet included.

  private:
    template <typename T>
    struct Entry {
        T value;
        MonotonicNs expires = 0;
    };
    // The live record of a session, made if there is none; caller holds the mutex.
    Entry<SessionRecord>& alive(const SessionKey& key);
    static void put(Entry<SessionRecord>& entry, const SessionRecord& record, MonotonicNs expires);
    void sweep();  // Drops expired sessions once their number has doubled; caller holds the mutex.

    const Clock& clock_;
    mutable std::mutex mutex_;
    std::map<std::string, Entry<NodeRecord>> nodes_;
    std::unordered_map<SessionKey, Entry<SessionRecord>> sessions_;
    std::size_t sweep_at_ = 1024;
    std::map<std::string, bool> drains_;
    std::string memory_name_;
};

}  // namespace hearth
