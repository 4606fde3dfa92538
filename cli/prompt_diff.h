// PromptDiff: where two chat requests stop being the same prompt, by message, byte and token. Pure.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "cachenode/api/chat_request.h"
#include "cachenode/api/prompt.h"

namespace hearth::cli {

enum class PromptRelation {
    kSame,
    kGoesOn,    // B is A and more messages: what a cache is for.
    kCutShort,  // A is B and more messages.
    kDiverges,
};

// How far the two token lists are the same.
struct TokenDiff {
    std::int64_t common = 0, a = 0, b = 0;
    std::string a_text, b_text;  // The first tokens that differ, as text; empty = there is none.
};

struct PromptDiff {
    PromptRelation relation = PromptRelation::kSame;
    // Of kDiverges: "tools", or "messages[3].content"; and the byte in it.
    std::string field;
    std::size_t byte = 0;
    std::string before, a, b;  // What both have before it, and what each has from there.
    std::size_t messages_a = 0, messages_b = 0;
    std::optional<TokenDiff> tokens;  // With a model.
};

PromptDiff diff_prompts(const ChatRequest& a, const ChatRequest& b);
// The same of the prompts as a model reads them. kTooLarge: one does not fit its context.
Result<TokenDiff> diff_tokens(const PromptRenderer& renderer, const ChatRequest& a,
                              const ChatRequest& b);

std::string diff_text(const PromptDiff& diff);
boost::json::object diff_json(const PromptDiff& diff);

}  // namespace hearth::cli
