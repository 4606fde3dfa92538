// The figures of a replay: hit rates beside their ceilings, moved sessions, TTFT by turn. Pure.
#include <algorithm>
#include <cstdio>
#include <map>

#include "cli/replay.h"
#include "common/wire/records.h"

namespace hearth::cli {
namespace {

std::optional<double> ratio(double part, double whole) {
    if (whole <= 0) return std::nullopt;
    return part / whole;
}

double median(std::vector<double> values) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    const std::size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// The client's own view, for servers whose counters cannot be read: the turn before computed KV for
// its prompt and for every reply token but the last, and the last prompt token is always computed.
NodeCounters client_view(const std::vector<ReplayTurn>& turns) {
    NodeCounters view;
    std::map<std::size_t, std::int64_t> computed;
    for (const ReplayTurn& t : turns) {
        if (!t.result.error.empty()) continue;
        const auto cached = static_cast<double>(t.result.cached_tokens);
        view.prompt += static_cast<double>(t.result.prompt_tokens);
        view.cached += cached;
        if (t.turn > 1) {
            const auto reusable =
                static_cast<double>(std::min(computed[t.chat], t.result.prompt_tokens - 1));
            view.reusable += reusable;
            view.reused += std::min(cached, reusable);
            (cached >= reusable ? view.turns_full
             : cached > 0       ? view.turns_partial
                                : view.turns_missed) += 1;
            view.turns_full_ceiling += 1;  // The client never asks for less than all.
        }
        computed[t.chat] = t.result.prompt_tokens + t.result.completion_tokens - 1;
    }
    return view;
}

}  // namespace

ReplaySummary summarize(const std::vector<Chat>& chats, const std::vector<ReplayTurn>& turns,
                        const NodeCounters& counters) {
    ReplaySummary s;
    s.sessions = static_cast<std::int64_t>(chats.size());
    s.turns = static_cast<std::int64_t>(turns.size());
    std::map<std::size_t, std::string> first_node;
    std::map<std::size_t, bool> moved;
    std::vector<double> second, later;
    for (const ReplayTurn& t : turns) {
        if (!t.result.error.empty()) {
            ++s.errors;
            continue;
        }
        const auto [place, is_new] = first_node.try_emplace(t.chat, t.result.node);
        if (!is_new && place->second != t.result.node) moved[t.chat] = true;
        if (t.turn == 2) second.push_back(t.result.ttft_ms);
        if (t.turn >= 6) later.push_back(t.result.ttft_ms);
    }
    s.moved_sessions = static_cast<std::int64_t>(moved.size());
    s.ttft_ms_turn_2 = median(std::move(second));
    s.ttft_ms_turn_6_on = median(std::move(later));

    const NodeCounters c = counters.reusable > 0 ? counters : client_view(turns);
    s.follow_ups = c.turns_full + c.turns_partial + c.turns_missed;
    s.inter_turn_hit_rate = ratio(c.reused, c.reusable);
    s.inter_turn_ceiling = ratio(c.reusable - c.beyond_cache, c.reusable);
    s.token_hit_rate = ratio(c.cached, c.prompt);
    s.token_ceiling = ratio(c.cached + (c.reusable - c.reused - c.beyond_cache), c.prompt);
    s.full_hit_rate = ratio(c.turns_full, s.follow_ups);
    s.full_hit_ceiling = ratio(c.turns_full_ceiling, s.follow_ups);
    return s;
}

std::vector<std::string> unmet_expectations(const ReplayOptions& options,
                                            const ReplaySummary& summary) {
    std::vector<std::string> out;
    char text[128];
    if (options.hit_rate_min && !summary.inter_turn_hit_rate) {
        out.emplace_back("no turn followed another, so there is no inter-turn hit rate to judge");
    } else if (options.hit_rate_min && *summary.inter_turn_hit_rate < *options.hit_rate_min) {
        std::snprintf(text, sizeof text, "inter-turn hit rate %.4f is below the expected %.4f",
                      *summary.inter_turn_hit_rate, *options.hit_rate_min);
        out.emplace_back(text);
    }
    if (options.moved_max && summary.moved_sessions > *options.moved_max) {
        std::snprintf(text, sizeof text, "%lld sessions moved; at most %lld were expected to",
                      static_cast<long long>(summary.moved_sessions),
                      static_cast<long long>(*options.moved_max));
        out.emplace_back(text);
    }
    return out;
}

NodeCounters read_counters(const std::vector<std::string>& expositions) {
    NodeCounters c;
    std::map<std::string, double> missed;
    for (const std::string& text : expositions) {
        c.prompt += metric_sum(text, "hearth_engine_prompt_tokens_total");
        c.cached += metric_sum(text, "hearth_engine_prompt_tokens_total") -
                    metric_sum(text, "hearth_engine_prompt_tokens_total", "source=\"computed\"");
        c.reusable += metric_sum(text, "hearth_engine_reusable_tokens_total");
        c.reused += metric_sum(text, "hearth_engine_reused_tokens_total");
        const char* const turns = "hearth_engine_turns_total";
        c.turns_full += metric_sum(text, turns, "outcome=\"full_hit\"");
        c.turns_partial += metric_sum(text, turns, "outcome=\"partial_hit\"");
        c.turns_missed += metric_sum(text, turns, "outcome=\"miss\"");
        c.turns_full_ceiling += metric_sum(text, "hearth_engine_ceiling_full_hits_total");
        for (const char* reason : kMissReasonNames)
            missed[reason] += metric_sum(text, "hearth_engine_missed_tokens_total",
                                         "reason=\"" + std::string(reason) + "\"");
    }
    for (const auto& [reason, tokens] : missed) {
        c.missed.emplace_back(reason, tokens);
        if (is_beyond_any_cache(reason)) c.beyond_cache += tokens;
    }
    return c;
}

NodeCounters difference(const NodeCounters& after, const NodeCounters& before) {
    NodeCounters d = after;
    d.prompt -= before.prompt;
    d.cached -= before.cached;
    d.reusable -= before.reusable;
    d.reused -= before.reused;
    d.beyond_cache -= before.beyond_cache;
    d.turns_full -= before.turns_full;
    d.turns_partial -= before.turns_partial;
    d.turns_missed -= before.turns_missed;
    d.turns_full_ceiling -= before.turns_full_ceiling;
    for (std::size_t i = 0; i < d.missed.size() && i < before.missed.size(); ++i)
        d.missed[i].second -= before.missed[i].second;
    return d;
}

}  // namespace hearth::cli
