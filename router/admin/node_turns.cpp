// A session's turns may be on several nodes: before a move, and after it.
#include "router/admin/node_turns.h"

#include <boost/json.hpp>
#include <utility>

#include "router/admin/ask_node.h"

namespace hearth {
namespace {

namespace json = boost::json;

constexpr std::chrono::milliseconds kNodeTimeout{1'000};

Result<json::array> turns_in(Result<json::object>&& answer) {
    if (!answer) return answer.error();
    json::value* turns = answer->if_contains("turns");
    if (turns == nullptr || !turns->is_array())
        return make_error(ErrorCode::kUnsupported, "the node answered without turns");
    return std::move(turns->as_array());
}

}  // namespace

Task<boost::json::array> node_turns(std::shared_ptr<RouterCore> core, SessionKey session) {
    json::array out;
    const auto members = core->membership.now();
    for (const Member& member : members->members) {
        if (!member.is_hearth()) continue;
        auto answer = co_await ask_node(core, member.record.address, "GET", session, kNodeTimeout);
        auto turns = turns_in(std::move(answer));
        if (turns && turns->empty()) continue;
        json::object node{{"node", member.record.node_id}};
        if (turns)
            node["turns"] = std::move(*turns);
        else
            node["error"] = turns.error().message;
        out.push_back(std::move(node));
    }
    co_return out;
}

}  // namespace hearth
