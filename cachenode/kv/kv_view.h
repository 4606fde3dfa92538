// KvView: what a job on the scheduler's thread may work on.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cachenode/kv/device_tier.h"
#include "cachenode/kv/disk_tier.h"
#include "cachenode/kv/session_ledger.h"
#include "common/base/clock.h"
#include "common/wire/session_key.h"

namespace hearth {

class TurnLog;

struct KvView {
    DeviceTier& tier;
    SessionLedger& ledger;
    DiskTier* disk = nullptr;  // Null: none.
    MonotonicNs now = 0;

    // Reads what the disk has of a prefix and memory has not; false: nothing, or no room. `then`
    // runs on this thread once it is there, while it is still pinned. Empty: there is no disk.
    using Then = std::function<void(KvView&)>;
    std::function<bool(const std::string& salt, std::vector<engine::TokenId> tokens,
                       const PrefixUse& use, Then then)>
        restore = {};
    // Stores a prefix's pages on the disk too, in time. Empty: there is no disk.
    std::function<void(const std::string& salt, std::span<const engine::TokenId> tokens)>
        write_behind = {};
    TurnLog* turns = nullptr;  // Null: none is kept.
    // A turn of the session runs or waits here. Empty: none does.
    std::function<bool(const SessionKey& session)> is_busy = {};
};

// By which pages know their session; never 0, which is nobody's.
inline std::uint32_t session_tag(const SessionKey& session) {
    return static_cast<std::uint32_t>(std::hash<SessionKey>{}(session)) | 1u;
}

}  // namespace hearth
