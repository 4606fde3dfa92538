// chat_figures: what a server's turns come to. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "cli/turn_client.h"

namespace hearth::bench {

struct ChatTurn {
    std::int64_t turn = 0;  // From 1.
    cli::TurnResult result;
};

// Every turn that one server was given, over all rounds.
struct ChatRun {
    std::vector<ChatTurn> turns;
    double seconds = 0.0;  // Wall time of its rounds.
};

struct ChatFigures {
    std::map<std::int64_t, double> ttft_ms;  // Median of each turn.
    double ttft_ms_follow_ups = 0.0;         // Median of turns >= 2; 0 = there was none.
    double ttft_ms_follow_ups_p95 = 0.0;
    double tokens_per_s = 0.0;  // Reply tokens of all sessions.
    double cached_share = 0.0;  // Of the prompt tokens, as the server says.
    std::int64_t errors = 0;    // Turns that failed; they are in no other figure.
};

ChatFigures figures_of(const ChatRun& run);

// a / b, or 0 where b is not positive.
double times(double a, double b);

}  // namespace hearth::bench
