// Merges what the store says with the static list, and publishes the result as a new snapshot.
#include "router/members/membership.h"

#include <set>

#include "common/base/log.h"

namespace hearth {
namespace {

// A waiting prompt of this many tokens keeps a node as busy as one more running sequence.
constexpr double kTokensPerSequence = 512;

bool takes_turns(const NodeRecord& record) {
    return record.state == NodeState::kReady && record.weight > 0;
}

}  // namespace

double Member::load() const {
    const auto published = static_cast<double>(record.running + record.waiting);
    const double queued =
        static_cast<double>(record.queued_tokens + status->unpublished_tokens) / kTokensPerSequence;
    return (published + queued + static_cast<double>(status->in_flight)) / record.weight;
}

std::optional<double> Member::wait_ms() const {
    if (record.prefill_tokens_per_s <= 0) return std::nullopt;
    const auto tokens = static_cast<double>(record.queued_tokens + status->unpublished_tokens);
    return tokens / record.prefill_tokens_per_s * 1e3;
}

const Member* Members::find(std::string_view node_id) const {
    for (const Member& member : members)
        if (member.record.node_id == node_id) return &member;
    return nullptr;
}

std::optional<std::uint32_t> Members::seat_of(std::string_view node_id) const {
    for (std::uint32_t i = 0; i < seats.size(); ++i)
        if (members[i].record.node_id == node_id) return i;
    return std::nullopt;
}

std::size_t Members::count(NodeState state) const {
    std::size_t count = 0;
    for (const Member& member : members) count += member.record.state == state;
    return count;
}

Membership::Membership(const std::vector<StaticNode>& fixed) {
    for (const StaticNode& node : fixed) {
        Known known;
        known.record.node_id = node.node_id;
        known.record.address = node.address;
        known.record.weight = node.weight;
        known.record.state = NodeState::kReady;
        known.status = std::make_shared<NodeStatus>();
        known.fixed = true;
        known_.emplace(node.node_id, std::move(known));
    }
    publish();
}

void Membership::apply(const std::vector<NodeRecord>& records, MonotonicNs now) {
    std::set<std::string_view> present;
    for (const NodeRecord& record : records) {
        const auto [place, is_new] = known_.try_emplace(record.node_id);
        Known& known = place->second;
        const bool restarted = !is_new && known.record.generation != record.generation;
        if (is_new) known.status = std::make_shared<NodeStatus>();
        // A node that has just written its first record is up until a probe says otherwise.
        if (is_new || restarted) known.status->health = NodeStatus::Health::kUp;
        if (is_new || restarted || known.record.state != record.state)
            log::info("node", {{"node", record.node_id},
                               {"address", record.address},
                               {"state", to_string(record.state)},
                               {"generation", record.generation}});
        // A node whose counters have moved has counted what we sent it.
        if (is_new || to_fields(known.record) != to_fields(record)) {
            known.status->unpublished_tokens = 0;
            ++known.status->record_changes;
        }
        known.record = record;
        known.absent_since.reset();
        present.insert(record.node_id);
    }
    for (auto& [id, known] : known_)
        if (!known.fixed && present.count(id) == 0 && !known.absent_since) known.absent_since = now;
    std::erase_if(known_, [now](const auto& entry) {
        const std::optional<MonotonicNs>& since = entry.second.absent_since;
        const bool gone = since && now - *since > kAbsenceGrace;
        if (gone) log::info("node left", {{"node", entry.first}});
        return gone;
    });
    publish();
}

void Membership::publish() {
    auto next = std::make_shared<Members>();
    for (const bool seated : {true, false}) {
        for (const auto& [id, known] : known_) {
            if (takes_turns(known.record) != seated) continue;
            next->members.push_back({known.record, known.status});
            if (seated) next->seats.push_back({node_hash(id), known.record.weight});
        }
    }
    next->table = SeatTable(next->seats);
    snapshot_ = std::move(next);
}

}  // namespace hearth
