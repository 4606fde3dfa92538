// A least-recently-used map: a list in order of use and an index into it.
#include "router/placement/bindings.h"

namespace hearth {

const Binding* Bindings::find(const SessionKey& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    order_.splice(order_.begin(), order_, found->second);
    return &found->second->second;
}

const Binding* Bindings::peek(const SessionKey& key) const {
    const auto found = index_.find(key);
    return found == index_.end() ? nullptr : &found->second->second;
}

std::size_t Bindings::used_since(MonotonicNs since) const {
    std::size_t count = 0;
    for (auto at = order_.begin(); at != order_.end() && at->second.used >= since; ++at) ++count;
    return count;
}

void Bindings::put(const SessionKey& key, Binding binding) {
    if (capacity_ == 0) return;
    if (const auto found = index_.find(key); found != index_.end()) {
        Binding& known = found->second->second;
        if (binding.epoch >= known.epoch) known = std::move(binding);
        order_.splice(order_.begin(), order_, found->second);
        return;
    }
    if (order_.size() >= capacity_) {
        index_.erase(order_.back().first);
        order_.pop_back();
    }
    order_.emplace_front(key, std::move(binding));
    index_.emplace(key, order_.begin());
}

}  // namespace hearth
