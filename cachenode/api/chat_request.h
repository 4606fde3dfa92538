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
#include "cachenode/api/turn_options.h"
#include "engine/text/chat_template.h"

namespace hearth {

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
