// Nodes first: a record without KV is a hint too many, KV without a record would be forgotten here.
#include "router/admin/erase.h"

#include <boost/json.hpp>
#include <utility>

#include "router/admin/ask_node.h"

namespace hearth {
namespace {

namespace json = boost::json;

constexpr std::chrono::milliseconds kNodeTimeout{5'000};

Result<std::int64_t> bytes_in(const Result<json::object>& answer) {
    if (!answer) return answer.error();
    const json::value* bytes = answer->if_contains("bytes");
    if (bytes == nullptr || !bytes->is_int64())
        return make_error(ErrorCode::kUnsupported, "the node answered without a number of bytes");
    return bytes->get_int64();
}

}  // namespace

Task<ErasedEverywhere> erase_everywhere(std::shared_ptr<RouterCore> core, SessionKey session) {
    ErasedEverywhere out;
    const auto members = core->membership.now();
    for (const Member& member : members->members) {
        if (!member.is_hearth()) continue;
        const auto answer =
            co_await ask_node(core, member.record.address, "DELETE", session, kNodeTimeout);
        const auto bytes = bytes_in(answer);
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
