// Decide: the node of one turn, the reason, and the numbers behind it. Pure: live turns, explain,
// what-if and replay all call it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "common/wire/placement.h"

namespace hearth {

enum class Reason {
    kHome,    // The session's home by hashing.
    kBound,   // Elsewhere, because that node is known to hold the session.
    kSpill,   // Away from the node that holds it: waiting there would take longer than a rebuild.
    kHeir,    // An heir: less loaded at the first turn, or the nodes before it are down.
    kMoved,   // Where a node said that the session is now, or away from a node that drains.
    kPinned,  // Where an operator put it.
};
const char* to_string(Reason reason);

// What a decision wants to know of a seat; asked of four at most, and of those that are down.
struct SeatState {
    bool usable = false;
    double load = 0;                  // For comparing two at a first turn.
    std::optional<double> wait_ms;    // Until a prompt sent now is begun; nothing = unknown.
    double prefill_tokens_per_s = 0;  // 0 = unknown.
};
using SeatStates = std::function<SeatState(std::uint32_t seat)>;

// What is known of a session before its turn is placed. Indices are those of the seats.
struct Situation {
    bool first_turn = false;             // Known to be new: home and first heir may compete.
    std::optional<std::uint32_t> bound;  // The node that holds it.
    std::optional<std::uint32_t> pinned;
    bool moved = false;                 // `bound` comes from a node's word, not from a turn there.
    bool holder_drains = false;         // Some member holds it that takes no more turns.
    bool may_come_home = false;         // Idle, and its home joined after it was bound elsewhere.
    std::optional<std::uint32_t> left;  // Spilled from here, which still has all but the end.
    std::int64_t epoch = 0;             // Of the binding.
    std::int64_t tokens = 0;            // KV of the session, on `bound`; 0 = unknown.
    std::int64_t left_tokens_missing = 0;  // What `left` would compute again.
};

struct Choice {
    std::uint32_t seat = 0;
    Reason reason = Reason::kHome;
};

struct Decision {
    std::optional<Choice> choice;        // Nothing if no seat is usable.
    std::optional<std::uint32_t> home;   // Nothing if there are no seats.
    std::optional<std::uint32_t> rival;  // What the home (first turn) or holder was compared with.
    double load = 0, rival_load = 0;     // At a first turn.
    // When a session that is held somewhere was weighed against a rival: waits, and the cost of
    // computing its KV again there.
    std::optional<double> wait_ms, rival_wait_ms, rebuild_ms;
};

// `spill_margin_ms`: how much a spill must gain. Rules, first that fits: pinned; moved by a node's
// word; back to the node that a spill left, once the wait there has gone; home that joined later,
// of an idle session; spill; the holder; at a first turn the less loaded of home and first heir
// (home if equal); the first usable of the order.
Decision decide(const SeatTable& seats, const SessionKey& session, const Situation& situation,
                const SeatStates& states, double spill_margin_ms);

}  // namespace hearth
