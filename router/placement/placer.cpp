// Look-up, choice and memory of one turn's placement.
#include "router/placement/placer.h"

#include <algorithm>

namespace hearth {
namespace {

// What this router remembers of a session is believed this long; then the store is asked again, in
// case another router has moved it.
constexpr MonotonicNs kLocalTrust = 5 * kSecond;
constexpr std::size_t kNodesTriedMax = 3;
// English text and JSON's own characters together; only ratios of loads depend on it.
constexpr std::uint64_t kBytesPerToken = 4;

}  // namespace

Reservation::Reservation(const Member& member, std::int64_t tokens)
    : status_(member.status), tokens_(tokens) {
    ++status_->in_flight;
    status_->in_flight_tokens += tokens_;
}

Reservation::~Reservation() {
    --status_->in_flight;
    status_->in_flight_tokens -= tokens_;
}

// Look-up order: this router's memory, then the store; neither knows: home (design §6). Without a
// store nobody could tell the other routers of an exception, so there are none.
Task<void> Placer::find(SessionKey session, std::uint64_t body_bytes) {
    session_ = session;
    prompt_tokens_ = static_cast<std::int64_t>(body_bytes / kBytesPerToken);
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

std::optional<Choice> Placer::place() {
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
    affinity_ = first_turn_ ? Affinity::kNew : stays ? Affinity::kSticky : Affinity::kMoved;
    return choice;
}

std::optional<Choice> Placer::next() const {
    if (tried_.size() >= kNodesTriedMax) return std::nullopt;
    for (const std::uint32_t seat : order_) {
        const bool tried = std::find(tried_.begin(), tried_.end(), seat) != tried_.end();
        if (!tried && members_->members[seat].status->usable())
            return Choice{seat, seat == order_.front() ? Reason::kHome : Reason::kHeir};
    }
    return std::nullopt;
}

Reservation Placer::reserve(const Choice& choice) {
    tried_.push_back(choice.seat);
    remember(member(choice).record.node_id, false);
    return Reservation(member(choice), prompt_tokens_);
}

void Placer::moved(const std::string& node_id) {
    if (members_->find(node_id) != nullptr) remember(node_id, true);
}

void Placer::remember(const std::string& node_id, bool moved) {
    if (core_.store == nullptr) return;
    const Binding* known = core_.bindings.find(session_);
    const bool same = known != nullptr && known->node_id == node_id;
    const std::int64_t epoch = known == nullptr ? 1 : known->epoch + (same ? 0 : 1);
    // What is believed for a while is what the store said; our own repetition adds nothing to it.
    const MonotonicNs confirmed = same ? known->confirmed : core_.clock.now();
    core_.bindings.put(session_, {node_id, epoch, moved, confirmed});
}

}  // namespace hearth
