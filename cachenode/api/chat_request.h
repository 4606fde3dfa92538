// Chat and completion requests: OpenAI's JSON to native types, with every range checked at the
// door.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cachenode/api/api_error.h"
#include "cachenode/api/tools.h"
#include "engine/text/chat_template.h"
#include "engine/text/json_grammar.h"
#include "engine/text/sampler.h"

namespace hearth {

// What both endpoints share. Fields that are absent or null keep these defaults, which are
// OpenAI's.
struct TurnOptions {
    engine::SamplingParams sampling;         // top_logprobs >= 0 asks for logprobs.
    bool seeded = false;                     // False: the seed is drawn per request.
    std::optional<std::int64_t> max_tokens;  // Absent: what the context leaves.
    std::int64_t min_tokens = 0;
    bool ignore_eos = false;
    std::vector<std::string> stop;
    std::vector<engine::TokenId> stop_token_ids;
    bool cache_prompt = true;
    std::optional<bool> truncates;  // Chats: may old turns be dropped? Absent: as configured.
    std::optional<engine::JsonGrammar> grammar;  // The reply's, by response_format.
    std::int64_t choices = 1;                    // "n": replies to the one prompt.
    // Names of fields that we know nothing of, for the header that warns of them.
    std::vector<std::string> ignored;
    bool stream = false;
    bool include_usage = false;  // Of a stream; whole answers always carry usage.
};

struct ChatRequest {
    std::string model;
    std::vector<engine::ChatMessage> messages;  // At least one; developer is system.
    ToolOptions tools;
    TurnOptions options;
};

struct CompletionRequest {
    std::string model;
    std::string text;  // The prompt, unless it came as tokens.
    std::vector<engine::TokenId> tokens;
    bool is_tokens = false;
    TurnOptions options;
};

using TokenizeRequest = std::variant<ChatRequest, CompletionRequest>;

// Pure. On failure returns the 400 whose `param` names the field, and `out` is unspecified. Fields
// we do not know are ignored; fields that we know and cannot honour are refused, never dropped.
// `vocab_size` bounds token ids.
std::optional<ApiError> parse_chat_request(std::string_view body, std::int32_t vocab_size,
                                           ChatRequest& out);
std::optional<ApiError> parse_completion_request(std::string_view body, std::int32_t vocab_size,
                                                 CompletionRequest& out);
// Of either endpoint: a body with `messages` is a chat, every other is judged as a completion.
std::optional<ApiError> parse_tokenize_request(std::string_view body, std::int32_t vocab_size,
                                               TokenizeRequest& out);

// The body of /detokenize: {"tokens": [...]}.
std::optional<ApiError> parse_detokenize_request(std::string_view body, std::int32_t vocab_size,
                                                 std::vector<engine::TokenId>& out);

}  // namespace hearth
