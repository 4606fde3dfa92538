// The life of one turn: each step either goes on or has answered the client.
#include "router/relay/turn.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <exception>
#include <memory>

#include "common/base/log.h"
#include "router/admission/model_scan.h"
#include "router/members/loops.h"
#include "router/placement/placer.h"
#include "router/relay/account.h"
#include "router/relay/deadline.h"
#include "router/session/body_scan.h"

namespace hearth {
namespace {

// Takes from `facts` what it keeps.
PastTurn past_turn(const RouterCore& core, TurnFacts& facts, MonotonicNs ended) {
    PastTurn turn;
    turn.at = core.clock.unix_now();
    turn.request_id = std::move(facts.request_id);
    turn.node = facts.node;
    turn.reason = *facts.reason;
    turn.source = facts.source.value_or(KeySource::kAnchor);
    turn.epoch = facts.epoch;
    turn.attempts = facts.attempts;
    turn.status = facts.status == 0 ? 499 : facts.status;
    turn.aborted = facts.aborted;
    if (facts.first_byte != 0) turn.first_byte_ms = seconds(facts.first_byte - facts.started) * 1e3;
    turn.total_ms = seconds(ended - facts.started) * 1e3;
    return turn;
}

// What the end of a turn tells of its node. A node that drains or is full (503) is not at fault,
// and neither is one that lacks what was asked for (501).
Verdict verdict_of(Relay::Outcome outcome, const TurnFacts& facts) {
    if (outcome == Relay::Outcome::kUnreachable) return Verdict::kConnect;
    if (outcome == Relay::Outcome::kDied || facts.aborted == "node_lost") return Verdict::kDied;
    if (outcome == Relay::Outcome::kBusy) return Verdict::kNone;
    if (facts.aborted == "deadline") return Verdict::kTimeout;
    if (!facts.aborted.empty() || facts.status == 503) return Verdict::kNone;
    return facts.status >= 500 && facts.status != 501 ? Verdict::kServerError : Verdict::kGood;
}

// Where one turn stands. Lives in serve_turn()'s frame; its connection's coroutine.
class Turn {
  public:
    Turn(RouterCore& core, ServerExchange& exchange, Endpoint endpoint)
        : core_(core), exchange_(exchange), relay_(core, exchange, facts_), placer_(core) {
        facts_.endpoint = endpoint;
        facts_.started = core.clock.now();
        facts_.request_id = request_id_of(exchange.head(), core);
        const RouterConfig& config = *core.config;
        facts_.trace =
            trace_of(exchange.head(), !config.otlp_endpoint.empty(), config.trace_sample, core.rng);
        facts_.method = exchange.head().method;
        facts_.path = exchange.head().path;
        core.metrics.request_started(endpoint);
        core.retry_budget.request(core.config->retry_budget_percent,
                                  core.config->retry_budget_burst);
    }
    ~Turn() {
        facts_.body_bytes = relay_.body().read_bytes();
        visit_.note_body(facts_.body_bytes);
        const MonotonicNs ended = core_.clock.now();
        account(core_, facts_, ended);
        if (facts_.trace.sampled && !core_.config->otlp_endpoint.empty())
            core_.spans.add(span_of(core_, facts_, session_));
        if (facts_.reason) core_.decisions.add(session_, past_turn(core_, facts_, ended));
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    // Its place serves the next turn again: malloc takes long over what is larger than 1 KiB.
    static void* operator new(std::size_t size);
    static void operator delete(void* turn, std::size_t size);

    // In the order of calls; serve_turn() is their caller.
    bool is_checked() const;
    Task<bool> admit();
    std::optional<Refusal> find_deadline();
    std::optional<Refusal> find_key(std::optional<BodyScan::Want>& want);
    Task<void> refuse(Refusal refusal) { return relay_.refuse(std::move(refusal)); }
    Task<bool> scan_body(BodyScan::Want want);
    bool is_queued() const { return core_.admission.has_queue(); }
    Task<bool> enter();
    bool place();
    Task<void> ask_store() { return placer_.find(); }
    Task<void> deliver();

  private:
    Task<bool> identify();
    Task<bool> check_model();
    Task<bool> choose_pool(std::string model);
    Task<bool> refuse_body(Error error);
    bool may_retry(Relay::Outcome last);
    Task<void> give_up(Relay::Outcome last);

    RouterCore& core_;
    ServerExchange& exchange_;
    Visit visit_;  // Of admission; facts_ refer to it.
    TurnFacts facts_;
    Relay relay_;
    SessionKey session_;
    Placer placer_;
};

// Places of turns that are over, of this thread's router.
class TurnPlaces {
  public:
    ~TurnPlaces() {
        for (std::size_t i = 0; i < count_; ++i) ::operator delete(spare_[i]);
    }
    void* take() { return count_ > 0 ? spare_[--count_] : nullptr; }
    bool keep(void* place) {
        if (count_ == spare_.size()) return false;
        spare_[count_++] = place;
        return true;
    }

