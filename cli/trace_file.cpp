// JSON lines to turns of the cache model.
#include "cli/trace_file.h"

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <map>

#include "cli/admin_client.h"

namespace hearth::cli {
namespace {

namespace json = boost::json;

constexpr std::int64_t kBlockTokens = 512;
constexpr std::int64_t kMarkTokens = 5;  // Of a template, around each message.

using Line = std::function<Result<void>(const json::object&)>;

Result<void> each_line(const std::string& path, const Line& use) {
    std::ifstream in(path);
    if (!in) return make_error(ErrorCode::kNotFound, path + ": cannot be read");
    std::size_t number = 0;
    for (std::string text; std::getline(in, text);) {
        ++number;
        if (text.empty()) continue;
        boost::system::error_code failed;
        const json::value value = json::parse(text, failed);
        Result<void> used = make_error(ErrorCode::kInvalidArgument, "no JSON object");
        if (!failed && value.is_object()) used = use(value.as_object());
        if (!used)
            return make_error(used.error().code,
                              path + ":" + std::to_string(number) + ": " + used.error().message);
    }
    return {};
}

Error lacks(const char* what) {
    return make_error(ErrorCode::kInvalidArgument, std::string("lacks ") + what);
}

Result<void> fill_blocks(const json::array& ids, std::int64_t input, TraceTurn& turn) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
        if (!ids[i].is_int64()) return lacks("whole numbers in 'hash_ids'");
        const std::int64_t left = input - static_cast<std::int64_t>(i) * kBlockTokens;
        if (left <= 0) break;
        turn.units.push_back(ids[i].as_int64());
        turn.unit_tokens.push_back(std::min(kBlockTokens, left));
    }
    return {};
}

}  // namespace

Result<std::vector<TraceTurn>> read_trace(const std::string& path) {
    std::vector<TraceTurn> turns;
    std::map<std::string, std::int64_t> sessions;
    const auto done = each_line(path, [&](const json::object& line) -> Result<void> {
        for (const char* key : {"timestamp", "input_length", "output_length"})
            if (!line.contains(key)) return lacks(("'" + std::string(key) + "'").c_str());
        TraceTurn turn;
        turn.at_s = number_at(line, "timestamp") / 1000;
        if (!turns.empty() && turn.at_s < turns.back().at_s)
            return make_error(ErrorCode::kInvalidArgument, "is earlier than the line before");
        const auto input = static_cast<std::int64_t>(number_at(line, "input_length"));
        turn.added_tokens = static_cast<std::int64_t>(number_at(line, "output_length"));
        const json::value* ids = line.if_contains("hash_ids");
        if (ids != nullptr && ids->is_array()) {
            if (auto filled = fill_blocks(ids->as_array(), input, turn); !filled) return filled;
        } else if (line.contains("session")) {
            const auto next = static_cast<std::int64_t>(sessions.size());
            turn.units = {sessions.emplace(text_at(line, "session"), next).first->second};
            turn.unit_tokens = {input};
        } else {
            return lacks("'session' or 'hash_ids'");
        }
        turns.push_back(std::move(turn));
        return {};
    });
    if (!done) return done.error();
    if (turns.empty()) return make_error(ErrorCode::kInvalidArgument, path + ": holds no turn");
    return turns;
}

namespace {

struct Paced {
    std::vector<std::int64_t> prompt, reply;  // Tokens, by turn.
};

Result<void> read_paced(const json::object& line,
                        const std::function<std::int64_t(const std::string&)>& count,
                        std::vector<Paced>& chats) {
    const json::value* turns = line.if_contains("turns");
    if (turns == nullptr || !turns->is_array()) return lacks("the array 'turns'");
    Paced chat;
    std::int64_t tokens = 0;
    if (line.contains("system")) tokens += count(text_at(line, "system")) + kMarkTokens;
    for (const json::value& each : turns->as_array()) {
        if (!each.is_object() || !each.as_object().contains("text")) return lacks("'text'");
        const std::int64_t added = count(text_at(each.as_object(), "text")) + kMarkTokens;
        tokens += added;
        const std::string role = text_at(each.as_object(), "role");
        if (role == "user") {
            chat.prompt.push_back(tokens);
            chat.reply.push_back(0);
        } else if (role == "assistant" && !chat.reply.empty()) {
            chat.reply.back() += added;
        }
    }
    if (!chat.prompt.empty()) chats.push_back(std::move(chat));
    return {};
}

}  // namespace

Result<std::vector<TraceTurn>> read_paced_chats(
    const std::string& path, const ChatPace& pace,
    const std::function<std::int64_t(const std::string&)>& count) {
    std::vector<Paced> chats;
    const auto done =
        each_line(path, [&](const json::object& line) { return read_paced(line, count, chats); });
    if (!done) return done.error();
    if (chats.empty())
        return make_error(ErrorCode::kInvalidArgument, path + ": holds no chat with a user turn");
    const auto users = pace.users > 0 ? static_cast<std::size_t>(pace.users) : chats.size();
    std::vector<TraceTurn> turns;
    for (std::size_t k = 0, served = 1; served > 0; ++k) {
        served = 0;
        for (std::size_t user = 0; user < users; ++user) {
            const Paced& chat = chats[user % chats.size()];
            if (k >= chat.prompt.size()) continue;
            ++served;
            const double share = static_cast<double>(user) / static_cast<double>(users);
            TraceTurn turn;
            turn.at_s = (static_cast<double>(k) + share) * pace.gap_s;
            turn.units = {static_cast<std::int64_t>(user)};
            turn.unit_tokens = {chat.prompt[k]};
            turn.added_tokens = chat.reply[k];
            turns.push_back(std::move(turn));
        }
    }
    return turns;
}

}  // namespace hearth::cli
