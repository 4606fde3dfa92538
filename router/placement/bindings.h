// Bindings: what this router remembers of which node holds which session; bounded.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "common/base/clock.h"
#include "common/wire/session_key.h"

namespace hearth {

struct Binding {
    std::string node_id;
    std::int64_t epoch = 0;       // Of the store's record, or one above when we moved it.
    bool moved = false;           // From a node's word; the next turn there settles it.
    MonotonicNs confirmed = 0;    // When a turn or the store last said so.
    MonotonicNs used = 0;         // When a turn last went there.
    std::string generation = {};  // Of the node, from the store; empty = unknown.
    std::int64_t tokens = 0;      // KV of the session there, from the store; 0 = unknown.
    std::string pin = {};         // Node id that an operator wants it on.
    bool may_come_home = false;   // Idle when the store was asked, and its home is newer than this.
    // Where a spill took it from: that node has all but what was said since.
    std::string left = {};
    MonotonicNs left_at = 0;
    std::int64_t left_tokens = 0;
};

// One owner, one thread. At most `capacity` sessions; the one used longest ago is forgotten, and is
// then found in the store or at home again. Losing all of it loses no chat.
class Bindings {
  public:
    explicit Bindings(std::size_t capacity) : capacity_(capacity) {}

    // The most recent one becomes the last to be forgotten. Valid until the next call.
    const Binding* find(const SessionKey& key);
    // The same without a change to the order of use.
    const Binding* peek(const SessionKey& key) const;
    // Replaces what is known, save for a binding of a higher epoch.
    void put(const SessionKey& key, Binding binding);
    std::size_t size() const { return order_.size(); }
    // Sessions whose last turn was at `since` or later; as many steps.
    std::size_t used_since(MonotonicNs since) const;
    template <typename Visit>
    void each(const Visit& visit) const {
        for (const auto& [key, binding] : order_) visit(key, binding);
    }

  private:
    using Order = std::list<std::pair<SessionKey, Binding>>;  // Most recent first.
    std::size_t capacity_;
    Order order_;
    std::unordered_map<SessionKey, Order::iterator> index_;
};

}  // namespace hearth
