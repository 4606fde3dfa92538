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

const KeptResponse* ResponseStore::find(const std::string& salt, const std::string& id) {
    const auto tenant = tenants_.find(salt);
    if (tenant == tenants_.end()) return nullptr;
    const auto found = tenant->second.by_id.find(id);
    if (found == tenant->second.by_id.end()) return nullptr;
    order_.splice(order_.end(), order_, found->second);
    return &found->second->response;
}

bool ResponseStore::erase(const std::string& salt, const std::string& id) {
    const auto tenant = tenants_.find(salt);
    if (tenant == tenants_.end()) return false;
    const auto found = tenant->second.by_id.find(id);
    if (found == tenant->second.by_id.end()) return false;
    drop(found->second);
    return true;
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

void ResponseStore::keep(const std::string& salt, const std::string& id, KeptResponse response) {
    erase(salt, id);
    const std::size_t bytes = bytes_of(response.dialogue) + response.answer.size() + sizeof(Kept) +
                              salt.size() + id.size();
    if (bytes > limits_.bytes / kShare || limits_.count == 0) return;
    order_.push_back({salt, id, std::move(response), bytes, ++numbers_});
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

ResponseStore::Batch ResponseStore::newer(const std::string& salt, const SessionKey& session,
                                          std::uint64_t after) const {
    Batch out;
    const auto tenant = tenants_.find(salt);
    if (tenant == tenants_.end()) return out;
    // Ids begin with their session, so those of one stand together.
    const std::map<std::string, Place>& ids = tenant->second.by_id;
    const std::string first = response_id(session, 0);
    std::vector<Place> found;
    for (auto at = ids.lower_bound(first);
         at != ids.end() && session_of_response(at->first) == session; ++at)
        if (at->second->number > after && at->second->bytes <= kBatchBytes)
            found.push_back(at->second);
    std::sort(found.begin(), found.end(),
              [](const Place& a, const Place& b) { return a->number < b->number; });
    std::size_t bytes = 0;
    for (const Place& place : found) {
        bytes += place->bytes;
        if (bytes > kBatchBytes) break;
        out.responses.emplace_back(place->id, &place->response);
        out.last = place->number;
    }
    return out;
}

std::vector<std::pair<SessionKey, std::string>> ResponseStore::sessions() const {
    std::vector<std::pair<SessionKey, std::string>> out;
    for (const auto& [salt, tenant] : tenants_) {
        std::optional<SessionKey> last;
        for (const auto& [id, place] : tenant.by_id) {
            const auto session = session_of_response(id);
            if (session && session != last) out.emplace_back(*session, salt);
            last = session;
        }
    }
    return out;
}

}  // namespace hearth
