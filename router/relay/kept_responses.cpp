// One question to node after node, the likeliest first.
#include "router/relay/kept_responses.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "common/wire/headers.h"
#include "common/wire/response_id.h"
#include "router/relay/refusal.h"

namespace hearth {
namespace {

constexpr std::chrono::milliseconds kAskMs{5'000};

// Where the session is: by this router's memory, else by the store; empty if neither knows.
Task<std::string> holder_of(std::shared_ptr<RouterCore> core, SessionKey session) {
    const Binding* known = core->bindings.peek(session);
    if (known != nullptr) co_return known->node_id;
    if (core->store == nullptr) co_return std::string();
    auto record = co_await core->store->find_session(session);
    if (!record || !record->has_value()) co_return std::string();
    co_return (*record)->node_id;
}

// Members that may have it, the likeliest first; those that take no turns keep what they have.
std::vector<std::size_t> asked_of(const Members& members, const std::optional<SessionKey>& session,
                                  const std::string& holder) {
    std::vector<std::size_t> out;
    if (session)
        for (const std::uint32_t seat : members.table.order(*session)) out.push_back(seat);
    for (std::size_t i = session ? members.seats.size() : 0; i < members.members.size(); ++i)
        out.push_back(i);
    std::erase_if(out, [&](std::size_t i) {
        const Member& member = members.members[i];
        return !member.status->usable() || (member.is_hearth() && !session);
    });
    std::stable_partition(out.begin(), out.end(), [&](std::size_t i) {
        return members.members[i].record.node_id == holder;
    });
    return out;
}

// What the nodes said so far.
struct Finding {
    std::optional<HttpClient::Answer> answer;  // Of one that has it, or that refuses the question.
    bool is_whole = true;                      // Each that was asked answered.
};

void note(Result<HttpClient::Answer> answer, Finding& out) {
    const int status = answer ? answer->status : 0;
    const bool lacks_it = status == 404 || status == 405;
    if (status < 200 || status >= 500)
        out.is_whole = false;
    else if (!lacks_it && !out.answer)
        out.answer = std::move(*answer);
}

Task<void> ask_nodes(std::shared_ptr<RouterCore> core, ServerExchange& exchange, HeaderList headers,
                     Finding& out) {
    const RequestHead& head = exchange.head();
    const auto session = session_of_response(kept_response_in(head.path));
    std::string holder;
    if (session) holder = co_await holder_of(core, *session);
    const std::shared_ptr<const Members> members = core->membership.now();
    for (const std::size_t i : asked_of(*members, session, holder)) {
        if (out.answer && head.method != "DELETE") break;
        auto answer = co_await core->client.call(members->members[i].record.address, head.method,
                                                 head.target, headers, "", kAskMs);
        note(std::move(answer), out);
    }
}

}  // namespace

std::string_view kept_response_in(std::string_view path) {
    constexpr std::string_view kFront = "/v1/responses/";
    if (!path.starts_with(kFront)) return {};
    const std::string_view id = path.substr(kFront.size());
    return id.find('/') == std::string_view::npos ? id : std::string_view();
}

Task<void> serve_kept_response(std::shared_ptr<RouterCore> core, ServerExchange& exchange,
                               std::string request_id, int& status) {
    const RequestHead& head = exchange.head();
    core->admission.follow(core->config);
    Visit visit;
    std::optional<Refusal> refusal;
    if (core->admission.has_tenants()) {
        refusal = core->admission.identify(head, visit);
        if (!refusal) refusal = core->admission.charge(head, visit);
    }
    Finding found;
    if (!refusal) {
        HeaderList headers{{std::string(header::kRequestId), request_id}};
        std::string key = upstream_authorization(*core->config, head);
        if (!key.empty()) headers.emplace_back("authorization", std::move(key));
        if (!visit.salt().empty()) headers.emplace_back(header::kTenant, visit.salt());
        co_await ask_nodes(core, exchange, std::move(headers), found);
        const bool is_lost = !found.is_whole && (!found.answer || head.method == "DELETE");
        if (is_lost)
            refusal = Refusal{502, "node_lost", "not every node that may keep it answered"};
        else if (!found.answer)
            refusal = Refusal{404, "response_not_found", "no node keeps a response with this id"};
    }
    if (refusal) {
        status = refusal->status;
        refusal->headers.insert(refusal->headers.end(), visit.limits().begin(),
                                visit.limits().end());
        co_await refuse(exchange, std::move(*refusal), std::move(request_id));
        co_return;
    }
    status = found.answer->status;
    HeaderList headers{{"content-type", "application/json"}, {"x-request-id", request_id}};
    headers.insert(headers.end(), visit.limits().begin(), visit.limits().end());
    (void)co_await exchange.respond(status, std::move(headers), found.answer->body);
}

}  // namespace hearth
