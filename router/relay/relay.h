// Relay: one turn's request to a node and the node's answer back, piece by piece, nothing piled up.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "router/admission/usage_tail.h"
#include "router/core.h"
#include "router/relay/client_watch.h"
#include "router/relay/refusal.h"
#include "router/relay/request_body.h"
#include "router/relay/stream_gate.h"

namespace hearth {

// What a turn's log line and metrics say; filled on the way.
struct TurnFacts {
    Endpoint endpoint = Endpoint::kOther;
    MonotonicNs started = 0;
    std::string request_id;
    TraceContext trace;
    std::string_view method, path;         // Of the client's request head.
    std::size_t body_bytes = 0;            // Of the request, as far as it was read.
    std::string_view tenant, tenant_salt;  // Of the visit; empty without tenants.
    std::string_view follow_up_bonus_s;    // The tenant's; empty = none.
    const HeaderList* limits = nullptr;    // x-ratelimit-*; null = none.
    UsageTail* usage = nullptr;            // Sees the answer's body; null = nobody wants to.
    std::optional<KeySource> source;
    std::optional<Reason> reason;
    std::string node;  // The last one that was tried.
    Affinity affinity = Affinity::kSticky;
    std::int64_t epoch = 0;   // Of the session's binding; 0 = there is none.
    bool store_down = false;  // The placement was not agreed on with the other routers.
    int attempts = 0;
    int continued = 0;  // Nodes that were to go on with a broken stream; among the attempts.
    int status = 0;     // Sent to the client; 499 = it left before that.
    bool stream = false;
    std::string aborted;         // Why it ended early; empty = it did not.
    MonotonicNs written = 0;     // When the request was first written to a node; 0 = never.
    MonotonicNs first_byte = 0;  // Of the answer's body.
};

// Owned by one turn; its connection's coroutine. Before the answer's first byte a failure leaves
// the client untouched and the turn may go to another node. After it only a stream of Hearth's own
// nodes may: the next node goes on behind the last event that the client got.
class Relay {
    using milliseconds = std::chrono::milliseconds;

  public:
    Relay(RouterCore& core, ServerExchange& exchange, TurnFacts& facts)
        : core_(core),
          exchange_(exchange),
          facts_(facts),
          body_(core, exchange),
          watch_(exchange) {}

    enum class Outcome {
        kAnswered,     // The client has its answer, or is gone.
        kUnreachable,  // No connection to the node.
        kDied,         // The node failed before the answer's first byte.
        kBusy,         // The node said 503, and `pass_busy` said no.
        kBroken,       // The node failed in mid-stream, or could not go on; another one may.
    };
    // Sends the turn, or what is left of it, to `member`, which lives as long as the call.
    // `pass_busy`: asked whether the client gets a 503 of the node's. Lives as long as the call.
    using BusyRule = std::function<bool()>;
    Task<Outcome> send(const Member& member, const SessionKey& session, const BusyRule& pass_busy);
    // As an error event, if the client has part of a stream.
    Task<void> refuse(Refusal refusal);
    // The turn fails at this time; 0 = never.
    void set_deadline(MonotonicNs deadline) { deadline_ = deadline; }
    // After kDied: whether the turn may be sent again. A node of ours gives the same bytes again;
    // another one that had all of the request may have begun what must not be done twice.
    bool may_repeat() const;
    bool streaming() const { return streaming_; }  // The client has part of a stream.
    RequestBody& body() { return body_; }
    ClientWatch& watch() { return watch_; }
    // Node id from the last answer's hearth-moved-to; empty if it had none.
    const std::string& moved_to() const { return moved_to_; }

  private:
    Task<std::optional<Outcome>> send_request(ClientExchange& upstream, const SessionKey& session);
    bool send_whole(ClientExchange& upstream, const SessionKey& session);
    ClientExchange::RequestOptions request_options(std::size_t first_bytes) const;
    Task<Result<std::string_view>> first_body();
    Task<Outcome> read_answer(ClientExchange& upstream, const BusyRule& pass_busy);
    bool pass_at_hand(ClientExchange& upstream, const ResponseHead& head, bool& over,
                      Result<void>& sent);
    Task<Outcome> relay_whole(ClientExchange& upstream, const ResponseHead& head);
    Task<Outcome> relay_stream(ClientExchange& upstream, const ResponseHead& head);
    Task<Outcome> relay_continuable(ClientExchange& upstream, const ResponseHead& head);
    // As ServerExchange::write_now().
    bool pass_events(std::string_view events, const ResponseHead& head, Result<void>& sent);
    Task<Outcome> end_foreign(const LineGate& gate, bool until_close);
    Task<Outcome> fail(Error error);
    Task<Outcome> fail_body(Error error);
    Task<Outcome> stream_failed(Error error);
    Task<void> break_stream(Refusal refusal, const LineGate* gate);
    Refusal lost(const Error& error) const;
    Outcome client_left(const Error& error);

    milliseconds slice_of(milliseconds limit) const;
    Task<bool> wait_on(milliseconds waited, milliseconds limit, bool between_events);
    bool overdue() const { return deadline_ != 0 && core_.clock.now() >= deadline_; }
    bool may_continue() const;
    bool was_taken() const { return !write_failed_; }
    // Until the next of these calls.
    const std::vector<HeaderField>& request_fields(const SessionKey& session);
    // Views of `head` and of this.
    const std::vector<HeaderField>& answer_headers(const ResponseHead& head);

    RouterCore& core_;
    ServerExchange& exchange_;
    TurnFacts& facts_;
    RequestBody body_;
    ClientWatch watch_;
    Continuation continuation_;
    const Member* member_ = nullptr;  // During send().
    bool streaming_ = false;          // The client has the head of a stream.
    MonotonicNs deadline_ = 0;
    std::array<char, 32> session_hex_{};
    TraceContext::Text traceparent_{};
    std::string epoch_;
    std::string route_;
    std::string authorization_;                                            // For the node.
    std::string deadline_text_, forced_text_, last_event_, resumed_body_;  // For the node.
    std::string moved_to_;
    std::vector<HeaderField> fields_;  // Of the head being written: views of what lives longer.
    std::string_view first_piece_;     // Of a whole answer: what came with its head.
    bool half_sent_ = false;           // The request's rest is for write_rest().
    bool write_failed_ = false;        // The node stopped reading; it may have answered first.
    bool stale_ = false;  // A kept connection turned out to be closed: worth a fresh one.
};

}  // namespace hearth
