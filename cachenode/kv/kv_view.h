// KvView: what a job on the scheduler's thread may work on.
#pragma once

#include <cstdint>

#include "cachenode/kv/device_tier.h"
#include "cachenode/kv/disk_tier.h"
#include "cachenode/kv/session_ledger.h"
#include "common/base/clock.h"
#include "common/wire/session_key.h"

namespace hearth {

struct KvView {
    DeviceTier& tier;
    SessionLedger& ledger;
    DiskTier* disk = nullptr;  // Null: none.
    MonotonicNs now = 0;
};

// By which pages know their session; never 0, which is nobody's.
inline std::uint32_t session_tag(const SessionKey& session) {
    return static_cast<std::uint32_t>(std::hash<SessionKey>{}(session)) | 1u;
}

}  // namespace hearth
