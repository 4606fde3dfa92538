// Places every session of a sample twice: among the members of now and of then.
#include "router/placement/what_if.h"

#include <charconv>
#include <map>
#include <optional>

#include "common/base/rng.h"
#include "common/wire/placement.h"

namespace hearth {
namespace {

using Weights = std::map<std::string, double>;

Error bad(const std::string& message) {
    return make_error(ErrorCode::kInvalidArgument, message);
}

Result<void> apply(Weights& weights, const WhatIfChange& change) {
    const bool known = weights.contains(change.node_id);
    const bool adds = change.kind == WhatIfChange::Kind::kAdd;
    if (adds && known) return bad("'" + change.node_id + "' is a member already");
    if (!adds && !known) return bad("no member is named '" + change.node_id + "'");
    if (change.kind == WhatIfChange::Kind::kRemove)
        weights.erase(change.node_id);
    else
        weights[change.node_id] = change.weight;
    return {};
}

// Members of one moment: ids in the order of the seats.
struct Fleet {
    explicit Fleet(const Weights& weights) {
        std::vector<Seat> seats;
        for (const auto& [id, weight] : weights) {
            ids.push_back(id);
            seats.push_back({node_hash(id), weight});
        }
        table = SeatTable(seats);
    }
    const std::string& home(const SessionKey& key) const { return ids[table.top(key, 1).seats[0]]; }
    std::vector<std::string> ids;
    SeatTable table;
};

struct Sums {
    double sessions_before = 0, sessions_after = 0, kv_before = 0, kv_after = 0;
};

}  // namespace

Result<WhatIfChange> what_if_change(const std::string& kind, const std::string& text) {
    WhatIfChange change;
    const std::size_t colon = text.rfind(':');
    change.node_id = text.substr(0, colon);
    if (change.node_id.empty()) return bad("a change needs the id of a node");
    if (kind == "remove") {
        change.kind = WhatIfChange::Kind::kRemove;
        if (colon != std::string::npos) return bad("remove takes an id alone");
        return change;
    }
    if (kind != "add" && kind != "reweigh") return bad("a change is add, remove or reweigh");
    if (kind == "reweigh") change.kind = WhatIfChange::Kind::kReweigh;
    if (colon == std::string::npos) {
        if (kind == "reweigh") return bad("reweigh takes id:weight");
        return change;
    }
    const char* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data() + colon + 1, end, change.weight);
    if (read.ec != std::errc{} || read.ptr != end ||
        !(change.weight >= 0.01 && change.weight <= 100))
        return bad("weight: must be a number between 0.01 and 100");
    return change;
}

std::vector<WhatIfSession> what_if_sample(std::size_t count) {
    Rng rng(1);
    std::vector<WhatIfSession> sessions(count);
    for (WhatIfSession& session : sessions) session.key = {rng.next(), rng.next()};
    return sessions;
}

Result<WhatIf> what_if(const std::vector<WhatIfNode>& nodes,
                       const std::vector<WhatIfChange>& changes,
                       const std::vector<WhatIfSession>& sessions) {
    Weights before, after;
    for (const WhatIfNode& node : nodes)
        if (node.weight > 0) before[node.node_id] = node.weight;
    after = before;
    for (const WhatIfChange& change : changes)
        if (auto applied = apply(after, change); !applied) return applied.error();
    if (before.empty() || after.empty()) return bad("there must be a member before and after");
    const Fleet now(before), then(after);
    WhatIf out;
    out.sessions = sessions.size();
    std::map<std::string, Sums> sums;
    double kv = 0;
    for (const WhatIfSession& session : sessions) {
        const std::string& home = now.home(session.key);
        const bool away = before.contains(session.holder) && session.holder != home;
        const std::string& from = away ? session.holder : home;
        const std::string& to =
            away && after.contains(session.holder) ? session.holder : then.home(session.key);
        const double tokens = session.tokens > 0 ? static_cast<double>(session.tokens) : 1;
        kv += tokens;
        ++sums[from].sessions_before;
        ++sums[to].sessions_after;
        sums[from].kv_before += tokens;
        sums[to].kv_after += tokens;
        if (from == to) continue;
        ++out.sessions_moved;
        out.kv_moved += tokens;
    }
    const double all = sessions.empty() ? 1 : static_cast<double>(sessions.size());
    if (kv == 0) kv = 1;
    out.sessions_moved /= all;
    out.kv_moved /= kv;
    Weights members = before;
    members.insert(after.begin(), after.end());
    for (const auto& [id, weight] : members) {
        const Sums& sum = sums[id];
        out.nodes.push_back({id, before.contains(id) ? before.at(id) : 0,
                             after.contains(id) ? after.at(id) : 0, sum.sessions_before / all,
                             sum.sessions_after / all, sum.kv_before / kv, sum.kv_after / kv});
    }
    return out;
}

}  // namespace hearth
