// One call with the fleet's secret.
#include "router/admin/ask_node.h"

#include <boost/json.hpp>
#include <utility>

#include "common/wire/fleet_secret.h"

namespace hearth {

Task<Result<boost::json::object>> ask_node(std::shared_ptr<RouterCore> core, std::string address,
                                           std::string method, SessionKey session,
                                           std::chrono::milliseconds timeout) {
    const std::string target = std::string(kPeerSession) + session.hex();
    HeaderList headers;
    if (!core->config->fleet_secret.empty())
        headers.emplace_back(kFleetSecretHeader, core->config->fleet_secret);
    const auto answer =
        co_await core->client.call(address, method, target, std::move(headers), {}, timeout);
    if (!answer) co_return answer.error();
    boost::system::error_code bad;
    boost::json::value body = boost::json::parse(answer->body, bad);
    if (answer->status != 200 || bad || !body.is_object())
        co_return make_error(ErrorCode::kUnsupported,
                             "the node answered " + std::to_string(answer->status));
    co_return std::move(body.as_object());
}

}  // namespace hearth
