// Relay, the part for streams whose node failed: whether another one may go on, and how they end.
#include "router/relay/relay.h"

namespace hearth {
namespace {

// How long a client has to read the error event before its connection is cut.
constexpr MonotonicNs kLinger = 200 * kMs;

bool is_timeout(const Error& error) {
    return error.code == ErrorCode::kTimeout;
}

}  // namespace

bool Relay::may_continue() const {
    return body_.ended() && body_.replayable() && continuation_.possible() && !overdue();
}

// In mid-stream of one of our own nodes.
Task<Relay::Outcome> Relay::stream_failed(Error error) {
    if (may_continue()) {
        const char* cause = is_timeout(error) ? "stalled" : "node_lost";
        core_.metrics.continued(continuation_.gave_up() ? "given_up" : cause);
        co_return Outcome::kBroken;
    }
    Refusal refusal = lost(error);
    co_await break_stream(std::move(refusal), nullptr);
    co_return Outcome::kAnswered;
}

Refusal Relay::lost(const Error& error) const {
    if (overdue()) return {408, "deadline", "the request's deadline has passed"};
    if (is_timeout(error)) return {504, "node_timeout", "the node fell silent in its answer"};
    return {502, "node_lost", "the node failed in the middle of its answer"};
}

// The client has part of an answer that will get no end: it must not look like a whole one.
// `gate`: of a foreign stream; null when what the client has ends with an event.
Task<void> Relay::break_stream(Refusal refusal, const LineGate* gate) {
    const bool is_late = refusal.status == 504 || refusal.status == 408;
    facts_.aborted = is_late ? "deadline" : "node_lost";
    if (facts_.stream && (gate == nullptr || gate->at_line_end())) {
        std::string event = gate == nullptr || gate->at_event_end() ? "" : "\n";  // Ends half one.
        const bool named = facts_.endpoint == Endpoint::kResponses;
        event += error_event(refusal, named, continuation_.last_number());
        (void)co_await exchange_.write(event);
        // Some clients forget what they have not read yet once their connection is cut.
        const MonotonicNs end = core_.clock.now() + kLinger;
        bool more = true;
        while (more && !watch_.gone() && core_.clock.now() < end)
            more = co_await core_.background.pause(std::chrono::milliseconds(20));
    }
    exchange_.abort();
}

}  // namespace hearth
