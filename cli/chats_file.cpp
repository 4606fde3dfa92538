// Reads the chats that replay sends: JSON lines, checked, with the line number in every error.
#include "cli/chats_file.h"

#include <boost/json.hpp>
#include <fstream>
#include <set>

namespace hearth::cli {
namespace {

namespace json = boost::json;

const std::string* string_at(const json::object& object, const char* key, std::string& keep) {
    const auto* value = object.if_contains(key);
    if (!value || !value->is_string()) return nullptr;
    keep.assign(value->as_string().data(), value->as_string().size());
    return &keep;
}

Result<Chat> read_chat(const std::string& line, std::int64_t turns_max) {
    boost::system::error_code failed;
    const json::value value = json::parse(line, failed);
    if (failed) return make_error(ErrorCode::kInvalidArgument, "not JSON: " + failed.message());
    if (!value.is_object()) return make_error(ErrorCode::kInvalidArgument, "not a JSON object");
    const json::object& object = value.as_object();
    Chat chat;
    std::string keep;
    if (!string_at(object, "id", keep))
        return make_error(ErrorCode::kInvalidArgument, "field 'id' must be a string");
    chat.id = keep;
    if (string_at(object, "system", keep)) chat.system = keep;
    const auto* turns = object.if_contains("turns");
    if (!turns || !turns->is_array())
        return make_error(ErrorCode::kInvalidArgument, "field 'turns' must be an array");
    for (std::size_t i = 0; i < turns->as_array().size(); ++i) {
        const json::value& turn = turns->as_array()[i];
        std::string role, text;
        if (!turn.is_object() || !string_at(turn.as_object(), "role", role) ||
            !string_at(turn.as_object(), "text", text))
            return make_error(
                ErrorCode::kInvalidArgument,
                "turns[" + std::to_string(i) + "] needs the strings 'role' and 'text'");
        if (role == "system") chat.system = text;
        if (role != "user") continue;
        if (static_cast<std::int64_t>(chat.user_turns.size()) < turns_max)
            chat.user_turns.push_back(text);
    }
    return chat;
}

}  // namespace

Result<std::vector<Chat>> read_chats(const std::string& path, std::int64_t chats_max,
                                     std::int64_t turns_max) {
    std::ifstream in(path);
    if (!in) return make_error(ErrorCode::kNotFound, "cannot read chats file: " + path);
    std::vector<Chat> chats;
    std::set<std::string> ids;
    std::size_t number = 0;
    for (std::string line; std::getline(in, line);) {
        ++number;
        if (static_cast<std::int64_t>(chats.size()) >= chats_max) break;
        if (line.empty()) continue;
        auto chat = read_chat(line, turns_max);
        if (!chat)
            return make_error(chat.error().code,
                              path + ":" + std::to_string(number) + ": " + chat.error().message);
        // Two dialogues under one session key would be one session that contradicts itself.
        if (!ids.insert(chat->id).second)
            return make_error(
                ErrorCode::kInvalidArgument,
                path + ":" + std::to_string(number) + ": the id '" + chat->id + "' is there twice");
        if (!chat->user_turns.empty()) chats.push_back(std::move(*chat));
    }
    if (chats.empty())
        return make_error(ErrorCode::kInvalidArgument, path + " holds no chat with a user turn");
    return chats;
}

}  // namespace hearth::cli
