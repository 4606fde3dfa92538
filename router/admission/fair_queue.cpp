// Deficit round robin over lists whose nodes stay in place, so that anyone can leave at once.
#include "router/admission/fair_queue.h"

#include <algorithm>

#include "common/base/check.h"

namespace hearth {

std::optional<FairQueue::Ticket> FairQueue::add(std::size_t flow, Priority priority,
                                                std::uint64_t cost) {
    if (places_.size() >= bound_) return std::nullopt;
    Level& level = level_of(priority);
    auto [known, is_new] = level.flows.try_emplace(flow);
    if (is_new) {
        level.round.push_back({flow, {}});
        known->second = std::prev(level.round.end());
    }
    const Ticket ticket = next_++;
    std::list<Entry>& entries = known->second->entries;
    entries.push_back({ticket, std::clamp<std::uint64_t>(cost, 1, kCostMax)});
    places_.emplace(ticket, Place{priority, known->second, std::prev(entries.end())});
    ++level.size;
    return ticket;
}

void FairQueue::erase(const Place& place) {
    Level& level = level_of(place.priority);
    place.flow->entries.erase(place.entry);
    --level.size;
    if (!place.flow->entries.empty()) return;
    // A flow that has nothing to send keeps no credit.
    level.flows.erase(place.flow->id);
    level.round.erase(place.flow);
}

bool FairQueue::remove(Ticket ticket) {
    const auto found = places_.find(ticket);
    if (found == places_.end()) return false;
    erase(found->second);
    places_.erase(found);
    return true;
}

std::optional<FairQueue::Ticket> FairQueue::pop() {
    Level& interactive = level_of(Priority::kInteractive);
    Level& batch = level_of(Priority::kBatch);
    if (size() == 0) return std::nullopt;
    if (batch.size == 0) {
        interactive_run_ = 0;
        return pop_from(interactive);
    }
    if (interactive.size == 0 || interactive_run_ + 1 >= kBatchEvery) {
        interactive_run_ = 0;
        return pop_from(batch);
    }
    ++interactive_run_;
    return pop_from(interactive);
}

// Ends: each round gives every flow a quantum, and no entry costs more than 32 of them.
FairQueue::Ticket FairQueue::pop_from(Level& level) {
    CHECK(!level.round.empty());
    while (true) {
        Flow& flow = level.round.front();
        if (!flow.in_turn) flow.deficit += kQuantum;
        flow.in_turn = true;
        const Entry next = flow.entries.front();
        if (next.cost <= flow.deficit) {
            flow.deficit -= next.cost;
            CHECK(remove(next.ticket));
            return next.ticket;
        }
        flow.in_turn = false;
        level.round.splice(level.round.end(), level.round, level.round.begin());
    }
}

}  // namespace hearth
