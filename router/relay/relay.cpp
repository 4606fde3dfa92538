// Headers rewritten once, body bytes forwarded as they come, and who is to blame when it breaks.
#include "router/relay/relay.h"

#include <algorithm>

#include "common/wire/headers.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

// An answer of a known length up to this is read whole before it is passed on, so that it keeps its
// length and a node that dies in the middle costs nothing but time.
constexpr std::uint64_t kWholeAnswerBytesMax = 256 * 1024;
// How long an upstream that stopped reading the request has to say why.
constexpr milliseconds kEarlyAnswerMs{1'000};
constexpr int kClientLeft = 499;

// '-' and '_' are one to servers that fold names, so a client must not slip in hearth_session.
bool is_ours(std::string_view name) {
    constexpr std::string_view kPrefix = "hearth";
    return name.size() > kPrefix.size() &&
           (name[kPrefix.size()] == '-' || name[kPrefix.size()] == '_') &&
           equals_ignore_case(name.substr(0, kPrefix.size()), kPrefix);
}

// Fields that a Connection field names belong to that connection too (RFC 9110 section 7.6.1).
bool named_by_connection(std::string_view name, const std::vector<HeaderField>& fields) {
    for (const HeaderField& field : fields) {
        if (!equals_ignore_case(field.name, "connection")) continue;
        std::string_view rest = field.value;
        while (!rest.empty()) {
            const std::size_t end = std::min(rest.find(','), rest.size());
            std::string_view token = rest.substr(0, end);
            rest.remove_prefix(std::min(end + 1, rest.size()));
            while (!token.empty() && (token.front() == ' ' || token.front() == '\t'))
                token.remove_prefix(1);
            while (!token.empty() && (token.back() == ' ' || token.back() == '\t'))
                token.remove_suffix(1);
            if (equals_ignore_case(token, name)) return true;
        }
    }
    return false;
}

bool is_hop_field(std::string_view name, const std::vector<HeaderField>& fields) {
    return is_connection_field(name) || named_by_connection(name, fields);
}

bool is_key_field(std::string_view name) {
    return equals_ignore_case(name, "authorization") || equals_ignore_case(name, "x-api-key");
}

// Of the node's own limits, which are no business of a client that has ours.
bool is_limit_field(std::string_view name) {
    constexpr std::string_view kPrefix = "x-ratelimit-";
    return equals_ignore_case(name.substr(0, kPrefix.size()), kPrefix);
}

bool is_event_stream(const ResponseHead& head) {
    constexpr std::string_view kType = "text/event-stream";
    return equals_ignore_case(head.find("content-type").substr(0, kType.size()), kType);
}

// Whether a stream of events is between two of them, so that one more may be added.
class EventEnds {
  public:
    void take(std::string_view bytes) {
        tail_.append(bytes.substr(bytes.size() - std::min<std::size_t>(bytes.size(), 4)));
        if (tail_.size() > 4) tail_.erase(0, tail_.size() - 4);
    }
    bool at_end() const {
        return tail_.empty() || tail_.ends_with("\n\n") || tail_.ends_with("\r\n\r\n") ||
               tail_.ends_with("\r\r");
    }

  private:
    std::string tail_;
};

}  // namespace

std::vector<HeaderField> Relay::request_fields(const SessionKey& session) {
    const std::vector<HeaderField>& given = exchange_.head().fields;
    const RouterConfig& config = *core_.config;
    // Nodes must not learn the keys of our tenants.
    const bool own_key = !config.tenants.empty() || !config.upstream_api_key.empty();
    session_hex_ = session.hex();
    std::vector<HeaderField> fields;
    fields.reserve(given.size() + 6);
    for (const HeaderField& field : given) {
        if (is_hop_field(field.name, given) || is_ours(field.name) ||
            equals_ignore_case(field.name, "host") ||
            equals_ignore_case(field.name, "x-request-id"))
            continue;
        if (own_key && is_key_field(field.name)) continue;
        fields.push_back(field);
    }
    if (own_key) authorization_ = upstream_authorization(config, exchange_.head());
    if (!authorization_.empty()) fields.push_back({"authorization", authorization_});
    if (!facts_.tenant_salt.empty()) fields.push_back({header::kTenant, facts_.tenant_salt});
    fields.push_back({header::kSession, session_hex_});
    epoch_ = std::to_string(facts_.epoch);
    if (facts_.epoch > 0) fields.push_back({header::kEpoch, epoch_});
    fields.push_back({header::kRequestId, facts_.request_id});
    fields.push_back({"x-request-id", facts_.request_id});
    return fields;
}

