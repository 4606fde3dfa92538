// Differences of counters, node by node, so that restarts and leavers do not show as negative.
#include "router/admin/history.h"

namespace hearth {
namespace {

HitSample totals_of(const NodeRecord& record) {
    HitSample out;
    out.reused = record.reused_tokens;
    out.reusable = record.reusable_tokens;
    out.missed = record.missed_tokens;
    return out;
}

// What was counted since `before`; all of it if the counters began anew.
void add_difference(HitSample& sum, const HitSample& now, const HitSample& before) {
    const bool anew = now.reusable < before.reusable || now.reused < before.reused;
    const HitSample from = anew ? HitSample{} : before;
    sum.reused += now.reused - from.reused;
    sum.reusable += now.reusable - from.reusable;
    for (std::size_t i = 0; i < sum.missed.size(); ++i)
        sum.missed[i] += now.missed[i] - from.missed[i];
}

}  // namespace

std::int64_t HitSample::ceiling() const {
    std::int64_t tokens = reusable;
    for (std::size_t i = 0; i < missed.size(); ++i)
        if (is_beyond_any_cache(kMissReasonNames[i])) tokens -= missed[i];
    return tokens;
}

void HitHistory::note(const Members& members, std::int64_t now_ms) {
    const bool first = last_ms_ == 0;
    if (!first && now_ms - last_ms_ < kIntervalMs) return;
    last_ms_ = now_ms;
    HitSample sample;
    sample.at_ms = now_ms;
    std::map<std::string, Counters> seen;
    for (const Member& member : members.members) {
        const NodeRecord& record = member.record;
        const HitSample totals = totals_of(record);
        const auto before = seen_.find(record.node_id);
        const bool known = before != seen_.end() && before->second.generation == record.generation;
        // A node that was here before this router counts from where it stands now.
        if (!first) add_difference(sample, totals, known ? before->second.totals : HitSample{});
        seen[record.node_id] = {record.generation, totals};
    }
    seen_ = std::move(seen);
    if (first) return;
    samples_.push_back(sample);
    if (samples_.size() > kSamplesMax) samples_.pop_front();
}

}  // namespace hearth