  private:
    std::array<void*, 64> spare_{};
    std::size_t count_ = 0;
};
thread_local TurnPlaces turn_places;

void* Turn::operator new(std::size_t size) {
    void* const place = turn_places.take();
    return place != nullptr ? place : ::operator new(size);
}

void Turn::operator delete(void* turn, std::size_t size) {
    if (!turn_places.keep(turn)) ::operator delete(turn, size);
}

// Whether admit() has anything to say.
bool Turn::is_checked() const {
    core_.admission.follow(core_.config);
    const RequestHead& head = exchange_.head();
    return core_.admission.has_tenants() ||
           (head.body == BodyKind::kLength &&
            head.content_length > static_cast<std::uint64_t>(core_.config->body_bytes_max));
}

// What is asked of a request before anybody looks for its session; false with a refusal sent.
Task<bool> Turn::admit() {
    const RequestHead& head = exchange_.head();
    const auto limit = static_cast<std::uint64_t>(core_.config->body_bytes_max);
    if (core_.admission.has_tenants()) {
        const bool known = co_await identify();
        if (!known) co_return false;
    }
    if (head.body == BodyKind::kLength && head.content_length > limit) {
        const Error error = make_error(ErrorCode::kTooLarge, "the request body is larger than " +
                                                                 std::to_string(limit) + " bytes");
        (void)co_await refuse_body(error);
        co_return false;
    }
    if (!visit_.models_bounded()) co_return true;
    const bool allowed = co_await check_model();
    co_return allowed;
}

// True if a tenant's key came with the request, and its limits allow one more.
Task<bool> Turn::identify() {
    const RequestHead& head = exchange_.head();
    std::optional<Refusal> refusal = core_.admission.identify(head, visit_);
    facts_.tenant = visit_.tenant();
    facts_.tenant_salt = visit_.salt();
    facts_.follow_up_bonus_s = visit_.follow_up_bonus_s();
    facts_.limits = &visit_.limits();
    if (!refusal) refusal = core_.admission.charge(head, visit_);
    facts_.usage = visit_.usage();
    if (!refusal) co_return true;
    Refusal given = std::move(*refusal);
    co_await relay_.refuse(std::move(given));
    co_return false;
}

// True if the body asks for a model that the tenant may use. Only where not every model is allowed.
Task<bool> Turn::check_model() {
    ModelScan scan;
    bool good = true;
    bool more = true;
    while (good && more) {
        const auto piece = co_await relay_.body().read(true);
        if (!piece) {
            const bool answered = co_await refuse_body(piece.error());
            co_return answered;
        }
        more = !piece->empty();
        good = more ? scan.feed(*piece) : scan.finish();
    }
    std::optional<Refusal> refusal;
    if (good)
        refusal = core_.admission.check_model(visit_, scan.model());
    else
        refusal = Refusal{400, "invalid_json", scan.error(), "model"};
    if (!refusal) co_return true;
    Refusal given = std::move(*refusal);
    co_await relay_.refuse(std::move(given));
    co_return false;
}

// True with a place among in_flight_max.
Task<bool> Turn::enter() {
    visit_.note_body(relay_.body().read_bytes());
    Refusal refusal;
    const Admission::Entry entry = co_await core_.admission.enter(visit_, relay_.watch(), refusal);
    if (entry == Admission::Entry::kEntered) co_return true;
    if (entry == Admission::Entry::kClientGone) {
        facts_.aborted = "client_gone";
        facts_.status = 499;
        exchange_.abort();
        co_return false;
    }
    co_await relay_.refuse(std::move(refusal));
    co_return false;
}

std::optional<Refusal> Turn::find_deadline() {
    const auto deadline = deadline_of(exchange_.head(), facts_.started);
    if (!deadline) return Refusal{400, "invalid_value", deadline.error().message};
    relay_.set_deadline(*deadline);
    return std::nullopt;
}

// Sets session_ if the head names it, and `want` if the body has to be asked for something.
std::optional<Refusal> Turn::find_key(std::optional<BodyScan::Want>& want) {
    const auto found = core_.keys.from_head(exchange_.head());
    if (!found) return Refusal{400, "session_key_too_long", found.error().message};
    const bool pools = core_.membership.now()->needs_model();
    if (!found->has_value()) {
        want = pools ? BodyScan::Want::kBoth : BodyScan::Want::kKey;
        return std::nullopt;
    }
    facts_.source = (*found)->source;
    session_ = core_.keys.derive(**found, visit_.tenant());
    if (pools) want = BodyScan::Want::kModel;
    return std::nullopt;
}

// True if some pool serves the model.
Task<bool> Turn::choose_pool(std::string model) {
    const auto members = core_.membership.now();
    if (members->pool(model) != nullptr) {
        placer_.use_model(std::move(model));
        co_return true;
    }
    std::string known;
    for (const Members::Pool& pool : members->pools)
        for (const std::string& name : pool.models) known += (known.empty() ? "" : ", ") + name;
    core_.metrics.rejected("model_not_found");
    Refusal refusal{404, "model_not_found", "no node serves this model; known are: " + known,
                    "model"};
    co_await relay_.refuse(std::move(refusal));
    co_return false;
}

Task<bool> Turn::scan_body(BodyScan::Want want) {
    BodyScan scan(core_.config->session_from_user, want);
    auto progress = BodyScan::Progress::kMore;
    // What check_model() has read already.
    if (relay_.body().read_bytes() > 0) progress = scan.feed(relay_.body().kept());
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
    if (want != BodyScan::Want::kModel) {
        facts_.source = scan.key().source;
        session_ = core_.keys.derive(scan.key(), visit_.tenant());
    }
    if (want == BodyScan::Want::kKey) co_return true;
    const bool chosen = co_await choose_pool(scan.model());
    co_return chosen;
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

// False if the store has to be asked.
bool Turn::place() {
    const RequestHead& head = exchange_.head();
    std::uint64_t body_bytes = head.content_length;
    if (head.body != BodyKind::kLength) body_bytes = relay_.body().read_bytes();
    return placer_.find_now(session_, body_bytes);
}

Task<void> Turn::deliver() {
    auto choice = placer_.place();
    facts_.affinity = placer_.affinity();
    facts_.store_down = placer_.alone();
    auto last = Relay::Outcome::kUnreachable;
    const Relay::BusyRule pass_busy = [this] {
        return !placer_.next() || !relay_.body().replayable() || !core_.retry_budget.left();
    };
    while (choice) {
        const Member& member = placer_.member(*choice);
        if (member.status->full()) {  // It keeps its sessions; they come back when it has room.
            core_.metrics.rejected("node_full");
            Refusal refusal{429, "node_full", "this session's node is full", {}, 1};
            co_await relay_.refuse(std::move(refusal));
            co_return;
        }
        const Reservation reservation = placer_.reserve(*choice);
        facts_.node = member.record.node_id;
        facts_.reason = choice->reason;
        facts_.epoch = placer_.epoch();
        ++facts_.attempts;
        Attempt attempt(core_, member);
        last = co_await relay_.send(member, session_, pass_busy);
        if (!relay_.moved_to().empty()) placer_.moved(relay_.moved_to());
        attempt.end(verdict_of(last, facts_));
        if (last == Relay::Outcome::kAnswered) co_return;
        choice = std::nullopt;
        if (relay_.body().replayable()) choice = placer_.next();
        if (choice && !may_retry(last)) choice = std::nullopt;
    }
    co_await give_up(last);
}

// Whether another node may be tried, once there is one. A stream that goes on elsewhere costs no
// retry: its turn was admitted once and is not begun again.
bool Turn::may_retry(Relay::Outcome last) {
    using Outcome = Relay::Outcome;
    if (relay_.streaming()) {
        ++facts_.continued;
        return true;
    }
    if (last == Outcome::kDied && !relay_.may_repeat()) return false;
    if (!core_.retry_budget.left()) {
        core_.metrics.rejected("retry_budget");
        return false;
    }
    core_.retry_budget.spend();
    core_.metrics.retried(last == Outcome::kUnreachable ? "connect"
                          : last == Outcome::kBusy      ? "busy"
                                                        : "node_lost");
    return true;
}

Task<void> Turn::give_up(Relay::Outcome last) {
    if (last == Relay::Outcome::kDied || relay_.streaming()) {
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

// Each frame of a coroutine costs as much as many lines of code: what need not wait is a function.
Task<void> serve_turn(std::shared_ptr<RouterCore> core, ServerExchange& exchange,
                      Endpoint endpoint) {
    const auto turn = std::make_unique<Turn>(*core, exchange, endpoint);
    if (turn->is_checked()) {
        const bool admitted = co_await turn->admit();
        if (!admitted) co_return;
    }
    std::optional<BodyScan::Want> want;
    std::optional<Refusal> refusal = turn->find_deadline();
    if (!refusal) refusal = turn->find_key(want);
    if (refusal) {
        co_await turn->refuse(std::move(*refusal));
        co_return;
    }
    if (want) {
        const bool scanned = co_await turn->scan_body(*want);
        if (!scanned) co_return;
    }
    if (turn->is_queued()) {
        const bool entered = co_await turn->enter();
        if (!entered) co_return;
    }
    if (!turn->place()) co_await turn->ask_store();
    co_await turn->deliver();
}

}  // namespace hearth
