// Compares tools, then message by message: role, text, calls; then the tokens.
#include "cli/prompt_diff.h"

#include <algorithm>
#include <boost/json.hpp>

namespace hearth::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t kExcerptBytes = 48;

bool continues_character(char c) {
    return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

const char* name_of(engine::Role role) {
    switch (role) {
        case engine::Role::kSystem: return "system";
        case engine::Role::kUser: return "user";
        case engine::Role::kAssistant: return "assistant";
        case engine::Role::kTool: return "tool";
    }
    return "?";
}

// About kExcerptBytes from `from` on, whole characters.
std::string from_byte(const std::string& text, std::size_t from) {
    std::size_t end = std::min(text.size(), from + kExcerptBytes);
    while (end < text.size() && continues_character(text[end])) ++end;
    return text.substr(from, end - from) + (end < text.size() ? "…" : "");
}

std::string up_to_byte(const std::string& text, std::size_t to) {
    std::size_t begin = to > kExcerptBytes ? to - kExcerptBytes : 0;
    while (begin < to && continues_character(text[begin])) ++begin;
    return (begin > 0 ? "…" : "") + text.substr(begin, to - begin);
}

// Fills in where two texts differ; false if they do not.
bool differ(const std::string& field, const std::string& a, const std::string& b, PromptDiff& out) {
    if (a == b) return false;
    const auto [at, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    std::size_t byte = static_cast<std::size_t>(at - a.begin());
    while (byte > 0 && byte < a.size() && continues_character(a[byte])) --byte;
    out.relation = PromptRelation::kDiverges;
    out.field = field;
    out.byte = byte;
    out.before = up_to_byte(a, byte);
    out.a = from_byte(a, byte);
    out.b = from_byte(b, byte);
    return true;
}

std::string text_of(const std::vector<engine::ToolCall>& calls) {
    std::string out;
    for (const engine::ToolCall& call : calls) out += call.name + "(" + call.arguments + ")\n";
    return out;
}

std::string text_of(const ToolOptions& tools) {
    std::string out;
    if (tools.offered())
        for (const json::value& each : tools.functions) out += json::serialize(each) + "\n";
    return out;
}

std::string quoted(const std::string& text) {
    return json::serialize(json::string(text));
}

const char* name_of(PromptRelation relation) {
    switch (relation) {
        case PromptRelation::kSame: return "same";
        case PromptRelation::kGoesOn: return "goes_on";
        case PromptRelation::kCutShort: return "cut_short";
        case PromptRelation::kDiverges: return "diverges";
    }
    return "?";
}

Result<std::vector<engine::TokenId>> tokens_of(const PromptRenderer& renderer,
                                               const ChatRequest& request) {
    const auto tools = chat_tools(request.tools, renderer.chat_template().tool_format());
    auto prompt = renderer.render(request.messages, tools);
    if (!prompt) return prompt.error();
    return std::move(prompt->tokens);
}

}  // namespace

PromptDiff diff_prompts(const ChatRequest& a, const ChatRequest& b) {
    PromptDiff out;
    out.messages_a = a.messages.size();
    out.messages_b = b.messages.size();
    if (differ("tools", text_of(a.tools), text_of(b.tools), out)) return out;
    const std::size_t common = std::min(a.messages.size(), b.messages.size());
    for (std::size_t i = 0; i < common; ++i) {
        const std::string at = "messages[" + std::to_string(i) + "].";
        const engine::ChatMessage &x = a.messages[i], &y = b.messages[i];
        if (differ(at + "role", name_of(x.role), name_of(y.role), out) ||
            differ(at + "content", x.content, y.content, out) ||
            differ(at + "tool_calls", text_of(x.calls), text_of(y.calls), out))
            return out;
    }
    if (out.messages_a < out.messages_b) out.relation = PromptRelation::kGoesOn;
    if (out.messages_a > out.messages_b) out.relation = PromptRelation::kCutShort;
    return out;
}

Result<TokenDiff> diff_tokens(const PromptRenderer& renderer, const ChatRequest& a,
                              const ChatRequest& b) {
    const auto x = tokens_of(renderer, a);
    if (!x) return make_error(x.error().code, "A: " + x.error().message);
    const auto y = tokens_of(renderer, b);
    if (!y) return make_error(y.error().code, "B: " + y.error().message);
    const auto [at, other] = std::mismatch(x->begin(), x->end(), y->begin(), y->end());
    TokenDiff out;
    out.common = at - x->begin();
    out.a = static_cast<std::int64_t>(x->size());
    out.b = static_cast<std::int64_t>(y->size());
    if (at != x->end()) out.a_text = renderer.tokenizer().decode(*at, true);
    if (other != y->end()) out.b_text = renderer.tokenizer().decode(*other, true);
    return out;
}

std::string diff_text(const PromptDiff& diff) {
    std::string out;
    const std::string counts =
        std::to_string(diff.messages_a) + " and " + std::to_string(diff.messages_b) + " messages";
    switch (diff.relation) {
        case PromptRelation::kSame: out = "the same prompt, " + counts + "\n"; break;
        case PromptRelation::kGoesOn:
            out = "B goes on with A: " + counts + ", all of A's are the same\n";
            break;
        case PromptRelation::kCutShort:
            out = "A goes on with B: " + counts + ", all of B's are the same\n";
            break;
        case PromptRelation::kDiverges:
            out = "they diverge in " + diff.field + ", byte " + std::to_string(diff.byte) + "\n" +
                  "  both  " + quoted(diff.before) + "\n  A     " + quoted(diff.a) + "\n  B     " +
                  quoted(diff.b) + "\n";
            break;
    }
    if (!diff.tokens) return out;
    const TokenDiff& t = *diff.tokens;
    out += "tokens: the first " + std::to_string(t.common) + " are the same, of " +
           std::to_string(t.a) + " in A and " + std::to_string(t.b) + " in B; " +
           std::to_string(t.b - t.common) + " of B are computed\n";
    if (!t.a_text.empty() || !t.b_text.empty())
        out += "  then A " + quoted(t.a_text) + ", B " + quoted(t.b_text) + "\n";
    return out;
}

json::object diff_json(const PromptDiff& diff) {
    json::object out{{"relation", name_of(diff.relation)},
                     {"messages", {diff.messages_a, diff.messages_b}}};
    if (diff.relation == PromptRelation::kDiverges) {
        out["field"] = diff.field;
        out["byte"] = diff.byte;
        out["before"] = diff.before;
        out["a"] = diff.a;
        out["b"] = diff.b;
    }
    if (diff.tokens)
        out["tokens"] = {{"common", diff.tokens->common},
                         {"a", diff.tokens->a},
                         {"b", diff.tokens->b},
                         {"a_text", diff.tokens->a_text},
                         {"b_text", diff.tokens->b_text}};
    return out;
}

}  // namespace hearth::cli
