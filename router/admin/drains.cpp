// Pure but for the walk over the router's memory.
#include "router/admin/drains.h"

#include <algorithm>
#include <boost/json.hpp>

#include "router/core.h"

namespace hearth {

std::optional<double> DrainPace::eta_s(const std::string& node_id, std::size_t sessions,
                                       MonotonicNs now) {
    if (sessions == 0) return 0;
    Look& first = first_.try_emplace(node_id, Look{now, sessions}).first->second;
    if (sessions > first.sessions) first = {now, sessions};  // Undrained meanwhile, elsewhere.
    const std::size_t left = first.sessions - sessions;
    if (left == 0 || now <= first.at) return std::nullopt;
    return seconds(now - first.at) * static_cast<double>(sessions) / static_cast<double>(left);
}

DrainState drain_state(RouterCore& core, const std::string& node_id) {
    DrainState state;
    const auto members = core.membership.now();
    if (const Member* member = members->find(node_id)) {
        const NodeRecord& record = member->record;
        state.turns = std::max(record.running + record.waiting, member->status->in_flight);
        state.hands_over = record.sessions >= 0;
        state.has_heard = record.is_drained;
        state.sessions = static_cast<std::size_t>(std::max<std::int64_t>(0, record.sessions));
    }
    if (!state.hands_over) {
        core.bindings.each([&](const SessionKey&, const Binding& binding) {
            state.sessions += binding.node_id == node_id;
        });
    }
    state.eta_s = core.drain_pace.eta_s(node_id, state.sessions, core.clock.now());
    return state;
}

boost::json::object view(const DrainState& state) {
    boost::json::object out{{"sessions", state.sessions},
                            {"turns", state.turns},
                            {"hands_over", state.hands_over},
                            {"has_heard", state.has_heard},
                            {"eta_s", nullptr}};
    if (state.eta_s) out["eta_s"] = *state.eta_s;
    return out;
}

}  // namespace hearth