std::vector<HeaderField> Relay::answer_headers(const ResponseHead& head) {
    std::vector<HeaderField> headers;
    headers.reserve(head.fields.size() + 2);
    for (const HeaderField& field : head.fields) {
        if (is_hop_field(field.name, head.fields) || is_ours(field.name) ||
            equals_ignore_case(field.name, "x-request-id"))
            continue;
        if (facts_.limits != nullptr && is_limit_field(field.name)) continue;
        headers.push_back(field);
    }
    if (facts_.limits != nullptr)
        for (const auto& [name, value] : *facts_.limits) headers.push_back({name, value});
    headers.push_back({"x-request-id", facts_.request_id});
    if (core_.config->expose_route) {
        route_ = "node=" + facts_.node;
        route_.append(";reason=").append(to_string(*facts_.reason));
        route_.append(";key=").append(to_string(*facts_.source));
        headers.push_back({header::kRoute, route_});
    }
    return headers;
}

Task<void> Relay::refuse(Refusal refusal) {
    facts_.status = refusal.status;
    facts_.stream = false;
    std::string id = facts_.request_id;
    if (facts_.limits != nullptr)
        refusal.headers.insert(refusal.headers.end(), facts_.limits->begin(), facts_.limits->end());
    co_await hearth::refuse(exchange_, std::move(refusal), std::move(id));
}

Relay::Outcome Relay::client_left(const Error& error) {
    const bool slow = error.code == ErrorCode::kTimeout;
    facts_.aborted = slow ? "slow_client" : "client_gone";
    facts_.status = kClientLeft;
    exchange_.abort();
    return Outcome::kAnswered;
}

namespace {

struct Unguard {
    ClientWatch& watch;
    ~Unguard() { watch.guard(nullptr); }
};

}  // namespace

Task<Relay::Outcome> Relay::send(const Member& member, const SessionKey& session, bool pass_busy) {
    bool fresh = false;
    while (true) {
        stale_ = false;
        const std::string address = member.record.address;
        auto upstream = co_await core_.client.open(address, fresh);
        if (!upstream && upstream.error().code == ErrorCode::kExhausted) {
            core_.metrics.rejected("descriptors");
            Refusal refusal{503, "overloaded", "the router can open no connection now", {}, 1};
            co_await refuse(std::move(refusal));
            co_return Outcome::kAnswered;
        }
        if (!upstream) co_return Outcome::kUnreachable;
        const Unguard unguard{watch_};  // Goes before the upstream does.
        const Outcome outcome = co_await converse(**upstream, member, session, pass_busy);
        if (outcome != Outcome::kDied || !stale_ || !body_.replayable()) co_return outcome;
        core_.metrics.retried("stale_connection");
        fresh = true;
    }
}

Task<Relay::Outcome> Relay::converse(ClientExchange& upstream, const Member& member,
                                     const SessionKey& session, bool pass_busy) {
    const std::optional<Outcome> over = co_await send_request(upstream, session);
    if (over) co_return *over;
    watch_.guard(&upstream);
    // It may have gone while no upstream was guarded.
    if (watch_.gone()) {
        const Error gone = make_error(ErrorCode::kCancelled, "the client left");
        co_return client_left(gone);
    }
    const Outcome outcome = co_await read_answer(upstream, member, pass_busy);
    co_return outcome;
}

// Nothing if the request is out, or if the node stopped reading it and may have said why.
Task<std::optional<Relay::Outcome>> Relay::send_request(ClientExchange& upstream,
                                                        const SessionKey& session) {
    std::string_view first_body = body_.kept();
    if (body_.read_bytes() == 0) {
        const auto piece = co_await body_.read(false);
        if (!piece) {
            const Outcome outcome = co_await fail_body(piece.error());
            co_return outcome;
        }
        first_body = *piece;  // Not kept if there is no room.
    }
    const RequestHead& head = exchange_.head();
    ClientExchange::RequestOptions options;
    options.method = head.method;
    options.target = head.target;
    options.body = head.body;
    options.content_length = head.content_length;
    if (head.body == BodyKind::kChunked && body_.ended()) {
        options.body = BodyKind::kLength;
        options.content_length = body_.read_bytes();
    }
    const std::vector<HeaderField> fields = request_fields(session);
    Result<void> sent = co_await upstream.send_head(options, fields, first_body);
    if (facts_.written == 0) facts_.written = core_.clock.now();
    while (sent.ok() && !body_.ended()) {
        const auto piece = co_await body_.read(false);
        if (!piece) {
            const Outcome outcome = co_await fail_body(piece.error());
            co_return outcome;
        }
        if (!piece->empty()) sent = co_await upstream.write_body(*piece);
    }
    if (sent.ok() && options.body == BodyKind::kChunked) sent = co_await upstream.finish_body();
    if (body_.ended()) watch_.start();
    write_failed_ = !sent.ok();
    co_return std::nullopt;
}

// The client's own body failed: the node never gets the rest.
Task<Relay::Outcome> Relay::fail_body(Error error) {
    if (error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kCancelled)
        co_return client_left(error);
    Refusal refusal = body_refusal(error);
    co_await refuse(std::move(refusal));
    co_return Outcome::kAnswered;
}

