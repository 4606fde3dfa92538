// ToolFormat: how a template family writes functions, calls of them, and what they gave.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hearth::engine {

enum class ToolFormat {
    kNone,
    kTagged,   // Qwen 2.5 and 3: <tool_call>{"name", "arguments"}</tool_call> behind any text.
    kLlama3,   // Llama 3.1 and later: the reply is {"name", "parameters"}.
    kMistral,  // [TOOL_CALLS] and a list of {"name", "arguments"}.
};

struct ToolCall {
    std::string name;
    std::string arguments;  // JSON, in the very bytes that the model wrote.
};

// The functions of a dialogue, each as JSON text in the spelling that the family was taught:
// kLlama3 wants 4 spaces of indent, the others one line.
struct ChatTools {
    std::vector<std::string> functions;
    bool opens_call = false;  // The reply is to be a call: its mark, if it is a token, is given.
};

// What stands around the functions in the prompt.
struct ToolTexts {
    std::string front, between, back;
    std::string system_front;  // Before all system text.
};

// How the model's own template `text`, of that family, writes tools; kNone if it does not. Without
// a text what is taught is unknown, and texts of our own say the same.
ToolFormat tool_format_of(ToolFormat family, std::string_view text, ToolTexts& out);

// A call is front, arguments, back; a reply may be several calls, and text before them only in
// kTagged.
std::string call_front(ToolFormat format, std::string_view name);
std::string_view call_back(ToolFormat format);
// The reply's text that makes these calls. For kMistral what comes behind its mark.
std::string spell_reply(ToolFormat format, std::string_view content,
                        const std::vector<ToolCall>& calls);

std::string json_quoted(std::string_view text);  // `text` is UTF-8.

}  // namespace hearth::engine
