// Replay: real dialogues through a router, turn by turn, and what came of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/chats_file.h"
#include "cli/turn_client.h"

namespace hearth::cli {

struct ReplayOptions {
    std::string router = "127.0.0.1:8080";  // host:port or URL.
    std::vector<std::string> nodes;         // The same of each node, for its counters.
    std::string cacert;                     // PEM file of whom to trust for https.
    std::string model;                      // Empty = the first that the router lists.
    std::int64_t max_tokens = 48;
    double temperature = 0.0;
    std::int64_t seed = 1;
    std::int64_t concurrency = 1;  // Chats with a turn in flight.
    bool session_header = true;    // False: the router must find the session by content.
    bool json = false;
    bool quiet = false;  // No row per turn.
    // What makes the replay fail beside errors; nothing = not judged.
    std::optional<double> hit_rate_min;  // Inter-turn.
    std::optional<std::int64_t> moved_max;
};

struct ReplayTurn {
    std::size_t chat = 0;
    std::int64_t turn = 0;  // From 1.
    TurnResult result;
};

// What the nodes counted during the replay (design §11); from /metrics, before and after.
struct NodeCounters {
    double prompt = 0, cached = 0, reusable = 0, reused = 0;
    // Missed though an infinite, never failing cache would have held them: the turn was not to read
    // it (declined), or they were another tenant's (salt). All else is the nodes' own doing.
    double beyond_cache = 0;
    double turns_full = 0, turns_partial = 0, turns_missed = 0;
    double turns_full_ceiling = 0;                       // Of these, with such a cache.
    std::vector<std::pair<std::string, double>> missed;  // By reason, those above 0.
};

struct ReplaySummary {
    std::int64_t sessions = 0, turns = 0, moved_sessions = 0, errors = 0;
    double follow_ups = 0;  // Turns with something to reuse.
    // Nothing: there was nothing of which it could be a share.
    std::optional<double> inter_turn_hit_rate, inter_turn_ceiling;
    std::optional<double> token_hit_rate, token_ceiling;
    std::optional<double> full_hit_rate, full_hit_ceiling;
    double ttft_ms_turn_2 = 0, ttft_ms_turn_6_on = 0;  // Medians; 0 when there was none.
};

// Pure: figures from turns and counters. `counters` empty (reusable == 0): the rates come from what
// the client saw, with prompt + completion - 1 of the turn before as the reusable tokens.
ReplaySummary summarize(const std::vector<Chat>& chats, const std::vector<ReplayTurn>& turns,
                        const NodeCounters& counters);

// One line for each expectation of `options` that the replay did not meet, with the figures.
std::vector<std::string> unmet_expectations(const ReplayOptions& options,
                                            const ReplaySummary& summary);

NodeCounters read_counters(const std::vector<std::string>& expositions);
NodeCounters difference(const NodeCounters& after, const NodeCounters& before);

}  // namespace hearth::cli
