// chat_figures: medians, sums and shares.
#include "tests/bench/chat/chat_figures.h"

#include <algorithm>
#include <cmath>

namespace hearth::bench {
namespace {

// Nearest rank; 0 of nothing.
double quantile(std::vector<double> values, double share) {
    if (values.empty()) return 0.0;
    std::sort(values.begin(), values.end());
    const double rank = std::ceil(share * static_cast<double>(values.size()));
    return values[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

}  // namespace

double times(double a, double b) {
    return b > 0.0 ? a / b : 0.0;
}

ChatFigures figures_of(const ChatRun& run) {
    ChatFigures out;
    std::map<std::int64_t, std::vector<double>> by_turn;
    std::vector<double> follow_ups;
    double prompt = 0.0, cached = 0.0, reply = 0.0;
    for (const ChatTurn& t : run.turns) {
        if (!t.result.error.empty()) {
            ++out.errors;
            continue;
        }
        by_turn[t.turn].push_back(t.result.ttft_ms);
        if (t.turn > 1) follow_ups.push_back(t.result.ttft_ms);
        prompt += static_cast<double>(t.result.prompt_tokens);
        cached += static_cast<double>(t.result.cached_tokens);
        reply += static_cast<double>(t.result.completion_tokens);
    }
    for (const auto& [turn, values] : by_turn) out.ttft_ms[turn] = quantile(values, 0.5);
    out.ttft_ms_follow_ups = quantile(follow_ups, 0.5);
    out.ttft_ms_follow_ups_p95 = quantile(follow_ups, 0.95);
    out.tokens_per_s = times(reply, run.seconds);
    out.cached_share = times(cached, prompt);
    return out;
}

}  // namespace hearth::bench
