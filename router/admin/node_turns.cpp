// A session's turns may be on several nodes: before a move, and after it.
#include "router/admin/node_turns.h"

#include <boost/json.hpp>
#include <string>

#include "common/wire/fleet_secret.h"

namespace hearth {
namespace {

namespace json = boost::json;

constexpr std::chrono::milliseconds kNodeTimeout{1'000};

Result<json::array> turns_in(const Result<HttpClient::Answer>& answer) {
    if (!answer) return answer.error();
    boost::system::error_code bad;
    json::value body = json::parse(answer->body, bad);
    json::object* object = bad ? nullptr : body.if_object();
    json::value* turns = object == nullptr ? nullptr : object->if_contains("turns");
    if (answer->status != 200 || turns == nullptr || !turns->is_array())
        return make_error(ErrorCode::kUnsupported,
                          "the node answered " + std::to_string(answer->status));
    return std::move(turns->as_array());
}

}  // namespace

Task<boost::json::array> node_turns(std::shared_ptr<RouterCore> core, SessionKey session) {
    json::array out;
    const auto members = core->membership.now();
    const std::string target = std::string(kPeerErase) + session.hex();
    for (const Member& member : members->members) {
        if (!member.is_hearth()) continue;
        HeaderList headers;
        if (!core->config->fleet_secret.empty())
            headers.emplace_back(kFleetSecretHeader, core->config->fleet_secret);
        const auto answer = co_await core->client.call(member.record.address, "GET", target,
                                                       std::move(headers), {}, kNodeTimeout);
        auto turns = turns_in(answer);
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
