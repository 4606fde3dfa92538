// ToolFormat: the families' spellings, and the texts found in templates' string literals.
#include "engine/text/tool_format.h"

#include <algorithm>

namespace hearth::engine {
namespace {

// The string literal of a Jinja template that holds the byte at `at`, without its escapes.
std::string literal_around(std::string_view text, std::size_t at) {
    const std::size_t quote = text.find_last_of("'\"", at);
    if (quote == text.npos) return {};
    std::string out;
    for (std::size_t i = quote + 1; i < text.size() && text[i] != text[quote]; ++i) {
        const bool escape = text[i] == '\\' && i + 1 < text.size();
        if (escape) ++i;
        out += escape && text[i] == 'n' ? '\n' : text[i];
    }
    return out;
}

// All string literals that are printed in [from, end), joined.
std::string literals_between(std::string_view text, std::size_t from, std::size_t end) {
    std::string out;
    for (auto at = text.find("{{", from); at < end; at = text.find("{{", at + 2)) {
        const std::size_t quote = text.find_first_of("'\"", at);
        const std::size_t close = text.find("}}", at);
        if (quote < close) out += literal_around(text, quote + 1);
    }
    return out;
}

ToolFormat find_tagged(std::string_view text, ToolTexts& out) {
    const std::size_t front = text.find("# Tools");
    const std::size_t back = text.find("</tools>", front == text.npos ? 0 : front);
    // The page of rules may name both tags itself before it closes.
    const std::size_t last = back == text.npos ? back : text.rfind("</tools>\\n\\n");
    if (front == text.npos || back == text.npos || text.find("<tool_call>") == text.npos)
        return ToolFormat::kNone;
    out.front = literal_around(text, front);
    out.front.erase(0, out.front.find_first_not_of('\n'));
    out.front += '\n';
    out.between = "\n";
    out.back = literal_around(text, last == text.npos ? back : last);
    out.back.resize(std::min(out.back.find("<|im_end|>"), out.back.size()));
    return ToolFormat::kTagged;
}

ToolFormat find_llama3(std::string_view text, ToolTexts& out) {
    const std::size_t begin = text.find("not tools_in_user_message");
    const std::size_t end = text.find("{%- for", begin == text.npos ? 0 : begin);
    if (begin == text.npos || end == text.npos) return ToolFormat::kNone;
    out.front = literals_between(text, begin, end);
    out.between = out.back = "\n\n";
    if (text.find("Environment: ipython") != text.npos) out.system_front = "Environment: ipython\n";
    return ToolFormat::kLlama3;
}

ToolTexts own_texts(ToolFormat family) {
    ToolTexts out;
    if (family == ToolFormat::kTagged) {
        out.front =
            "# Tools\n\nThese functions can be called. Each is described by one line of JSON "
            "between <tools> and </tools>:\n<tools>\n";
        out.between = "\n";
        out.back =
            "\n</tools>\n\nA call is JSON with the function's name and its arguments, between "
            "<tool_call> and </tool_call>:\n<tool_call>\n{\"name\": <function-name>, "
            "\"arguments\": <args-json-object>}\n</tool_call>";
    } else if (family == ToolFormat::kLlama3) {
        out.front =
            "The functions below can be called. To call one, reply with JSON and nothing else, "
            "in the form {\"name\": function name, \"parameters\": object of its "
            "arguments}.\n\n";
        out.between = out.back = "\n\n";
    }
    return out;
}

}  // namespace

ToolFormat tool_format_of(ToolFormat family, std::string_view text, ToolTexts& out) {
    if (family == ToolFormat::kMistral) {
        const bool knows = text.empty() || text.find("[AVAILABLE_TOOLS]") != text.npos;
        out = {"[", ", ", "]", {}};
        return knows ? family : ToolFormat::kNone;
    }
    if (text.empty()) {
        out = own_texts(family);
        return family;
    }
    if (family == ToolFormat::kTagged) return find_tagged(text, out);
    return family == ToolFormat::kLlama3 ? find_llama3(text, out) : ToolFormat::kNone;
}

std::string call_front(ToolFormat format, std::string_view name) {
    const std::string named = "{\"name\": \"" + std::string(name) + "\", ";
    switch (format) {
        case ToolFormat::kTagged: return "<tool_call>\n" + named + "\"arguments\": ";
        case ToolFormat::kLlama3: return named + "\"parameters\": ";
        case ToolFormat::kMistral: return "[" + named + "\"arguments\": ";
        case ToolFormat::kNone: break;
    }
    return named;
}

std::string_view call_back(ToolFormat format) {
    switch (format) {
        case ToolFormat::kTagged: return "}\n</tool_call>";
        case ToolFormat::kMistral: return "}]";
        case ToolFormat::kLlama3:
        case ToolFormat::kNone: break;
    }
    return "}";
}

std::string spell_reply(ToolFormat format, std::string_view content,
                        const std::vector<ToolCall>& calls) {
    std::string out(content);
    for (std::size_t i = 0; i < calls.size(); ++i) {
        if (!out.empty()) out += format == ToolFormat::kMistral ? ", " : "\n";
        std::string front = call_front(format, calls[i].name);
        std::string back(call_back(format));
        if (format == ToolFormat::kMistral && i > 0) front.erase(0, 1);
        if (format == ToolFormat::kMistral && i + 1 < calls.size()) back.pop_back();
        out += front + calls[i].arguments + back;
    }
    return out;
}

std::string json_quoted(std::string_view text) {
    constexpr std::string_view kPlainEscapes = "\"\\\n\r\t\b\f", kLetters = "\"\\nrtbf";
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const std::size_t known = kPlainEscapes.find(c);
        if (known != kPlainEscapes.npos) {
            (out += '\\') += kLetters[known];
        } else if (byte < 0x20) {
            ((out += "\\u00") += kHex[byte >> 4]) += kHex[byte & 15];
        } else {
            out += c;
        }
    }
    return out + '"';
}

}  // namespace hearth::engine
