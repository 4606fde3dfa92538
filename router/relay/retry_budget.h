// RetryBudget: how many retries a router may add to what its clients ask for.
#pragma once

#include <algorithm>
#include <cstdint>

namespace hearth {

// A token bucket: full at the start, filled by a share of a token with each request, emptied by one
// with each retry. So retries stay a share of the requests, but for a burst, and nodes in trouble
// are not buried under them. One router; one thread.
class RetryBudget {
  public:
    // `percent` of the requests may be retries, beyond `burst` at once. Settings may change between
    // calls.
    void request(std::int64_t percent, std::int64_t burst) {
        const std::int64_t full = burst * 100;
        hundredths_ = std::min(full, hundredths_ < 0 ? full : hundredths_ + percent);
    }
    bool left() const { return hundredths_ >= 100; }
    void spend() { hundredths_ -= 100; }

  private:
    std::int64_t hundredths_ = -1;  // Of a retry; -1 before the first request.
};

}  // namespace hearth
