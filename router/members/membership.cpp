// Merges the sources, keeps each node's status, and publishes the result as a new snapshot.
#include "router/members/membership.h"

#include <algorithm>
#include <set>
#include <utility>

#include "common/base/log.h"
#include "router/members/health.h"

namespace hearth {
namespace {

// A waiting prompt of this many tokens keeps a node as busy as one more running sequence.
constexpr double kTokensPerSequence = 512;

bool takes_turns(const Member& member) {
    return member.record.state == NodeState::kReady && member.record.weight > 0 && !member.drained;
}

NodeRecord record_of(const StaticNode& node) {
    NodeRecord record;
    record.node_id = node.node_id;
    record.address = node.address;
    record.weight = node.weight;
    record.model = node.model;
    record.state = NodeState::kReady;
    return record;
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

// "gpu-a", or "gpu-*" for all that begin so.
bool matches(std::string_view pattern, std::string_view node_id) {
    if (!pattern.ends_with('*')) return pattern == node_id;
    pattern.remove_suffix(1);
    return node_id.starts_with(pattern);
}

bool belongs(const PoolSettings& pool, const Member& member) {
    if (pool.nodes.empty()) return contains(pool.models, member.record.model);
    return std::any_of(pool.nodes.begin(), pool.nodes.end(), [&](const std::string& pattern) {
        return matches(pattern, member.record.node_id);
    });
}

void seat(Members& members) {
    std::stable_partition(members.members.begin(), members.members.end(), takes_turns);
    for (const Member& member : members.members)
        if (takes_turns(member))
            members.seats.push_back({node_hash(member.record.node_id), member.record.weight});
    members.table = SeatTable(members.seats);
}

bool same_seats(const Members& a, const Members& b) {
    const auto same = [](const Member& x, const Member& y) {
        return x.record.node_id == y.record.node_id && x.record.weight == y.record.weight &&
               x.record.state == y.record.state && x.drained == y.drained;
    };
    return std::equal(a.members.begin(), a.members.end(), b.members.begin(), b.members.end(), same);
}

}  // namespace

const char* to_string(Source source) {
    switch (source) {
        case Source::kRegistry: return "registry";
        case Source::kStatic: return "static";
        case Source::kFile: return "file";
        case Source::kDns: return "dns";
    }
    return "unknown";
}

double Member::load() const {
    const auto published = static_cast<double>(record.running + record.waiting);
    const double queued =
        static_cast<double>(record.queued_tokens + status->unpublished_tokens) / kTokensPerSequence;
    const double load =
        (published + queued + static_cast<double>(status->in_flight)) / record.weight;
    return (load + 1.0) / status->ramp - 1.0;  // An idle node in slow start is no bargain either.
}

std::optional<double> Member::wait_ms() const {
    if (record.prefill_tokens_per_s <= 0) return std::nullopt;
    const auto tokens = static_cast<double>(record.queued_tokens + status->unpublished_tokens);
    return tokens / record.prefill_tokens_per_s * 1e3;
}

const char* Member::standing() const {
    if (drained || record.state == NodeState::kDraining) return "draining";
    if (record.state == NodeState::kStarting) return "joining";
    return status->sound() ? "active" : "ejected";
}

std::string Member::standing_reason() const {
    if (drained) return "operator";
    if (record.state != NodeState::kReady) return "node";
    if (status->health == NodeStatus::Health::kDown) return status->refused ? "connect" : "probe";
    return status->sound() ? "" : status->eject_reason;
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

const Members::Pool* Members::pool(std::string_view model) const {
    if (pools.size() == 1) return &pools[0];
    const Pool* any = nullptr;
    for (const Pool& pool : pools) {
        if (contains(pool.models, model) || contains(pool.aliases, model)) return &pool;
        if (pool.models.empty()) any = &pool;  // Nodes that say nothing of their model.
    }
    return any;
}

std::shared_ptr<const Members> members_of(const std::shared_ptr<const Members>& all,
                                          const Members::Pool& pool) {
    return pool.members ? pool.members : all;
}

Membership::Membership(const std::vector<StaticNode>& fixed, std::vector<PoolSettings> pools,
                       HealthRules rules)
    : pools_(std::move(pools)), rules_(rules) {
    List& list = lists_[static_cast<std::size_t>(Source::kStatic)];
    for (const StaticNode& node : fixed) {
        list.insert_or_assign(node.node_id, Listed{record_of(node), std::nullopt});
        status_of(node.node_id, 0);
    }
    publish();
}

NodeStatus& Membership::status_of(const std::string& node_id, MonotonicNs now) {
    std::shared_ptr<NodeStatus>& status = statuses_[node_id];
    if (status == nullptr) {
        status = std::make_shared<NodeStatus>();
        status->in_flight_max = rules_.in_flight_max;
        // A fleet that starts together has nobody to be slower than.
        if (first_answer_ && now - *first_answer_ > rules_.slow_start && rules_.slow_start > 0) {
            status->warm_since = now;
            note_time(*status, rules_, now);
        }
    }
    return *status;
}

void Membership::note_registered(const NodeRecord& record, const Listed* before, MonotonicNs now) {
    NodeStatus& status = status_of(record.node_id, now);
    const bool restarted = before != nullptr && before->record.generation != record.generation;
    // A node that has just written its first record is up until a probe says otherwise.
    if (before == nullptr) status.health = NodeStatus::Health::kUp;
    if (restarted) {
        note_restart(status, rules_, now);
        if (record.generation == status.generation_before && ++status.id_conflicts == 1)
            log::error("two nodes publish under one id; give each its own node_id",
                       {{"node", record.node_id},
                        {"address", record.address},
                        {"and", before->record.address}});
        status.generation_before = before->record.generation;
    }
    if (before == nullptr || restarted || before->record.state != record.state)
        log::info("node", {{"node", record.node_id},
                           {"address", record.address},
                           {"state", to_string(record.state)},
                           {"generation", record.generation}});
    // A node whose counters have moved has counted what we sent it.
    if (before == nullptr || to_fields(before->record) != to_fields(record)) {
        status.unpublished_tokens = 0;
        ++status.record_changes;
    }
}

void Membership::apply(const std::vector<NodeRecord>& records, MonotonicNs now) {
    List& list = lists_[static_cast<std::size_t>(Source::kRegistry)];
    std::set<std::string_view> present;
    for (const NodeRecord& record : records) {
        const auto place = list.find(record.node_id);
        note_registered(record, place == list.end() ? nullptr : &place->second, now);
        list.insert_or_assign(record.node_id, Listed{record, std::nullopt});
        present.insert(record.node_id);
    }
    for (auto& [id, listed] : list)
        if (present.count(id) == 0 && !listed.absent_since) listed.absent_since = now;
    std::erase_if(list, [&](const auto& entry) {
        const std::optional<MonotonicNs>& since = entry.second.absent_since;
        if (!since) return false;
        const NodeStatus& status = *statuses_.at(entry.first);
        const bool answers = status.health == NodeStatus::Health::kUp;
        const bool gone = now - *since > (answers ? kAbsenceGraceUp : kAbsenceGrace);
        if (gone) log::info("node left", {{"node", entry.first}});
        return gone;
    });
    if (!first_answer_) first_answer_ = now;
    publish();
}

void Membership::note_outage() {
    for (auto& [id, listed] : lists_[static_cast<std::size_t>(Source::kRegistry)])
        listed.absent_since.reset();
}

void Membership::replace(Source source, const std::vector<StaticNode>& nodes, MonotonicNs now) {
    List next;
    List& list = lists_[static_cast<std::size_t>(source)];
    for (const StaticNode& node : nodes) {
        next.insert_or_assign(node.node_id, Listed{record_of(node), std::nullopt});
        status_of(node.node_id, now);
        if (!list.contains(node.node_id))
            log::info(
                "node",
                {{"node", node.node_id}, {"address", node.address}, {"source", to_string(source)}});
    }
    for (const auto& [id, listed] : list)
        if (!next.contains(id))
            log::info("node left", {{"node", id}, {"source", to_string(source)}});
    list = std::move(next);
    if (!first_answer_) first_answer_ = now;
    publish();
}

bool Membership::drained(const std::string& node_id) const {
    const auto found = drains_.find(node_id);
    return found != drains_.end() && found->second;
}

bool Membership::set_drained(const std::string& node_id, bool drained) {
    const bool news = this->drained(node_id) != drained;
    drains_[node_id] = drained;
    if (news) publish();
    return news;
}

std::map<std::string, bool> Membership::merge_drains(const std::map<std::string, bool>& told) {
    std::map<std::string, bool> lost = drains_;
    for (const auto& [node_id, drained] : told) {
        if (untold_.contains(node_id)) continue;
        lost.erase(node_id);
        set_drained(node_id, drained);
    }
    return lost;
}

void Membership::note_told(const std::string& node_id, bool told) {
    if (told)
        untold_.erase(node_id);
    else
        untold_.insert(node_id);
}

void Membership::make_pools(Members& all) const {
    std::map<std::string, std::size_t> index;
    std::vector<std::shared_ptr<Members>> made;
    const auto open = [&](Members::Pool pool) {
        all.pools.push_back(std::move(pool));
        made.push_back(std::make_shared<Members>());
    };
    for (const PoolSettings& settings : pools_) {
        open({settings.name, settings.models, settings.aliases, nullptr});
        for (const Member& member : all.members)
            if (belongs(settings, member)) made.back()->members.push_back(member);
    }
    for (const Member& member : all.members) {
        const std::string& model = member.record.model;
        if (!pools_.empty() || (model.empty() && !takes_turns(member))) continue;
        const auto [place, is_new] = index.try_emplace(model, made.size());
        if (is_new) {
            std::vector<std::string> models;
            if (!model.empty()) models.push_back(model);
            open({model, std::move(models), {}, nullptr});
        }
        made[place->second]->members.push_back(member);
    }
    if (pools_.empty() && made.size() == 1) return;  // All of them.
    for (std::size_t i = 0; i < made.size(); ++i) {
        made[i]->version = all.version;
        seat(*made[i]);
        all.pools[i].members = std::move(made[i]);
    }
}

void Membership::publish() {
    std::map<std::string, Member> merged;
    for (std::size_t s = 0; s < kSources; ++s)
        for (const auto& [id, listed] : lists_[s])
            merged.try_emplace(
                id, Member{listed.record, statuses_.at(id), static_cast<Source>(s), drained(id)});
    std::erase_if(statuses_, [&](const auto& entry) { return !merged.contains(entry.first); });
    auto next = std::make_shared<Members>();
    for (auto& [id, member] : merged) next->members.push_back(std::move(member));
    seat(*next);
    const bool same = snapshot_ != nullptr && same_seats(*snapshot_, *next);
    if (snapshot_ != nullptr) next->version = snapshot_->version + (same ? 0 : 1);
    make_pools(*next);
    snapshot_ = std::move(next);
}

}  // namespace hearth
