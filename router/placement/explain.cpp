// The look-up without the claim, then the live decision.
#include "router/placement/explain.h"

#include <algorithm>

namespace hearth {
namespace {

constexpr std::size_t kNodesShownMax = 8;

}  // namespace

std::string Explanation::node_id(std::optional<std::uint32_t> seat) const {
    return seat ? members->members[*seat].record.node_id : std::string();
}

Task<Explanation> explain(std::shared_ptr<RouterCore> core, SessionKey session) {
    Explanation out;
    out.session = session;
    out.known_by = "nobody";
    out.store = "none";
    std::optional<Binding> known;
    if (const Binding* remembered = core->bindings.peek(session)) known = *remembered;
    if (known) out.known_by = "memory";
    bool first_turn = false, alone = false;
    const bool trusted = known && core->clock.now() - known->confirmed < kLocalTrust;
    if (core->store != nullptr && !trusted) {
        const auto found = co_await core->store->find_session(session);
        out.store = lookup_result(found);
        alone = !found.ok();
        first_turn = found.ok() && !found->has_value() && !known;
        if (found.ok() && found->has_value() && (!known || (*found)->epoch >= known->epoch)) {
            const SessionRecord record = **found;
            known = binding_of(*core, session, record, known ? &*known : nullptr,
                               *core->membership.now());
            out.known_by = "store";
        }
    }
    out.members = core->membership.now();
    const Binding* binding = known ? &*known : nullptr;
    out.situation = situation_of(*out.members, binding, core->clock.now());
    out.situation.first_turn = first_turn;
    if (alone) leave_alone(out.situation);
    if (known) {
        out.holder = known->node_id;
        out.pin = known->pin;
    }
    const SeatStates states = states_of(*out.members);
    const auto margin_ms = static_cast<double>(core->config->spill_margin_ms);
    out.decision = decide(out.members->table, session, out.situation, states, margin_ms);
    const std::vector<std::uint32_t> order = out.members->table.order(session);
    for (std::size_t i = 0; i < std::min(order.size(), kNodesShownMax); ++i) {
        const NodeRecord& record = out.members->members[order[i]].record;
        out.order.push_back({record.node_id, record.weight, states(order[i])});
    }
    co_return out;
}

}  // namespace hearth
