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
    core.bindings.each([&](const SessionKey&, const Binding& binding) {
        state.sessions += binding.node_id == node_id;
    });
    const auto members = core.membership.now();
    if (const Member* member = members->find(node_id))
        state.turns =
            std::max(member->record.running + member->record.waiting, member->status->in_flight);
    state.eta_s = core.drain_pace.eta_s(node_id, state.sessions, core.clock.now());
    return state;
}

boost::json::object view(const DrainState& state) {
    boost::json::object out{
        {"sessions", state.sessions}, {"turns", state.turns}, {"eta_s", nullptr}};
    if (state.eta_s) out["eta_s"] = *state.eta_s;
    return out;
}

}  // namespace hearth
