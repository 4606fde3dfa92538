// ResponseStore: one list in order of use, and each tenant's ids.
#include "cachenode/api/response_store.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/wire/response_id.h"

namespace hearth {

namespace {

constexpr std::size_t kShare = 4;  // Of the bounds, a tenant's part.

std::size_t bytes_of(const Dialogue& dialogue) {
    std::size_t bytes = sizeof(Dialogue);
    for (const engine::ChatMessage& message : dialogue.messages) {
        bytes += sizeof(message) + message.content.size();
        for (const engine::ToolCall& call : message.calls)
            bytes += sizeof(call) + call.name.size() + call.arguments.size();
    }
    for (const std::string& id : dialogue.call_ids) bytes += sizeof(id) + id.size();
    return bytes;
}

}  // namespace

const Dialogue* ResponseStore::find(const std::string& salt, const std::string& id) {
    const auto tenant = tenants_.find(salt);
    if (tenant == tenants_.end()) return nullptr;
    const auto found = tenant->second.by_id.find(id);
    if (found == tenant->second.by_id.end()) return nullptr;
    order_.splice(order_.end(), order_, found->second);
    return &found->second->dialogue;
}

void ResponseStore::drop(Place place) {
    const auto tenant = tenants_.find(place->salt);
    tenant->second.bytes -= place->bytes;
    tenant->second.by_id.erase(place->id);
    if (tenant->second.by_id.empty()) tenants_.erase(tenant);
    used_.bytes -= place->bytes;
    --used_.count;
    order_.erase(place);
}

void ResponseStore::erase(const SessionKey& session) {
    for (Place place = order_.begin(); place != order_.end();) {
        const Place next = std::next(place);
        if (session_of_response(place->id) == session) drop(place);
        place = next;
    }
}

void ResponseStore::keep(const std::string& salt, const std::string& id, Dialogue dialogue) {
    const std::size_t bytes = bytes_of(dialogue) + sizeof(Kept) + salt.size() + id.size();
    if (bytes > limits_.bytes / kShare || limits_.count == 0) return;
    order_.push_back({salt, id, std::move(dialogue), bytes});
    used_.bytes += bytes;
    ++used_.count;
    Tenant& own = tenants_[salt];
    own.by_id.emplace(id, std::prev(order_.end()));
    own.bytes += bytes;
    // The newest stays: alone it is within every bound.
    const auto is_own = [&](const Kept& kept) { return kept.salt == salt; };
    while (own.by_id.size() > std::max<std::size_t>(limits_.count / kShare, 1) ||
           own.bytes > limits_.bytes / kShare)
        drop(std::find_if(order_.begin(), order_.end(), is_own));
    while (used_.count > limits_.count || used_.bytes > limits_.bytes) drop(order_.begin());
}

}  // namespace hearth
