// The life of one turn: each step either goes on or has answered the client.
#include "router/relay/turn.h"

#include <algorithm>
#include <cctype>
#include <exception>

#include "common/base/log.h"
#include "router/members/health.h"
#include "router/session/body_scan.h"

namespace hearth {
namespace {

// What this router remembers of a session is believed this long; then the store is asked again, in
// case another router has moved it.
constexpr MonotonicNs kLocalTrust = 5 * kSecond;
constexpr int kNodesTriedMax = 3;
constexpr std::size_t kLoggedPathBytesMax = 256;

// Where one turn stands. Lives in serve_turn()'s frame; its connection's coroutine.
class Turn {
  public:
    Turn(RouterCore& core, ServerExchange& exchange, Endpoint endpoint)
        : core_(core), exchange_(exchange), relay_(core, exchange, facts_) {
        facts_.endpoint = endpoint;
        facts_.started = core.clock.now();
        facts_.request_id = request_id_of(exchange.head(), core);
        facts_.method = exchange.head().method;
        facts_.path = exchange.head().path;
        core.metrics.request_started(endpoint);
    }
    ~Turn() {
        facts_.body_bytes = relay_.body().read_bytes();
        account(core_, facts_);
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    Task<void> run();
    Task<void> end() { return relay_.end(); }

  private:
    // Select and reserve are one step: the node counts the turn from its choice to its end.
    struct Reservation {
        explicit Reservation(const Member& member) : status(member.status) { ++status->in_flight; }
        ~Reservation() { --status->in_flight; }
        Reservation(const Reservation&) = delete;
        Reservation& operator=(const Reservation&) = delete;
        std::shared_ptr<NodeStatus> status;
    };

    Task<bool> find_key();
    Task<bool> scan_body();
    Task<bool> refuse_body(Error error);
    Task<void> find_binding();
    std::optional<Choice> place();
    std::optional<Choice> next_heir() const;
    void remember(const std::string& node_id, bool moved);
    Task<void> deliver();
    Task<void> give_up(Relay::Outcome last);

    RouterCore& core_;
    ServerExchange& exchange_;
    TurnFacts facts_;
    Relay relay_;
    SessionKey session_;
    bool first_turn_ = false;
    std::shared_ptr<const Members> members_;
    std::vector<std::uint32_t> order_;
    std::vector<std::uint32_t> tried_;
};

Task<void> Turn::run() {
    const RequestHead& head = exchange_.head();
    const auto limit = static_cast<std::uint64_t>(core_.config->body_bytes_max);
    if (core_.draining) {
        core_.metrics.rejected("draining");
        Refusal refusal{503, "draining", "this router is shutting down", {}, 1};
        co_await relay_.refuse(std::move(refusal));
        co_return;
    }
    if (head.body == BodyKind::kLength && head.content_length > limit) {
        const Error error = make_error(ErrorCode::kTooLarge, "the request body is larger than " +
                                                                 std::to_string(limit) + " bytes");
        (void)co_await refuse_body(error);
        co_return;
    }
    const bool keyed = co_await find_key();
    if (!keyed) co_return;
    co_await find_binding();
    co_await deliver();
}

// True with session_ set; false when the client has its refusal.
Task<bool> Turn::find_key() {
    auto found = core_.keys.from_head(exchange_.head());
    if (!found) {
        Refusal refusal{400, "session_key_too_long", found.error().message};
        co_await relay_.refuse(std::move(refusal));
        co_return false;
    }
    if (!found->has_value()) {
        const bool scanned = co_await scan_body();
        co_return scanned;
    }
    facts_.source = (*found)->source;
    session_ = core_.keys.derive(**found, "");
    co_return true;
}

Task<bool> Turn::scan_body() {
    BodyScan scan(core_.config->session_from_user);
    auto progress = BodyScan::Progress::kMore;
    while (progress == BodyScan::Progress::kMore) {
        const auto piece = co_await relay_.body().read(true);
        if (!piece) {
            const bool answered = co_await refuse_body(piece.error());
            co_return answered;
        }
        progress = piece->empty() ? scan.finish() : scan.feed(*piece);
    }
    if (progress == BodyScan::Progress::kBad) {
        const bool syntax = scan.error_param().empty();
        Refusal refusal{400, syntax ? "invalid_json" : "session_key_too_long", scan.error(),
                        scan.error_param()};
        co_await relay_.refuse(std::move(refusal));
        co_return false;
    }
    facts_.source = scan.key().source;
    session_ = core_.keys.derive(scan.key(), "");
    co_return true;
}

Task<bool> Turn::refuse_body(Error error) {
    if (error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kCancelled) {
        facts_.aborted = "client_gone";
        facts_.status = 499;
        co_return false;
    }
    if (error.code == ErrorCode::kTooLarge) core_.metrics.rejected("body_too_large");
    if (error.code == ErrorCode::kExhausted) core_.metrics.rejected("body_memory");
    Refusal refusal = body_refusal(error);
    co_await relay_.refuse(std::move(refusal));
    co_return false;
}

// Look-up order: this router's memory, then the store; neither knows: home (design §6). Without a
// store nobody could tell the other routers of an exception, so there are none.
Task<void> Turn::find_binding() {
    if (core_.store == nullptr) co_return;
    const MonotonicNs now = core_.clock.now();
    const Binding* known = core_.bindings.find(session_);
    if (known != nullptr && now - known->confirmed < kLocalTrust) co_return;
    const bool remembered = known != nullptr;
    const auto found = co_await core_.store->find_session(session_);
    const MonotonicNs answered = core_.clock.now();
    const bool timeout = !found.ok() && found.error().code == ErrorCode::kTimeout;
    core_.metrics.looked_up(found.ok() ? "ok"
                            : timeout  ? "timeout"
                                       : "error",
                            seconds(answered - now));
    if (!found) co_return;
    if (found->has_value()) {
        const SessionRecord& record = **found;
        core_.bindings.put(session_, {record.node_id, record.epoch, false, answered});
    } else {
        first_turn_ = !remembered;
    }
}

std::optional<Choice> Turn::place() {
    members_ = core_.membership.now();
    order_ = seat_order(session_, members_->seats);
    Situation situation;
    situation.first_turn = first_turn_;
    if (const Binding* known = core_.bindings.find(session_)) {
        situation.bound = members_->seat_of(known->node_id);
        situation.moved = known->moved;
    }
    const auto usable = [this](std::uint32_t seat) {
        return members_->members[seat].status->usable();
    };
    const auto load = [this](std::uint32_t seat) { return members_->members[seat].load(); };
    const auto choice = choose(order_, situation, usable, load);
    const bool stays =
        choice && (choice->reason == Reason::kHome || choice->reason == Reason::kBound);
    facts_.affinity = first_turn_ ? Affinity::kNew : stays ? Affinity::kSticky : Affinity::kMoved;
    return choice;
}

// After a node that could not serve the turn: the first usable one in the session's own order.
std::optional<Choice> Turn::next_heir() const {
    if (tried_.size() >= kNodesTriedMax) return std::nullopt;
    for (const std::uint32_t seat : order_) {
        const bool tried = std::find(tried_.begin(), tried_.end(), seat) != tried_.end();
        if (!tried && members_->members[seat].status->usable())
            return Choice{seat, seat == order_.front() ? Reason::kHome : Reason::kHeir};
    }
    return std::nullopt;
}

// Before the answer, so that turns of one session that come together go to one node.
void Turn::remember(const std::string& node_id, bool moved) {
    if (core_.store == nullptr) return;
    const Binding* known = core_.bindings.find(session_);
    const bool same = known != nullptr && known->node_id == node_id;
    const std::int64_t epoch = known == nullptr ? 1 : known->epoch + (same ? 0 : 1);
    // What is believed for a while is what the store said; our own repetition adds nothing to it.
    const MonotonicNs confirmed = same ? known->confirmed : core_.clock.now();
    core_.bindings.put(session_, {node_id, epoch, moved, confirmed});
}

Task<void> Turn::deliver() {
    auto choice = place();
    auto last = Relay::Outcome::kUnreachable;
    while (choice) {
        const Member& member = members_->members[choice->seat];
        const Reservation reservation(member);
        tried_.push_back(choice->seat);
        facts_.node = member.record.node_id;
        facts_.reason = choice->reason;
        ++facts_.attempts;
        remember(facts_.node, false);
        const bool pass_busy = !next_heir() || !relay_.body().replayable();
        last = co_await relay_.send(member, session_, pass_busy);
        if (!relay_.moved_to().empty() && members_->find(relay_.moved_to()) != nullptr)
            remember(relay_.moved_to(), true);
        if (last == Relay::Outcome::kAnswered) co_return;
        if (last == Relay::Outcome::kUnreachable && note_connect_failure(*member.status))
            log::warn("node is down", {{"node", facts_.node}, {"error", "no connection"}});
        choice = std::nullopt;
        if (relay_.body().replayable()) choice = next_heir();
        if (choice)
            core_.metrics.retried(last == Relay::Outcome::kUnreachable ? "connect"
                                  : last == Relay::Outcome::kBusy      ? "busy"
                                                                       : "node_lost");
    }
    co_await give_up(last);
}

Task<void> Turn::give_up(Relay::Outcome last) {
    if (last == Relay::Outcome::kDied) {
        facts_.aborted = "node_lost";
        Refusal refusal{502, "node_lost", "the node failed before it answered"};
        co_await relay_.refuse(std::move(refusal));
        co_return;
    }
    core_.metrics.rejected("no_node");
    Refusal refusal{503, "no_node", "no node can serve this request now", {}, 1};
    co_await relay_.refuse(std::move(refusal));
}

}  // namespace

std::string request_id_of(const RequestHead& head, RouterCore& core) {
    constexpr std::size_t kBytesMax = 128;
    const std::string_view given = head.find("x-request-id");
    const bool sane = !given.empty() && given.size() <= kBytesMax &&
                      std::all_of(given.begin(), given.end(), [](unsigned char c) {
                          return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == ':';
                      });
    return sane ? std::string(given) : core.fresh_id();
}

void account(RouterCore& core, const TurnFacts& facts) {
    const MonotonicNs now = core.clock.now();
    const double total = seconds(now - facts.started);
    const auto since_start = [&](MonotonicNs at) {
        return at == 0 ? 0 : seconds(at - facts.started);
    };
    // A turn that was cut before anything was sent ends like one whose client left.
    const int status = facts.status == 0 ? 499 : facts.status;
    core.metrics.request_finished(facts.endpoint, status, facts.stream, total);
    if (facts.written != 0) core.metrics.overhead(facts.endpoint, since_start(facts.written));
    if (facts.first_byte != 0)
        core.metrics.first_byte(facts.endpoint, facts.affinity, since_start(facts.first_byte));
    if (facts.reason && facts.source) core.metrics.decided(*facts.reason, *facts.source);
    const std::string aborted = facts.status == 0 ? "shutdown" : facts.aborted;
    if (!aborted.empty()) core.metrics.aborted(facts.endpoint, aborted);
    log::info("request", {{"request_id", facts.request_id},
                          {"route", to_string(facts.endpoint)},
                          {"method", facts.method},
                          {"path", facts.path.substr(0, kLoggedPathBytesMax)},
                          {"body_bytes", facts.body_bytes},
                          {"status", status},
                          {"stream", facts.stream ? "true" : "false"},
                          {"node", facts.node},
                          {"reason", facts.reason ? to_string(*facts.reason) : ""},
                          {"key_source", facts.source ? to_string(*facts.source) : ""},
                          {"attempts", facts.attempts},
                          {"aborted", aborted},
                          {"written_ms", since_start(facts.written) * 1e3},
                          {"first_byte_ms", since_start(facts.first_byte) * 1e3},
                          {"total_ms", total * 1e3}});
}

Task<void> serve_turn(std::shared_ptr<RouterCore> core, ServerExchange& exchange,
                      Endpoint endpoint) {
    Turn turn(*core, exchange, endpoint);
    std::exception_ptr failure;
    try {
        co_await turn.run();
    } catch (...) {
        failure = std::current_exception();
    }
    // A turn that is cancelled, be it in its last step, still has to wait for its watch, which uses
    // the exchange.
    const asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    if (failure || state.cancelled() != asio::cancellation_type::none)
        co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
    co_await turn.end();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace hearth
