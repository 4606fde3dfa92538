// TenantSettings: what the config says of one tenant: its keys, its limits, what it may use.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/wire/api_key.h"

namespace hearth {

// Batch work waits while interactive work does, save for a share that keeps it from starving.
enum class Priority { kInteractive, kBatch };
constexpr std::size_t kPriorities = 2;
const char* to_string(Priority priority);

struct TenantSettings {
    std::string name;
    std::vector<ApiKeyHash> keys;
    double requests_per_second = 0;      // 0 = no limit, as in the next two.
    std::int64_t tokens_per_minute = 0;  // Prompt and answer together.
    std::int64_t concurrency_max = 0;    // Turns at once, waiting ones included.
    Priority priority = Priority::kInteractive;
    bool may_choose_priority = false;  // By the header x-hearth-priority.
    std::vector<std::string> models;   // That it may use; empty = all.
    // By how many seconds its chats that came back count as younger when nodes evict KV; decimal,
    // empty = as the nodes are set.
    std::string follow_up_bonus_s;
};

// One entry of the list `tenants:`; a list among its fields has one item a line. The error names
// the field.
Result<TenantSettings> read_tenant(const std::map<std::string, std::string>& fields);

// What must hold between tenants: names and keys are used once.
Result<void> check_tenants(const std::vector<TenantSettings>& tenants);

}  // namespace hearth
