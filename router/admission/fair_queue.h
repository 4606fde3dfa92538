// FairQueue: who is next when there is room: interactive first, tenants in turn by their tokens.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>

#include "router/admission/tenants.h"

namespace hearth {

// Pure; one thread. Deficit round robin (Shreedhar and Varghese 1995) between the flows (tenants)
// of a priority, in tokens; first come, first served within a flow. Interactive work goes before
// batch work, but while batch work waits every 8th place is its.
class FairQueue {
  public:
    using Ticket = std::uint64_t;
    // What a flow may use up in its turn, and the most that one entry can count for.
    static constexpr std::uint64_t kQuantum = 8'192;
    static constexpr std::uint64_t kCostMax = 32 * kQuantum;
    static constexpr int kBatchEvery = 8;

    explicit FairQueue(std::size_t bound) : bound_(bound) {}

    void set_bound(std::size_t bound) { bound_ = bound; }
    // Nothing if the queue is full. `cost` in tokens.
    std::optional<Ticket> add(std::size_t flow, Priority priority, std::uint64_t cost);
    bool remove(Ticket ticket);  // False if it is not there (any more).
    std::optional<Ticket> pop();

    std::size_t size() const { return places_.size(); }
    std::size_t size(Priority priority) const {
        return levels_[static_cast<std::size_t>(priority)].size;
    }

  private:
    struct Entry {
        Ticket ticket;
        std::uint64_t cost;
    };
    struct Flow {
        std::size_t id;
        std::list<Entry> entries;
        std::uint64_t deficit = 0;
        bool in_turn = false;  // Has had its quantum and may go on.
    };
    struct Level {
        std::list<Flow> round;  // Flows with entries; the front one is in turn.
        std::unordered_map<std::size_t, std::list<Flow>::iterator> flows;
        std::size_t size = 0;
    };
    struct Place {
        Priority priority;
        std::list<Flow>::iterator flow;
        std::list<Entry>::iterator entry;
    };

    Level& level_of(Priority priority) { return levels_[static_cast<std::size_t>(priority)]; }
    Ticket pop_from(Level& level);
    void erase(const Place& place);

    std::size_t bound_;
    Ticket next_ = 1;
    int interactive_run_ = 0;  // Places given to interactive work while batch work waited.
    Level levels_[kPriorities];
    std::unordered_map<Ticket, Place> places_;
};

}  // namespace hearth
