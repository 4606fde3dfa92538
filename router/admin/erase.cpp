// Nodes first: a record without KV is a hint too many, KV without a record would be forgotten here.
#include "router/admin/erase.h"

#include <boost/json.hpp>
#include <string>

#include "common/wire/fleet_secret.h"

namespace hearth {
namespace {

namespace json = boost::json;

constexpr std::chrono::milliseconds kNodeTimeout{5'000};

Result<std::int64_t> bytes_in(const HttpClient::Answer& answer) {
    boost::system::error_code bad;
    const json::value body = json::parse(answer.body, bad);
    const json::object* object = bad ? nullptr : body.if_object();
    const json::value* bytes = object == nullptr ? nullptr : object->if_contains("bytes");
    if (answer.status != 200 || bytes == nullptr || !bytes->is_int64())
        return make_error(ErrorCode::kUnsupported,
                          "the node answered " + std::to_string(answer.status));
    return bytes->get_int64();
}

}  // namespace

Task<ErasedEverywhere> erase_everywhere(std::shared_ptr<RouterCore> core, SessionKey session) {
    ErasedEverywhere out;
    const auto members = core->membership.now();
    const std::string target = std::string(kPeerErase) + session.hex();
    for (const Member& member : members->members) {
        if (!member.is_hearth()) continue;
        HeaderList headers;
        if (!core->config->fleet_secret.empty())
            headers.emplace_back(kFleetSecretHeader, core->config->fleet_secret);
        const auto answer = co_await core->client.call(member.record.address, "DELETE", target,
                                                       std::move(headers), {}, kNodeTimeout);
        const auto bytes = answer ? bytes_in(*answer) : Result<std::int64_t>(answer.error());
        json::object node{{"node", member.record.node_id}};
        if (bytes) {
            node["bytes"] = *bytes;
            out.bytes += *bytes;
        } else {
            node["error"] = bytes.error().message;
            out.complete = false;
        }
        out.nodes.push_back(std::move(node));
    }
    if (core->store != nullptr) {
        const Result<void> forgotten = co_await core->store->erase_session(session);
        if (!forgotten) out.complete = false;
    }
    co_return out;
}

}  // namespace hearth
