// Placer: one turn's way to a node: what is known of its session, the choice, and its heirs.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "router/core.h"
#include "router/placement/decide.h"

namespace hearth {

// What this router remembers of a session is believed this long; then the store is asked again, in
// case another router has moved it.
constexpr MonotonicNs kLocalTrust = 5 * kSecond;
// How long a claim stands until the node publishes the session itself; and a pin, at least.
constexpr std::chrono::minutes kClaimTtl{10};
constexpr std::chrono::hours kPinTtl{24};

// Counts a turn on its node from the choice to the turn's end, whatever way that comes.
class Reservation {
  public:
    // `tokens`: estimate of what the node computes of the prompt; 0 = unknown.
    Reservation(const Member& member, std::int64_t tokens);
    ~Reservation();
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;

  private:
    std::shared_ptr<NodeStatus> status_;
    std::int64_t tokens_;
    std::uint64_t record_changes_;
};

// Owned by one turn; its connection's coroutine. Order of calls: find, place, then per node that is
// tried reserve and, if that node could not serve the turn, next.
class Placer {
  public:
    explicit Placer(RouterCore& core) : core_(core) {}

    // Only this pool's members count; before find(). Without it: all.
    void use_model(std::string model) { model_ = std::move(model); }
    // Learns where the session is and decides: this router's memory; the store, within its budget,
    // if memory is empty or old, or if the session is to change its node: that is claimed there
    // first, so that routers that race for one session end on one node.
    // `body_bytes`: of the request's body, 0 if that is not known yet. False if the store has to be
    // asked: then find() goes on.
    bool find_now(SessionKey session, std::uint64_t body_bytes);
    Task<void> find();
    // The node for this turn; nothing if none can take it. No wait between this and reserve().
    std::optional<Choice> place();
    // After a node that could not serve the turn: the next in the session's own order that was not
    // tried; nothing after three.
    std::optional<Choice> next() const;
    // Notes the attempt and that the session is there now, so that turns of one session that come
    // together go to one node.
    Reservation reserve(const Choice& choice);
    // A node's word that the session lives on `node_id`; ignored if that is no member.
    void moved(const std::string& node_id);

    // Valid as long as the placer.
    const Member& member(const Choice& choice) const { return members_->members[choice.seat]; }
    const SessionKey& session() const { return session_; }
    const Decision& decision() const { return decision_; }
    Affinity affinity() const;
    // The store did not answer, so the other routers do not know of this placement.
    bool alone() const { return alone_; }
    std::int64_t epoch() const;  // Of the binding the turn goes out under; 0 = there is none.

  private:
    void consider();
    Task<bool> claim();
    Task<void> ask_again();
    SessionRecord wish(const Choice& choice) const;
    void note_reroute(const Choice& choice);
    void remember(const Choice& choice);

    std::shared_ptr<const Members> candidates() const;

    RouterCore& core_;
    std::string model_;  // Of several pools' models; empty = there is one pool.
    SessionKey session_;
    std::int64_t prompt_tokens_ = 0;  // Estimate; 0 = unknown.
    std::string holder_;              // Node that has the session, as far as we know; empty = none.
    std::string spilled_from_;        // And the one that it was spilled from before.
    bool first_turn_ = false;
    bool trusted_ = false;  // What this router remembers of the session is fresh.
    bool alone_ = false;    // The store does not answer: no exception can be agreed on.
    std::optional<SessionRecord> doubtful_;  // Claimed, and no answer came.
    std::shared_ptr<const Members> members_;
    Decision decision_;
    std::array<std::uint32_t, 3> tried_{};
    std::size_t tried_count_ = 0;
    mutable std::optional<SessionOrder> order_;
};

// What decide() is told of a session; `known` may be null.
Situation situation_of(const Members& members, const Binding* known, MonotonicNs now);
// With a store that does not answer nothing new can be agreed on: no spill, no coming home.
void leave_alone(Situation& situation);
// What decide() is told of each seat; `members` must outlive it.
SeatStates states_of(const Members& members);
// "ok", "timeout" or "error".
template <typename T>
const char* lookup_result(const Result<T>& result) {
    if (result.ok()) return "ok";
    return result.error().code == ErrorCode::kTimeout ? "timeout" : "error";
}
// What a record of the store makes of `known` (null if nothing is).
Binding binding_of(const RouterCore& core, const SessionKey& session, const SessionRecord& record,
                   const Binding* known, const Members& members);

}  // namespace hearth
