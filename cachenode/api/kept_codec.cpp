// Kept responses as text: JSON, read with every field checked: a peer may be of another version.
#include "cachenode/api/kept_codec.h"

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <utility>

#include "common/wire/response_id.h"

namespace hearth {

namespace json = boost::json;
using engine::ChatMessage;
using engine::Role;

namespace {

constexpr std::array<std::pair<Role, std::string_view>, 4> kRoles = {
    {{Role::kSystem, "system"},
     {Role::kUser, "user"},
     {Role::kAssistant, "assistant"},
     {Role::kTool, "tool"}}};

json::object to_json(const ChatMessage& message) {
    json::object out;
    for (const auto& [role, name] : kRoles)
        if (role == message.role) out["role"] = name;
    out["content"] = message.content;
    json::array calls;
    for (const engine::ToolCall& call : message.calls)
        calls.push_back(json::object{{"name", call.name}, {"arguments", call.arguments}});
    out["calls"] = std::move(calls);
    return out;
}

// The text or list `key` of an object; null if `value` is no object or has no such member.
const json::string* text_at(const json::value& value, std::string_view key) {
    const json::object* object = value.if_object();
    const json::value* found = object ? object->if_contains({key.data(), key.size()}) : nullptr;
    return found ? found->if_string() : nullptr;
}

const json::array* list_at(const json::value& value, std::string_view key) {
    const json::object* object = value.if_object();
    const json::value* found = object ? object->if_contains({key.data(), key.size()}) : nullptr;
    return found ? found->if_array() : nullptr;
}

std::string text_of(const json::string& text) {
    return {text.data(), text.size()};
}

bool read_message(const json::value& value, ChatMessage& out) {
    const json::string* role = text_at(value, "role");
    const json::string* content = text_at(value, "content");
    const json::array* calls = list_at(value, "calls");
    if (role == nullptr || content == nullptr || calls == nullptr) return false;
    bool is_known = false;
    for (const auto& [known, name] : kRoles) {
        if (std::string_view(role->data(), role->size()) != name) continue;
        out.role = known;
        is_known = true;
    }
    out.content = text_of(*content);
    for (const json::value& call : *calls) {
        const json::string* name = text_at(call, "name");
        const json::string* arguments = text_at(call, "arguments");
        if (name == nullptr || arguments == nullptr) return false;
        out.calls.push_back({text_of(*name), text_of(*arguments)});
    }
    return is_known;
}

bool read_response(const json::value& value, std::string& id, KeptResponse& out) {
    const json::string* own = text_at(value, "id");
    const json::string* answer = text_at(value, "answer");
    const json::array* messages = list_at(value, "messages");
    const json::array* calls = list_at(value, "call_ids");
    if (own == nullptr || answer == nullptr || messages == nullptr || calls == nullptr)
        return false;
    id = text_of(*own);
    out.answer = text_of(*answer);
    for (const json::value& message : *messages)
        if (!read_message(message, out.dialogue.messages.emplace_back())) return false;
    for (const json::value& call : *calls) {
        if (!call.is_string()) return false;
        out.dialogue.call_ids.push_back(text_of(call.get_string()));
    }
    return true;
}

}  // namespace

std::string kept_text(const ResponseStore::Batch& batch) {
    if (batch.responses.empty()) return {};
    json::array list;
    for (const auto& [id, kept] : batch.responses) {
        json::array messages, calls;
        for (const ChatMessage& message : kept->dialogue.messages)
            messages.push_back(to_json(message));
        for (const std::string& call : kept->dialogue.call_ids) calls.emplace_back(call);
        list.push_back(json::object{{"id", id},
                                    {"messages", std::move(messages)},
                                    {"call_ids", std::move(calls)},
                                    {"answer", kept->answer}});
    }
    return json::serialize(json::object{{"responses", std::move(list)}});
}

bool keep_text(std::string_view text, const SessionKey& session, const std::string& salt,
               ResponseStore& out) {
    json::error_code failed;
    const json::value document = json::parse({text.data(), text.size()}, failed);
    if (failed) return false;
    const json::array* list = list_at(document, "responses");
    if (list == nullptr) return false;
    std::vector<std::pair<std::string, KeptResponse>> read(list->size());
    for (std::size_t i = 0; i < list->size(); ++i) {
        auto& [id, response] = read[i];
        if (!read_response((*list)[i], id, response)) return false;
        if (session_of_response(id) != session) return false;
    }
    for (auto& [id, response] : read) out.keep(salt, id, std::move(response));
    return true;
}

}  // namespace hearth
