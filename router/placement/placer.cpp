// Look-up, claim, choice and memory of one turn's placement.
#include "router/placement/placer.h"

#include <algorithm>
#include <utility>

namespace hearth {
namespace {

// English text and JSON's own characters together; only predictions of waits depend on it.
constexpr std::uint64_t kBytesPerToken = 4;
// How long the node that a spill left is taken to hold the session's KV still.
constexpr MonotonicNs kSpillReturn = 60 * kSecond;
// The claim of one router at most may make another's turn decide anew.
constexpr int kClaimsMax = 2;

}  // namespace

Reservation::Reservation(const Member& member, std::int64_t tokens)
    : status_(member.status), tokens_(tokens), record_changes_(status_->record_changes) {
    ++status_->in_flight;
    status_->in_flight_tokens += tokens_;
    status_->unpublished_tokens += tokens_;
}

Reservation::~Reservation() {
    --status_->in_flight;
    status_->in_flight_tokens -= tokens_;
    if (status_->record_changes == record_changes_) status_->unpublished_tokens -= tokens_;
}

Situation situation_of(const Members& members, const Binding* known, MonotonicNs now) {
    Situation out;
    if (known == nullptr) return out;
    out.bound = members.seat_of(known->node_id);
    if (!out.bound) out.holder_drains = members.find(known->node_id) != nullptr;
    if (!known->pin.empty()) out.pinned = members.seat_of(known->pin);
    out.moved = known->moved;
    out.may_come_home = known->may_come_home;
    out.epoch = known->epoch;
    out.tokens = known->tokens;
    if (!known->left.empty() && now - known->left_at < kSpillReturn) {
        out.left = members.seat_of(known->left);
        out.left_tokens_missing = std::max<std::int64_t>(0, known->tokens - known->left_tokens);
    }
    return out;
}

void leave_alone(Situation& situation) {
    situation.tokens = 0;
    situation.may_come_home = false;
    situation.left.reset();
}

SeatStates states_of(const Members& members) {
    return [&members](std::uint32_t seat) {
        const Member& member = members.members[seat];
        return SeatState{member.status->usable(), member.load(), member.wait_ms(),
                         member.record.prefill_tokens_per_s};
    };
}

Binding binding_of(const RouterCore& core, const SessionKey& session, const SessionRecord& record,
                   const Binding* known, const Members& members) {
    Binding out;
    out.node_id = record.node_id;
    out.epoch = record.epoch;
    out.confirmed = core.clock.now();
    out.generation = record.generation;
    out.tokens = record.tokens;
    out.pin = record.pin;
    if (known != nullptr && known->node_id == record.node_id) {
        out.left = known->left;
        out.left_at = known->left_at;
        out.left_tokens = known->left_tokens;
    }
    const std::int64_t idle_ms = core.clock.unix_now() - record.updated_ms;
    const bool idle = record.updated_ms > 0 && idle_ms > core.config->scale_up_idle_ms;
    if (!idle || record.since_ms == 0 || members.seats.empty()) return out;
    const std::uint32_t home = members.table.top(session, 1).seats[0];
    out.may_come_home = members.members[home].record.started_ms > record.since_ms;
    return out;
}

std::shared_ptr<const Members> Placer::candidates() const {
    auto all = core_.membership.now();
    const Members::Pool* pool = all->pool(model_);
    return pool == nullptr ? all : members_of(all, *pool);
}

void Placer::consider() {
    members_ = candidates();
    order_.reset();
    const Binding* known = core_.bindings.find(session_);
    Situation situation = situation_of(*members_, known, known == nullptr ? 0 : core_.clock.now());
    situation.first_turn = first_turn_;
    if (situation.bound && situation.tokens == 0) situation.tokens = prompt_tokens_;
    const auto margin_ms = static_cast<double>(core_.config->spill_margin_ms);
    if (alone_) leave_alone(situation);
    const SeatStates states = states_of(*members_);
    if (first_turn_) {  // A full node leaves a new session to its heirs, if one of them has room.
        const SeatStates with_room = [&](std::uint32_t seat) {
            SeatState state = states(seat);
            state.usable = state.usable && !members_->members[seat].status->full();
            return state;
        };
        decision_ = decide(members_->table, session_, situation, with_room, margin_ms);
        if (decision_.choice) return;
    }
    decision_ = decide(members_->table, session_, situation, states, margin_ms);
}

// Look-up order: this router's memory, then the store; neither knows: home (design §6). Without a
// store nobody could tell the other routers of an exception, so there are none.
bool Placer::find_now(SessionKey session, std::uint64_t body_bytes) {
    session_ = session;
    prompt_tokens_ = static_cast<std::int64_t>(body_bytes / kBytesPerToken);
    const Binding* known = core_.bindings.find(session_);
    trusted_ = known != nullptr && core_.clock.now() - known->confirmed < kLocalTrust &&
               (core_.store_forgot == 0 || core_.clock.now() - core_.store_forgot > kLocalTrust);
    first_turn_ = core_.store != nullptr && known == nullptr;
    if (known != nullptr) holder_ = known->node_id, spilled_from_ = known->left;
    consider();
    if (core_.store == nullptr || !decision_.choice) return true;
    return trusted_ && member(*decision_.choice).record.node_id == known->node_id;
}

Task<void> Placer::find() {
    const Binding* known = core_.bindings.find(session_);
    if (known != nullptr && decision_.choice->reason != Reason::kSpill &&
        member(*decision_.choice).record.node_id != known->node_id)
        co_await ask_again();
    for (int claims = 0; claims < kClaimsMax && decision_.choice; ++claims) {
        const std::string& wanted = member(*decision_.choice).record.node_id;
        known = core_.bindings.find(session_);
        if (trusted_ && known != nullptr && known->node_id == wanted) co_return;
        const bool ours = co_await claim();
        if (ours) co_return;
        trusted_ = true;  // It is the store's answer now, or there is none to be had.
        consider();
        if (alone_) co_return;
    }
}

// The node that we remember is gone: another router may have moved the session already, under any
// epoch if the store has lost its memory meanwhile.
Task<void> Placer::ask_again() {
    const auto found = co_await core_.store->find_session(session_);
    if (!found || !*found || (*found)->node_id.empty()) co_return;
    const Binding* known = core_.bindings.find(session_);
    Binding binding = binding_of(core_, session_, **found, known, *members_);
    if (known != nullptr) binding.epoch = std::max(binding.epoch, known->epoch);
    core_.bindings.put(session_, std::move(binding));
    consider();
}

// The session as the chosen node shall have it.
SessionRecord Placer::wish(const Choice& choice) const {
    const NodeRecord& node = member(choice).record;
    const Binding* known = core_.bindings.peek(session_);
    SessionRecord record;
    record.node_id = node.node_id;
    record.generation = node.generation;
    record.epoch = 1;
    record.tier = "device";
    if (known == nullptr) return record;
    record.epoch = known->epoch;
    record.tokens = known->tokens;
    if (known->node_id == node.node_id) return record;
    ++record.epoch;
    record.tokens = 0;
    record.from_node = known->node_id;
    record.from_generation = known->generation;
    record.from_tokens = known->tokens;
    return record;
}

// True if the store has the session where the decision wants it; false if it is elsewhere or the
// store does not answer: then decide anew.
Task<bool> Placer::claim() {
    const SessionRecord wanted = wish(*decision_.choice);
    const Reason reason = decision_.choice->reason;
    const MonotonicNs asked = core_.clock.now();
    const auto stands = co_await core_.store->claim_session(session_, wanted, kClaimTtl);
    core_.metrics.looked_up(lookup_result(stands), seconds(core_.clock.now() - asked));
    if (!stands) {
        // The answer is missing, the claim may stand all the same: whatever is done instead must be
        // worth more, or the next turn would be sent after a claim that nobody followed.
        doubtful_ = wanted;
        alone_ = true;
        first_turn_ = false;
        co_return false;
    }
    const bool ours = stands->node_id == wanted.node_id && stands->epoch == wanted.epoch;
    if (!ours) holder_ = stands->node_id;
    const bool served = stands->tokens > 0 && wanted.tokens == 0;
    const Binding* known = core_.bindings.find(session_);
    Binding binding = binding_of(core_, session_, *stands, known, *members_);
    if (ours && reason == Reason::kSpill) {
        binding.left = wanted.from_node;
        binding.left_at = core_.clock.now();
        binding.left_tokens = wanted.from_tokens;
    }
    // A pin, or leave to come home, that nobody knew of when the node was chosen.
    const bool news = (known == nullptr ? std::string() : known->pin) != binding.pin ||
                      (binding.may_come_home && reason == Reason::kBound);
    core_.bindings.put(session_, std::move(binding));
    if (!ours || served) first_turn_ = false;
    co_return ours && !served && !news;
}

std::optional<Choice> Placer::place() {
    // A claim takes a moment, in which the node may have gone.
    const bool stale = decision_.choice && !member(*decision_.choice).status->usable();
    if (stale) consider();
    return decision_.choice;
}

std::optional<Choice> Placer::next() const {
    if (tried_count_ >= tried_.size()) return std::nullopt;
    if (!order_) order_.emplace(members_->table, session_);
    for (std::size_t i = 0; i < order_->size(); ++i) {
        const std::uint32_t seat = (*order_)[i];
        const auto end = tried_.begin() + static_cast<std::ptrdiff_t>(tried_count_);
        const bool tried = std::find(tried_.begin(), end, seat) != end;
        if (!tried && members_->members[seat].status->usable())
            return Choice{seat, i == 0 ? Reason::kHome : Reason::kHeir};
    }
    return std::nullopt;
}

Reservation Placer::reserve(const Choice& choice) {
    const Binding* known = core_.bindings.peek(session_);
    const bool holds = known != nullptr && known->node_id == member(choice).record.node_id;
    const std::int64_t reused = holds ? known->tokens : 0;
    tried_[tried_count_++] = choice.seat;
    note_reroute(choice);
    remember(choice);
    return Reservation(member(choice), std::max<std::int64_t>(0, prompt_tokens_ - reused));
}

// Counts a turn that does not go to the node that holds its session.
void Placer::note_reroute(const Choice& choice) {
    const std::string& node_id = member(choice).record.node_id;
    if (!holder_.empty() && holder_ != node_id) {
        const Member* holder = members_->find(holder_);
        const char* cause = "scale_out";
        if (tried_count_ > 1 || holder == nullptr || !holder->status->usable())
            cause = "node_down";
        else if (choice.reason == Reason::kSpill || node_id == spilled_from_)
            cause = "overload_spill";
        else if (choice.reason == Reason::kPinned)
            cause = "operator";
        else if (!members_->seat_of(holder_))
            cause = "planned_drain";
        else if (choice.reason == Reason::kMoved)
            cause = "moved";
        core_.metrics.rerouted(cause);
    }
    holder_ = node_id;
}

void Placer::moved(const std::string& node_id) {
    const Binding* known = core_.bindings.find(session_);
    if (known == nullptr || known->node_id == node_id) return;
    if (members_->find(node_id) == nullptr) return;
    Binding corrected;
    corrected.node_id = node_id;
    corrected.epoch = known->epoch;
    corrected.moved = true;
    corrected.confirmed = core_.clock.now();
    corrected.pin = known->pin;
    core_.bindings.put(session_, std::move(corrected));
}

void Placer::remember(const Choice& choice) {
    if (core_.store == nullptr) return;
    const std::string& node_id = member(choice).record.node_id;
    const Binding* known = core_.bindings.find(session_);
    Binding binding;
    // What is believed for a while is what the store said; our own repetition adds nothing to it.
    if (known != nullptr) binding = *known;
    if (known == nullptr || known->node_id != node_id) {
        binding = {};
        binding.node_id = node_id;
        binding.epoch = known == nullptr ? 1 : known->epoch + 1;
        binding.confirmed = core_.clock.now();
        // Nobody has agreed to it: the store is asked again at the next turn.
        if (alone_) binding.confirmed -= kLocalTrust;
        if (known != nullptr) binding.pin = known->pin;
    }
    if (doubtful_ && doubtful_->node_id != node_id)
        binding.epoch = std::max(binding.epoch, doubtful_->epoch + 1);
    binding.moved = false;
    binding.used = core_.clock.now();
    core_.bindings.put(session_, std::move(binding));
}

Affinity Placer::affinity() const {
    if (first_turn_) return Affinity::kNew;
    const bool stays = decision_.choice && (decision_.choice->reason == Reason::kHome ||
                                            decision_.choice->reason == Reason::kBound ||
                                            decision_.choice->reason == Reason::kPinned);
    return stays ? Affinity::kSticky : Affinity::kMoved;
}

std::int64_t Placer::epoch() const {
    const Binding* known = core_.bindings.peek(session_);
    return known == nullptr ? 0 : known->epoch;
}

}  // namespace hearth
