// SessionEpochs: per session the epoch this node publishes under; the most recently used ones only.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>

#include "common/wire/session_key.h"

namespace hearth {

struct SessionEpoch {
    std::int64_t epoch = 1;
    bool settled = false;       // The store was asked, so `epoch` beats what others published.
    std::int64_t tokens = 0;    // KV tokens at the end of the last turn here.
    std::int64_t since_ms = 0;  // Unix time of the first turn here; 0 = none yet.
};

// One owner. At most `capacity` sessions; the one used longest ago is forgotten.
class SessionEpochs {
  public:
    explicit SessionEpochs(std::size_t capacity) : capacity_(capacity) {}

    // The session's entry, made when it is new; becomes the most recent. Valid until the next call.
    SessionEpoch& touch(const SessionKey& key);
    std::optional<SessionEpoch> find(const SessionKey& key) const;
    std::size_t size() const { return order_.size(); }

  private:
    using Order = std::list<std::pair<SessionKey, SessionEpoch>>;  // Most recent first.
    std::size_t capacity_;
    Order order_;
    std::unordered_map<SessionKey, Order::iterator> index_;
};

}  // namespace hearth
