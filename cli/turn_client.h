// TurnClient: one streamed chat turn over HTTP, with the figures that chat and replay print.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/net/http_client.h"

namespace hearth::cli {

struct Message {
    std::string role;  // system, user, assistant
    std::string content;
};

struct TurnSettings {
    std::string router;  // host:port
    std::string model;
    std::string session;  // Sent as x-session-id; empty = none (content anchor).
    std::int64_t max_tokens = 256;
    double temperature = 0.0;
    std::int64_t seed = 1;
    bool ignore_eos = false;  // Every reply has max_tokens; an extension of vLLM and llama.cpp.
};

struct TurnResult {
    std::string error;  // Empty when the turn ended well.
    std::string text;
    std::string node, reason, key_source;  // From the hearth-route header; "" if not exposed.
    std::string finish_reason;
    std::int64_t prompt_tokens = 0, cached_tokens = 0, completion_tokens = 0;
    double ttft_ms = 0, total_ms = 0;  // From the first byte sent.
};

// Sends the dialogue to /v1/chat/completions with stream and include_usage, calls `on_text` with
// each piece, and never throws: failures are in `error`.
Task<TurnResult> run_turn(HttpClient& client, const Clock& clock, const TurnSettings& settings,
                          const std::vector<Message>& dialogue,
                          std::function<void(std::string_view)> on_text);

// The models a server lists, for a default; kUnavailable names the address.
Task<Result<std::vector<std::string>>> list_models(HttpClient& client, std::string host_port);

// Sum of the samples of a metric over all its label sets that contain `label_part` ("" = all).
double metric_sum(const std::string& exposition, std::string_view name,
                  std::string_view label_part = {});

}  // namespace hearth::cli
