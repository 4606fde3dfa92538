// ResponseRequest: the body of POST /v1/responses, OpenAI's newer endpoint, as a dialogue.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cachenode/api/tools.h"
#include "cachenode/api/turn_options.h"
#include "engine/text/chat_template.h"

namespace hearth {

// Messages, and the ids of the calls in them: results name them.
struct Dialogue {
    std::vector<engine::ChatMessage> messages;
    std::vector<std::string> call_ids;
};

struct ResponseRequest {
    std::string model;
    std::string instructions;  // Of this turn alone; not kept with the response.
    std::string previous_id;   // Empty = none.
    bool store = true;
    Dialogue dialogue;  // What is kept of the previous response, and the input behind it.
    ToolOptions tools;
    TurnOptions options;
    boost::json::object shown;  // Settings that the answer repeats, as they were given.
};

// Code of the 404 about a previous response.
constexpr std::string_view kPreviousNotFound = "previous_response_not_found";

// What is kept of the response `id`; null if nothing.
using FindDialogue = std::function<const Dialogue*(const std::string& id)>;

// On failure returns the 400 (404 for an unknown previous response) whose `param` names the field.
std::optional<ApiError> parse_response_request(std::string_view body, std::int32_t vocab_size,
                                               const FindDialogue& find, ResponseRequest& out);

}  // namespace hearth
