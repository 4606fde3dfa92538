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

bool has_connection(const std::vector<HeaderField>& fields) {
    for (const HeaderField& field : fields)
        if (equals_ignore_case(field.name, "connection")) return true;
    return false;
}

// `names`: whether some Connection field does.
bool is_hop_field(const HeaderField& field, bool names, const std::vector<HeaderField>& fields) {
    return is_connection_field(field) || (names && named_by_connection(field.name, fields));
}

bool is_key_field(std::string_view name) {
    return equals_ignore_case(name, "authorization") || equals_ignore_case(name, "x-api-key");
}

// The vendors' part of a trace goes on only where its traceparent does, which we write anew.
bool is_stale_trace_field(std::string_view name, const TraceContext& trace) {
    return equals_ignore_case(name, "traceparent") ||
           (!keeps_trace(trace) && equals_ignore_case(name, "tracestate"));
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

// A node that is down by its probes is given up when it was silent this long.
constexpr milliseconds kLookMs{1'000};
constexpr std::string_view kHeartbeat = ": hearth\n\n";

bool timed_out(const Error& error) {
    return error.code == ErrorCode::kTimeout;
}

}  // namespace

const std::vector<HeaderField>& Relay::request_fields(const SessionKey& session) {
    const std::vector<HeaderField>& given = exchange_.head().fields;
    const RouterConfig& config = *core_.config;
    // Texts that we made, or checked when they came, are not checked again.
    // Nodes must not learn the keys of our tenants.
    const bool own_key = !config.tenants.empty() || !config.upstream_api_key.empty();
    session_hex_ = session.digits();
    std::vector<HeaderField>& fields = fields_;
    fields.clear();
    fields.reserve(given.size() + 9);
    const bool names = has_connection(given);
    for (const HeaderField& field : given) {
        if (is_hop_field(field, names, given) || is_ours(field.name) ||
            equals_ignore_case(field.name, "host") ||
            equals_ignore_case(field.name, "x-request-id") ||
            is_stale_trace_field(field.name, facts_.trace))
            continue;
        if (own_key && is_key_field(field.name)) continue;
        fields.push_back(field);
    }
    if (own_key) authorization_ = upstream_authorization(config, exchange_.head());
    if (!authorization_.empty()) fields.emplace_back("authorization", authorization_);
    if (!facts_.tenant_salt.empty()) fields.emplace_back(header::kTenant, facts_.tenant_salt);
    if (!facts_.follow_up_bonus_s.empty())
        fields.emplace_back(header::kFollowUpBonus, facts_.follow_up_bonus_s);
    fields.emplace_back(header::kSession,
                        std::string_view(session_hex_.data(), session_hex_.size()), true);
    if (facts_.epoch > 0) {
        epoch_ = std::to_string(facts_.epoch);
        fields.emplace_back(header::kEpoch, epoch_);
    }
    fields.emplace_back(header::kRequestId, facts_.request_id, true);
    fields.emplace_back("x-request-id", facts_.request_id, true);
    traceparent_ = facts_.trace.traceparent();
    fields.emplace_back("traceparent", std::string_view(traceparent_.data(), traceparent_.size()),
                        true);
    if (deadline_ != 0) {
        const MonotonicNs left = std::max<MonotonicNs>(deadline_ - core_.clock.now(), 0);
        deadline_text_ = std::to_string(left / kMs);
        fields.emplace_back(header::kDeadline, deadline_text_);
    }
    if (streaming_) {
        forced_text_ = std::to_string(continuation_.delivered().size());
        fields.emplace_back(header::kContinue, continuation_.turn());
        fields.emplace_back(header::kForcedBytes, forced_text_);
        if (const auto last = continuation_.last_number()) {
            last_event_ = std::to_string(*last);
            fields.emplace_back(header::kLastEvent, last_event_);
        }
    } else {
        fields.emplace_back(header::kContinuable, header::kKnowsGroups, true);
    }
    return fields;
}

const std::vector<HeaderField>& Relay::answer_headers(const ResponseHead& head) {
    std::vector<HeaderField>& headers = fields_;
    headers.clear();
    headers.reserve(head.fields.size() + 2);
    const bool names = has_connection(head.fields);
    for (const HeaderField& field : head.fields) {
        // That a chat was truncated is the client's to know.
        const bool is_internal =
            is_ours(field.name) && !equals_ignore_case(field.name, header::kTruncated);
        if (is_hop_field(field, names, head.fields) || is_internal ||
            equals_ignore_case(field.name, "x-request-id"))
            continue;
        if (facts_.limits != nullptr && is_limit_field(field.name)) continue;
        headers.push_back(field);
    }
    if (facts_.limits != nullptr)
        for (const auto& [name, value] : *facts_.limits) headers.emplace_back(name, value);
    headers.emplace_back("x-request-id", facts_.request_id, true);
    if (core_.config->expose_route) {
        route_.reserve(96);
        route_.assign("node=").append(facts_.node);
        route_.append(";reason=").append(to_string(*facts_.reason));
        route_.append(";key=").append(to_string(*facts_.source));
        if (facts_.store_down) route_.append(";store=down");
        headers.emplace_back(header::kRoute, route_);
    }
    return headers;
}

Task<void> Relay::refuse(Refusal refusal) {
    if (streaming_) {
        co_await break_stream(std::move(refusal), nullptr);
        co_return;
    }
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

bool Relay::may_repeat() const {
    return !was_taken() || member_->is_hearth() || core_.config->retry_foreign;
}

Task<Relay::Outcome> Relay::send(const Member& member, const SessionKey& session,
                                 const BusyRule& pass_busy) {
    member_ = &member;
    bool fresh = false;
    while (true) {
        stale_ = false;
        std::unique_ptr<ClientExchange> upstream;
        if (!fresh) upstream = core_.client.open_kept(member.record.address);
        if (!upstream) {
            const std::string address = member.record.address;
            auto opened = co_await core_.client.open(address, true);
            if (!opened && opened.error().code == ErrorCode::kExhausted) {
                core_.metrics.rejected("descriptors");
                Refusal refusal{503, "overloaded", "the router can open no connection now", {}, 1};
                co_await refuse(std::move(refusal));
                co_return Outcome::kAnswered;
            }
            if (!opened) co_return Outcome::kUnreachable;
            upstream = std::move(*opened);
        }
        const Unguard unguard{watch_};  // Goes before the upstream does.
        if (!send_whole(*upstream, session)) {
            const std::optional<Outcome> over = co_await send_request(*upstream, session);
            if (over) co_return *over;
        }
        watch_.guard(upstream.get());
        // It may have gone while no upstream was guarded.
        if (watch_.gone())
            co_return client_left(make_error(ErrorCode::kCancelled, "the client left"));
        const Outcome outcome = co_await read_answer(*upstream, pass_busy);
        const bool failed = outcome == Outcome::kDied || outcome == Outcome::kBroken;
        if (!failed || !stale_ || !body_.replayable() || !may_repeat()) co_return outcome;
        core_.metrics.retried("stale_connection");
        fresh = true;
    }
}

ClientExchange::RequestOptions Relay::request_options(std::size_t first_bytes) const {
    const RequestHead& head = exchange_.head();
    ClientExchange::RequestOptions options;
    options.method = head.method;
    options.target = head.target;
    options.body = head.body;
    options.content_length = head.content_length;
    if (streaming_ || (head.body == BodyKind::kChunked && body_.ended())) {
        options.body = BodyKind::kLength;
        options.content_length = streaming_ ? first_bytes : body_.read_bytes();
    }
    return options;
}

// The usual request: all of it is at hand and the socket takes it at once. False if nothing of that
// was done, or if the rest is to be written by send_request().
bool Relay::send_whole(ClientExchange& upstream, const SessionKey& session) {
    half_sent_ = false;
    if (streaming_) return false;
    if (body_.read_bytes() == 0) body_.take_whole();
    if (!body_.ended()) return false;
    Result<void> sent;
    const std::string_view body = body_.kept();
    half_sent_ =
        !upstream.send_head_now(request_options(body.size()), request_fields(session), body, sent);
    if (half_sent_) return false;
    if (facts_.written == 0) facts_.written = core_.clock.now();
    watch_.start();
    write_failed_ = !sent.ok();
    return true;
}

// What of the body leaves with the head: all that is known of it.
Task<Result<std::string_view>> Relay::first_body() {
    if (streaming_) {
        resumed_body_ = continuation_.delivered();
        resumed_body_ += body_.kept();
        co_return std::string_view(resumed_body_);
    }
    if (body_.read_bytes() != 0) co_return body_.kept();
    auto piece = co_await body_.read(false);  // Not kept if there is no room.
    co_return piece;
}

// Nothing if the request is out, or if the node stopped reading it and may have said why.
Task<std::optional<Relay::Outcome>> Relay::send_request(ClientExchange& upstream,
                                                        const SessionKey& session) {
    ClientExchange::RequestOptions options;
    Result<void> sent;
    if (half_sent_) {
        options = request_options(body_.read_bytes());
        sent = co_await upstream.write_rest();
    } else {
        const auto first = co_await first_body();
        if (!first) {
            const Outcome outcome = co_await fail_body(first.error());
            co_return outcome;
        }
        options = request_options(first->size());
        sent = co_await upstream.send_head(options, request_fields(session), *first);
    }
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

// How long one read may take before somebody looks whether it is worth waiting on.
milliseconds Relay::slice_of(milliseconds limit) const {
    milliseconds slice = limit;
    if (member_->is_hearth()) slice = std::min(slice, kLookMs);
    const milliseconds heartbeat(core_.config->heartbeat_ms);
    if (streaming_ && heartbeat.count() > 0) slice = std::min(slice, heartbeat);
    if (deadline_ == 0) return slice;
    const milliseconds left((deadline_ - core_.clock.now()) / kMs + 1);
    return std::clamp(left, milliseconds(1), slice);
}

// After a read that timed out: false if the node is to be given up.
Task<bool> Relay::wait_on(milliseconds waited, milliseconds limit, bool between_events) {
    if (waited >= limit || overdue()) co_return false;
    // Its probes say that it hangs, and another node gives the same bytes.
    if (member_->is_hearth() && !member_->status->usable()) co_return false;
    const milliseconds heartbeat(core_.config->heartbeat_ms);
    if (streaming_ && between_events && heartbeat.count() > 0)
        (void)co_await exchange_.write(kHeartbeat);  // A client that left is the watch's business.
    co_return true;
}

Task<Relay::Outcome> Relay::read_answer(ClientExchange& upstream, const BusyRule& pass_busy) {
    milliseconds limit(core_.config->first_byte_timeout_ms), waited{0};
    if (write_failed_) limit = kEarlyAnswerMs;
    auto head = Result<const ResponseHead*>(nullptr);
    for (bool more = true; more;) {
        const milliseconds slice = slice_of(limit - waited);
        head = co_await upstream.read_head(slice);
        waited += slice;
        more = !head.ok() && timed_out(head.error());
        if (more) more = co_await wait_on(waited, limit, true);
    }
    if (!head) {
        core_.metrics.node_answered(member_->record.node_id, 0);
        stale_ = upstream.reused() && head.error().code == ErrorCode::kUnavailable;
        const Outcome outcome = co_await fail(head.error());
        co_return outcome;
    }
    const ResponseHead& answer = **head;
    core_.metrics.node_answered(member_->record.node_id, answer.status);
    moved_to_ = answer.find(header::kMovedTo);
    if (!answer.find(header::kNode).empty()) member_->status->speaks_hearth = true;
    const bool is_stream = is_event_stream(answer);
    const bool continuable = is_stream && !answer.find(header::kTurn).empty();
    if (streaming_ && (answer.status != 200 || !continuable)) co_return Outcome::kBroken;
    if (answer.status == 503 && !pass_busy()) co_return Outcome::kBusy;
    facts_.status = answer.status;
    facts_.stream = is_stream;
    const bool whole = !facts_.stream && answer.body != BodyKind::kChunked &&
                       answer.body != BodyKind::kUntilClose &&
                       answer.content_length <= kWholeAnswerBytesMax;
    Outcome outcome = Outcome::kAnswered;
    bool over = false;
    Result<void> sent;
    if (whole && pass_at_hand(upstream, answer, over, sent)) {
        if (!over) sent = co_await exchange_.write_rest();
        if (!sent) outcome = client_left(sent.error());
        co_return outcome;
    }
    if (continuable)
        outcome = co_await relay_continuable(upstream, answer);
    else if (whole)
        outcome = co_await relay_whole(upstream, answer);
    else
        outcome = co_await relay_stream(upstream, answer);
    co_return outcome;
}

// The node failed while the client has not a byte of its answer.
Task<Relay::Outcome> Relay::fail(Error error) {
    if (watch_.gone()) co_return client_left(error);
    if (streaming_) {
        const Outcome outcome = co_await stream_failed(error);
        co_return outcome;
    }
    const bool hangs = member_->is_hearth() && !member_->status->usable();
    if (!overdue() && (!timed_out(error) || write_failed_ || hangs)) co_return Outcome::kDied;
    facts_.aborted = "deadline";
    Refusal refusal{504, "node_timeout", "the node did not answer in time"};
    if (overdue()) refusal = {408, "deadline", "the request's deadline has passed"};
    co_await refuse(std::move(refusal));
    co_return Outcome::kAnswered;
}

// True if the whole answer came with its head, as most do, and was passed on; else what came of it
// is in first_piece_. `over`: the client's socket took all of it.
bool Relay::pass_at_hand(ClientExchange& upstream, const ResponseHead& head, bool& over,
                         Result<void>& sent) {
    first_piece_ = {};
    Result<std::string_view> body = std::string_view();
    if (!upstream.body_at_hand(body) || !body) return false;
    if (facts_.usage != nullptr) facts_.usage->take(*body);
    if (body->size() != head.content_length) {
        first_piece_ = *body;
        return false;
    }
    facts_.first_byte = core_.clock.now();
    over = exchange_.respond_now(head.status, answer_headers(head), *body, sent);
    return true;
}

Task<Relay::Outcome> Relay::relay_whole(ClientExchange& upstream, const ResponseHead& head) {
    milliseconds limit(core_.config->first_byte_timeout_ms), waited{0};
    if (!first_piece_.empty()) limit = milliseconds(core_.config->idle_stream_timeout_ms);
    std::string body(first_piece_);
    while (true) {
        const milliseconds slice = slice_of(limit - waited);
        const auto piece = co_await upstream.read_body_some(slice);
        if (!piece && timed_out(piece.error())) {
            waited += slice;
            const bool more = co_await wait_on(waited, limit, false);
            if (more) continue;
        }
        if (!piece) {
            const Outcome outcome = co_await fail(piece.error());
            co_return outcome;
        }
        if (piece->empty()) break;
        if (facts_.usage != nullptr) facts_.usage->take(*piece);
        body.append(*piece);
        limit = milliseconds(core_.config->idle_stream_timeout_ms);
        waited = milliseconds(0);
    }
    facts_.first_byte = core_.clock.now();
    const Result<void> sent = co_await exchange_.respond(head.status, answer_headers(head), body);
    if (!sent) co_return client_left(sent.error());
    co_return Outcome::kAnswered;
}

// An answer of a server that is not ours, or one without notes.
Task<Relay::Outcome> Relay::relay_stream(ClientExchange& upstream, const ResponseHead& head) {
    const milliseconds idle(core_.config->idle_stream_timeout_ms);
    // Some servers send the head at once and then let the turn wait in their queue.
    milliseconds limit(core_.config->first_byte_timeout_ms), waited{0};
    LineGate gate;
    while (true) {
        const milliseconds slice = slice_of(limit - waited);
        const auto piece = co_await upstream.read_body_some(slice);
        if (!piece && timed_out(piece.error())) {
            waited += slice;
            const bool more = co_await wait_on(waited, limit, facts_.stream && gate.at_event_end());
            if (more) continue;
        }
        if (!piece && !streaming_) {
            const Outcome outcome = co_await fail(piece.error());
            co_return outcome;
        }
        if (!piece && watch_.gone()) co_return client_left(piece.error());
        if (!piece) {
            Refusal refusal = lost(piece.error());
            co_await break_stream(std::move(refusal), &gate);
            co_return Outcome::kAnswered;
        }
        if (!streaming_) {
            exchange_.start_stream(head.status, answer_headers(head));
            facts_.first_byte = core_.clock.now();
            streaming_ = true;
            limit = idle;
        }
        waited = milliseconds(0);
        if (piece->empty()) break;
        const std::string_view bytes = facts_.stream ? gate.take(*piece) : *piece;
        if (bytes.empty()) continue;
        if (facts_.usage != nullptr) facts_.usage->take(bytes);
        Result<void> sent;
        if (!exchange_.write_now(bytes, sent)) sent = co_await exchange_.write_rest();
        if (!sent) co_return client_left(sent.error());
    }
    const Outcome outcome = co_await end_foreign(gate, head.body == BodyKind::kUntilClose);
    co_return outcome;
}

// A server whose answer lasts until it closes may have died just then: only the end mark tells.
Task<Relay::Outcome> Relay::end_foreign(const LineGate& gate, bool until_close) {
    if (facts_.stream && until_close && !gate.is_done()) {
        Refusal refusal = lost(Error{});
        co_await break_stream(std::move(refusal), &gate);
        co_return Outcome::kAnswered;
    }
    if (!gate.rest().empty()) {
        const Result<void> sent = co_await exchange_.write(gate.rest());
        if (!sent) co_return client_left(sent.error());
    }
    const Result<void> sent = co_await exchange_.finish_stream();
    if (!sent) co_return client_left(sent.error());
    co_return Outcome::kAnswered;
}

bool Relay::pass_events(std::string_view events, const ResponseHead& head, Result<void>& sent) {
    if (!streaming_) {
        exchange_.start_stream(head.status, answer_headers(head));
        facts_.first_byte = core_.clock.now();
        streaming_ = true;
    }
    if (facts_.usage != nullptr) facts_.usage->take(events);
    return exchange_.write_now(events, sent);
}

// A stream of our own nodes, from its beginning or from where another node left it.
Task<Relay::Outcome> Relay::relay_continuable(ClientExchange& upstream, const ResponseHead& head) {
    const milliseconds idle(core_.config->idle_stream_timeout_ms);
    milliseconds waited{0};
    continuation_.begin(head.find(header::kTurn));
    while (true) {
        const milliseconds slice = slice_of(idle - waited);
        const auto piece = co_await upstream.read_body_some(slice);
        if (!piece && timed_out(piece.error())) {
            waited += slice;
            const bool more = co_await wait_on(waited, idle, true);
            if (more) continue;
        }
        if (!piece && watch_.gone()) co_return client_left(piece.error());
        const bool ended = !piece.ok() || piece->empty();
        std::string_view events;
        if (ended) {
            const auto end = continuation_.finish(piece.ok());
            if (!end) {
                Error error = make_error(ErrorCode::kUnavailable, "the node gave the turn up");
                if (!piece) error = piece.error();
                const Outcome outcome = co_await fail(error);
                co_return outcome;
            }
            events = *end;
        } else {
            events = continuation_.take(*piece);
        }
        waited = milliseconds(0);
        if (events.empty()) continue;
        Result<void> sent;
        if (!pass_events(events, head, sent)) sent = co_await exchange_.write_rest();
        if (!sent) co_return client_left(sent.error());
        if (ended) break;
    }
    const Result<void> sent = co_await exchange_.finish_stream();
    if (!sent) co_return client_left(sent.error());
    co_return Outcome::kAnswered;
}

}  // namespace hearth
