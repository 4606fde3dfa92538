// CallReader: tags found as they come, and calls by the family's names for their fields.
#include "cachenode/api/call_reader.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/stream_parser.hpp>
#include <optional>
#include <utility>

namespace hearth {

namespace json = boost::json;
using engine::ToolCall;
using engine::ToolFormat;

namespace {

constexpr std::string_view kOpen = "<tool_call>", kClose = "</tool_call>";
constexpr std::string_view kBlank = " \t\r\n";

void skip_blank(std::string_view& text) {
    text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
}

// The JSON value at the front of `text`, taken off it; nothing if there is none. Wider than what
// replies are bound to: white space and digits are not counted.
std::optional<std::string_view> take_value(std::string_view& text) {
    json::stream_parser parser;
    json::error_code failed;
    const std::size_t used = parser.write_some(text.data(), text.size(), failed);
    if (failed || !parser.done()) return std::nullopt;
    std::string_view value = text.substr(0, used);
    text.remove_prefix(used);
    value.remove_suffix(value.size() - 1 - value.find_last_not_of(kBlank));
    return value;
}

// The very bytes of the member `key` of an object's text.
std::optional<std::string> member_text(std::string_view object, std::string_view key) {
    object.remove_prefix(1);
    while (true) {
        skip_blank(object);
        const auto name = take_value(object);
        skip_blank(object);
        if (!name || !object.starts_with(':')) return std::nullopt;
        object.remove_prefix(1);
        skip_blank(object);
        const auto value = take_value(object);
        if (!value) return std::nullopt;
        if (*name == "\"" + std::string(key) + "\"") return std::string(*value);
        skip_blank(object);
        if (!object.starts_with(',')) return std::nullopt;
        object.remove_prefix(1);
    }
}

// {"name": "f", "arguments": {...}}; Llama 3 says "parameters".
std::optional<ToolCall> call_of(std::string_view text) {
    json::error_code failed;
    const json::value value = json::parse({text.data(), text.size()}, failed);
    if (failed || !value.is_object()) return std::nullopt;
    const json::object& fields = value.get_object();
    const json::value* name = fields.if_contains("name");
    const bool is_argued = fields.contains("arguments");
    const json::value* arguments = fields.if_contains(is_argued ? "arguments" : "parameters");
    if (!name || !name->is_string() || !arguments || !arguments->is_object()) return std::nullopt;
    const auto bytes = member_text(text, is_argued ? "arguments" : "parameters");
    if (!bytes) return std::nullopt;
    return ToolCall{std::string(name->get_string()), *bytes};
}

// Calls one after another, with nothing else between them than white space and separators.
std::vector<ToolCall> calls_of(std::string_view text, ToolFormat format) {
    std::vector<ToolCall> out;
    skip_blank(text);
    const bool is_list = format == ToolFormat::kMistral;
    if (is_list && !text.starts_with('[')) return {};
    if (is_list) text.remove_prefix(1);
    while (true) {
        skip_blank(text);
        if (is_list && text.starts_with(']')) {
            text.remove_prefix(1);
            break;
        }
        if (!is_list && text.empty()) break;
        const auto value = text.starts_with('{') ? take_value(text) : std::nullopt;
        auto call = value ? call_of(*value) : std::nullopt;
        if (!call) return {};
        out.push_back(std::move(*call));
        skip_blank(text);
        if (text.starts_with(is_list ? ',' : ';')) text.remove_prefix(1);
    }
    skip_blank(text);
    return text.empty() ? out : std::vector<ToolCall>{};
}

char first_of_calls(ToolFormat format) {
    return engine::call_front(format, "").front();
}

// Without the white space at its end.
std::string without_end(std::string text) {
    text.resize(text.find_last_not_of(kBlank) + 1);
    return text;
}

// The longest end of `text` that begins `tag`.
std::size_t tag_part(std::string_view text, std::string_view tag) {
    std::size_t length = std::min(text.size(), tag.size() - 1);
    while (length > 0 && !tag.starts_with(text.substr(text.size() - length))) --length;
    return length;
}

}  // namespace

void CallReader::keep(ToolCall call, Piece& piece) {
    ++calls_;
    if (calls_ == 1 || parallel_) piece.calls.push_back(std::move(call));
}

CallReader::Piece CallReader::add(std::string_view text) {
    pending_ += text;
    if (!whole_) return take_tagged(false);
    const std::size_t first = pending_.find_first_not_of(kBlank);
    if (first != std::string::npos && !has_text_)
        may_call_ = pending_[first] == first_of_calls(format_);
    if (first == std::string::npos) return {};
    if (may_call_) return format_ == ToolFormat::kTagged ? take_tagged(false) : Piece{};
    has_text_ = true;
    return {std::exchange(pending_, {}), {}};
}

CallReader::Piece CallReader::finish() {
    return format_ == ToolFormat::kTagged ? take_tagged(true) : take_whole();
}

CallReader::Piece CallReader::take_whole() {
    Piece piece;
    for (ToolCall& call : calls_of(pending_, format_)) keep(std::move(call), piece);
    if (piece.calls.empty()) piece.text = std::move(pending_);
    pending_.clear();
    return piece;
}

CallReader::Piece CallReader::take_tagged(bool at_end) {
    Piece piece;
    while (true) {
        const std::size_t open = pending_.find(kOpen);
        const std::size_t close = open == std::string::npos ? open : pending_.find(kClose, open);
        if (close == std::string::npos) break;
        const std::size_t inner = open + kOpen.size(), end = close + kClose.size();
        auto calls = calls_of(std::string_view(pending_).substr(inner, close - inner), format_);
        // What only looks like a call is text like what stands before it.
        piece.text +=
            calls.empty() ? pending_.substr(0, end) : without_end(pending_.substr(0, open));
        for (ToolCall& call : calls) keep(std::move(call), piece);
        pending_.erase(0, end);
    }
    std::string certain = pending_;
    if (!at_end) {
        const std::size_t open = pending_.find(kOpen);
        const std::size_t part = tag_part(pending_, kOpen);
        certain.resize(open != std::string::npos ? open : pending_.size() - part);
    }
    if (!at_end || calls_ > 0) certain = without_end(std::move(certain));
    pending_.erase(0, certain.size());
    piece.text += certain;
    return piece;
}

engine::ChatMessage reply_message(CallReader reader, std::string_view text) {
    engine::ChatMessage out;
    out.role = engine::Role::kAssistant;
    for (CallReader::Piece& piece : std::vector{reader.add(text), reader.finish()}) {
        out.content += piece.text;
        for (ToolCall& call : piece.calls) out.calls.push_back(std::move(call));
    }
    return out;
}

}  // namespace hearth
