// Placer: one turn's way to a node: what is known of its session, the choice, and its heirs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "router/core.h"

namespace hearth {

// Counts a turn on its node from the choice to the turn's end, whatever way that comes.
class Reservation {
  public:
    // `tokens`: estimate of the prompt's length; 0 = unknown.
    Reservation(const Member& member, std::int64_t tokens);
    ~Reservation();
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;

  private:
    std::shared_ptr<NodeStatus> status_;
    std::int64_t tokens_;
};

// Owned by one turn; its connection's coroutine. Order of calls: find, place, then per node that is
// tried reserve and, if that node could not serve the turn, next.
class Placer {
  public:
    explicit Placer(RouterCore& core) : core_(core) {}

    // Learns where the session is: this router's memory, then the store, within its budget.
    // `body_bytes`: of the request's body, 0 if that is not known yet.
    Task<void> find(SessionKey session, std::uint64_t body_bytes);
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
    Affinity affinity() const { return affinity_; }

  private:
    void remember(const std::string& node_id, bool moved);

    RouterCore& core_;
    SessionKey session_;
    std::int64_t prompt_tokens_ = 0;  // Estimate; 0 = unknown.
    bool first_turn_ = false;
    Affinity affinity_ = Affinity::kSticky;
    std::shared_ptr<const Members> members_;
    std::vector<std::uint32_t> order_;
    std::vector<std::uint32_t> tried_;
};

}  // namespace hearth
