// Placement: which node a session belongs to, and who is next. A pure function of members and key.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "common/wire/session_key.h"

namespace hearth {

// What placement knows of a member. Hashing uses the node's stable name, never its address.
struct Seat {
    std::uint64_t node_hash = 0;  // node_hash() of its name.
    double weight = 1.0;          // Its share of the sessions, relative to the others'; > 0.
};

// The same on every machine and in every version.
std::uint64_t node_hash(std::string_view node_id);

// Weighted rendezvous (highest random weight; Thaler and Ravishankar 1998, weights as in
// Schindelhauer and Schomaker 2005): a member's score is -weight / ln(u), u uniform in (0, 1) by
// (key, member).
double seat_score(const SessionKey& key, const Seat& seat);

// Indices of all seats, home first, then the heirs in order. A member that comes or goes changes
// the order of no other pair, and seats may be given in any order.
std::vector<std::uint32_t> seat_order(const SessionKey& key, const std::vector<Seat>& seats);

enum class Reason {
    kHome,   // The session's home by hashing.
    kBound,  // Elsewhere, because that node is known to hold the session.
    kHeir,   // An heir: less loaded at the first turn, or the nodes before it are down.
    kMoved,  // Where a node said that the session had moved to.
};
const char* to_string(Reason reason);

// What is known of a session before its turn is placed. Indices are those of the seats.
struct Situation {
    std::optional<std::uint32_t> bound;  // The node that holds it.
    bool moved = false;                  // `bound` comes from a node's word, not from a turn there.
    bool first_turn = false;             // Known to be new: home and first heir may compete.
};

struct Choice {
    std::uint32_t seat = 0;
    Reason reason = Reason::kHome;
};

// The node for this turn: the one that holds the session; else the less loaded of home and first
// heir for a new session (home if they are equal); else the first of `order` that is usable.
// Nothing if none is. `load` is called for two seats at most.
std::optional<Choice> choose(const std::vector<std::uint32_t>& order, const Situation& situation,
                             const std::function<bool(std::uint32_t)>& usable,
                             const std::function<double(std::uint32_t)>& load);

}  // namespace hearth
