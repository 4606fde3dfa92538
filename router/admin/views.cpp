// One function per thing shown.
#include "router/admin/views.h"

#include <boost/json.hpp>
#include <cstdio>

namespace hearth {
namespace {

namespace json = boost::json;

std::string format(const char* text, double a, double b = 0, double c = 0) {
    char out[256];
    std::snprintf(out, sizeof(out), text, a, b, c);
    return out;
}

json::value or_null(const std::optional<double>& number) {
    if (number) return *number;
    return nullptr;
}

json::value or_null(const std::string& text) {
    if (text.empty()) return nullptr;
    return json::string(shown(text));
}

json::object view(const Member& member) {
    const NodeRecord& record = member.record;
    return {
        {"id", shown(record.node_id)},
        {"address", shown(record.address)},
        {"state", member.standing()},
        {"reason", or_null(member.standing_reason())},
        {"source", to_string(member.source)},
        {"healthy", member.status->health == NodeStatus::Health::kUp},
        {"generation", shown(record.generation)},
        {"model", shown(record.model)},
        {"weight", record.weight},
        {"load", member.load()},
        {"in_flight", member.status->in_flight},
        {"running", record.running},
        {"waiting", record.waiting},
        {"queued_tokens", record.queued_tokens},
        {"prefill_tokens_per_s", record.prefill_tokens_per_s},
        {"kv_bytes_used", record.kv_bytes_used},
        {"kv_bytes_max", record.kv_bytes_max},
        {"kv_disk_bytes_used", record.kv_disk_bytes_used},
        {"kv_disk_bytes_max", record.kv_disk_bytes_max},
        {"reused_tokens", record.reused_tokens},
        {"reusable_tokens", record.reusable_tokens},
        {"prompt_tokens", record.prompt_tokens},
    };
}

json::object view(const ExplainedNode& node, std::size_t rank) {
    return {{"rank", rank},
            {"node", shown(node.node_id)},
            {"weight", node.weight},
            {"usable", node.state.usable},
            {"load", node.state.load},
            {"wait_ms", or_null(node.state.wait_ms)},
            {"prefill_tokens_per_s", node.state.prefill_tokens_per_s}};
}

std::string why_heir(const Explanation& explanation) {
    const Decision& decision = explanation.decision;
    if (explanation.situation.first_turn && decision.rival)
        return format(
            "a new session, and its first heir is less loaded than its home: %.2f to %.2f",
            decision.rival_load, decision.load);
    return "the nodes before it in the session's order take no turns now";
}

}  // namespace

std::string shown(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
    return out;
}

std::string why(const Explanation& explanation) {
    const Decision& decision = explanation.decision;
    if (!decision.choice) return "no node is usable";
    switch (decision.choice->reason) {
        case Reason::kHome: return "the session's home by rendezvous hashing";
        case Reason::kBound: return "the session's KV is there, away from its home";
        case Reason::kHeir: return why_heir(explanation);
        case Reason::kMoved: return "a node said that the session is there, or its holder drains";
        case Reason::kPinned: return "an operator pinned the session to it";
        case Reason::kSpill:
            return format(
                "waiting %.0f ms at the session's node takes longer than %.0f ms here and %.0f ms "
                "to compute its KV again",
                decision.wait_ms.value_or(0), decision.rival_wait_ms.value_or(0),
                decision.rebuild_ms.value_or(0));
    }
    return "unknown";
}

json::object view(const HitHistory& history) {
    json::array samples;
    for (const HitSample& sample : history.samples()) {
        json::object missed;
        for (std::size_t i = 0; i < sample.missed.size(); ++i)
            if (sample.missed[i] > 0) missed[kMissReasonNames[i]] = sample.missed[i];
        samples.push_back(json::object{{"at_ms", sample.at_ms},
                                       {"reused", sample.reused},
                                       {"reusable", sample.reusable},
                                       {"ceiling", sample.ceiling()},
                                       {"missed", std::move(missed)}});
    }
    return {{"interval_ms", HitHistory::kIntervalMs}, {"samples", std::move(samples)}};
}

json::object view(const Members& members, const std::string& cluster, bool directory_up) {
    json::array nodes;
    for (const Member& member : members.members) nodes.push_back(view(member));
    return {
        {"cluster", shown(cluster)}, {"directory_up", directory_up}, {"nodes", std::move(nodes)}};
}

json::object view(const Explanation& explanation, std::string_view source) {
    const Decision& decision = explanation.decision;
    const auto& choice = decision.choice;
    json::array order;
    for (std::size_t i = 0; i < explanation.order.size(); ++i)
        order.push_back(view(explanation.order[i], i));
    json::object out{{"session", explanation.session.hex()},
                     {"key_source", or_null(std::string(source))},
                     {"node", nullptr},
                     {"reason", nullptr},
                     {"why", why(explanation)}};
    if (choice) {
        out["node"] = shown(explanation.node_id(choice->seat));
        out["reason"] = to_string(choice->reason);
    }
    out["home"] = or_null(explanation.node_id(decision.home));
    out["holder"] = or_null(explanation.holder);
    out["pin"] = or_null(explanation.pin);
    out["known_by"] = explanation.known_by;
    out["store"] = explanation.store;
    out["first_turn"] = explanation.situation.first_turn;
    out["epoch"] = explanation.situation.epoch;
    out["tokens"] = explanation.situation.tokens;
    out["rival"] = or_null(explanation.node_id(decision.rival));
    out["wait_ms"] = or_null(decision.wait_ms);
    out["rival_wait_ms"] = or_null(decision.rival_wait_ms);
    out["rebuild_ms"] = or_null(decision.rebuild_ms);
    out["order"] = std::move(order);
    return out;
}

json::object view(const WhatIf& answer, std::string_view sessions_from) {
    json::array nodes;
    for (const WhatIfShare& node : answer.nodes)
        nodes.push_back(json::object{{"node", shown(node.node_id)},
                                     {"weight_before", node.weight_before},
                                     {"weight_after", node.weight_after},
                                     {"sessions_before", node.sessions_before},
                                     {"sessions_after", node.sessions_after},
                                     {"kv_before", node.kv_before},
                                     {"kv_after", node.kv_after}});
    return {{"sessions", answer.sessions},
            {"sessions_from", sessions_from},
            {"sessions_moved", answer.sessions_moved},
            {"kv_moved", answer.kv_moved},
            {"nodes", std::move(nodes)}};
}

json::array view(const std::vector<PastTurn>& turns) {
    json::array out;
    for (const PastTurn& turn : turns)
        out.push_back(json::object{{"at_ms", turn.at},
                                   {"request_id", turn.request_id},
                                   {"node", shown(turn.node)},
                                   {"reason", to_string(turn.reason)},
                                   {"key_source", to_string(turn.source)},
                                   {"epoch", turn.epoch},
                                   {"attempts", turn.attempts},
                                   {"status", turn.status},
                                   {"aborted", or_null(turn.aborted)},
                                   {"first_byte_ms", turn.first_byte_ms},
                                   {"total_ms", turn.total_ms}});
    return out;
}

}  // namespace hearth