Task<Relay::Outcome> Relay::read_answer(ClientExchange& upstream, const Member& member,
                                        bool pass_busy) {
    milliseconds timeout(core_.config->first_byte_timeout_ms);
    if (write_failed_) timeout = kEarlyAnswerMs;
    const auto head = co_await upstream.read_head(timeout);
    if (!head) {
        core_.metrics.node_answered(member.record.node_id, 0);
        stale_ = upstream.reused() && head.error().code == ErrorCode::kUnavailable;
        const Outcome outcome = co_await fail(head.error());
        co_return outcome;
    }
    const ResponseHead& answer = **head;
    core_.metrics.node_answered(member.record.node_id, answer.status);
    moved_to_ = answer.find(header::kMovedTo);
    if (answer.status == 503 && !pass_busy) co_return Outcome::kBusy;
    facts_.status = answer.status;
    facts_.stream = is_event_stream(answer);
    const bool whole = !facts_.stream && answer.body != BodyKind::kChunked &&
                       answer.body != BodyKind::kUntilClose &&
                       answer.content_length <= kWholeAnswerBytesMax;
    Outcome outcome = Outcome::kAnswered;
    if (whole)
        outcome = co_await relay_whole(upstream, answer);
    else
        outcome = co_await relay_stream(upstream, answer);
    co_return outcome;
}

// The node failed while the client has not a byte of an answer.
Task<Relay::Outcome> Relay::fail(Error error) {
    if (watch_.gone()) co_return client_left(error);
    if (error.code != ErrorCode::kTimeout || write_failed_) co_return Outcome::kDied;
    facts_.aborted = "deadline";
    Refusal refusal{504, "node_timeout", "the node did not answer in time"};
    co_await refuse(std::move(refusal));
    co_return Outcome::kAnswered;
}

Task<Relay::Outcome> Relay::relay_whole(ClientExchange& upstream, const ResponseHead& head) {
    milliseconds timeout(core_.config->first_byte_timeout_ms);
    std::string body;
    std::string_view at_hand;  // Of the body: in the connection's buffer, if one read brought it.
    while (true) {
        const auto piece = co_await upstream.read_body_some(timeout);
        if (!piece) {
            const Outcome outcome = co_await fail(piece.error());
            co_return outcome;
        }
        if (piece->empty()) break;
        if (facts_.usage != nullptr) facts_.usage->take(*piece);
        if (body.empty() && piece->size() == head.content_length) {
            at_hand = *piece;
            break;
        }
        body.append(*piece);
        at_hand = body;
        timeout = milliseconds(core_.config->idle_stream_timeout_ms);
    }
    facts_.first_byte = core_.clock.now();
    const std::vector<HeaderField> headers = answer_headers(head);
    const Result<void> sent = co_await exchange_.respond(head.status, headers, at_hand);
    if (!sent) co_return client_left(sent.error());
    co_return Outcome::kAnswered;
}

Task<Relay::Outcome> Relay::relay_stream(ClientExchange& upstream, const ResponseHead& head) {
    const milliseconds idle(core_.config->idle_stream_timeout_ms);
    const milliseconds first(core_.config->first_byte_timeout_ms);
    EventEnds events;
    bool started = false;
    while (true) {
        // Some servers send the head at once and then let the turn wait in their queue.
        milliseconds timeout = first;
        if (started) timeout = idle;
        const auto piece = co_await upstream.read_body_some(timeout);
        if (!piece && !started) {
            const Outcome outcome = co_await fail(piece.error());
            co_return outcome;
        }
        if (!piece && watch_.gone()) co_return client_left(piece.error());
        if (!piece) {
            co_await break_stream(piece.error(), facts_.stream && events.at_end());
            co_return Outcome::kAnswered;
        }
        if (!started) {
            exchange_.start_stream(head.status, answer_headers(head));
            facts_.first_byte = core_.clock.now();
            started = true;
        }
        if (piece->empty()) break;
        events.take(*piece);
        if (facts_.usage != nullptr) facts_.usage->take(*piece);
        const Result<void> sent = co_await exchange_.write(*piece);
        if (!sent) co_return client_left(sent.error());
    }
    const Result<void> sent = co_await exchange_.finish_stream();
    if (!sent) co_return client_left(sent.error());
    co_return Outcome::kAnswered;
}

// The client has part of an answer that will get no end: it must not look like a whole one.
Task<void> Relay::break_stream(Error error, bool at_event_end) {
    facts_.aborted = error.code == ErrorCode::kTimeout ? "deadline" : "node_lost";
    if (at_event_end) {
        const Refusal refusal{502, "node_lost", "the node failed in the middle of its answer"};
        const std::string event = "data: " + refusal_body(refusal) + "\n\n";
        (void)co_await exchange_.write(event);
    }
    exchange_.abort();
}

}  // namespace hearth
