// Deadlines: one timer for all the waits of a server or client, so that a deadline costs a store.
#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "common/base/clock.h"
#include "common/net/asio.h"

namespace hearth {

class Deadline;

// Owned (shared) by the server or client and by each of its deadlines. One io_context.
// Invariant: while a deadline is set, the timer is pending and due no later than the earliest one.
class Deadlines : public std::enable_shared_from_this<Deadlines> {
  public:
    explicit Deadlines(asio::io_context& io) : timer_(io) {}

    // Stops the timer if no deadline is set, so that an idle client or a closed server leaves its
    // io_context without work. Not done by each clear(): the next set() would only start it again.
    void settle();

  private:
    friend class Deadline;
    void schedule(MonotonicNs at);
    void fire();

    asio::steady_timer timer_;
    MonotonicNs next_ = std::numeric_limits<MonotonicNs>::max();  // When the timer is due.
    std::vector<Deadline*> all_;
    std::size_t set_count_ = 0;
    MonotonicNs last_coarse_ = 0;
};

// One wait that must end in time. Owned by the stream whose wait it bounds. `on_expiry` may cancel
// operations; it must not destroy any deadline.
class Deadline {
  public:
    Deadline(std::shared_ptr<Deadlines> deadlines, std::function<void()> on_expiry);
    ~Deadline();
    Deadline(const Deadline&) = delete;
    Deadline& operator=(const Deadline&) = delete;

    void set(std::chrono::milliseconds after);  // From now; replaces an earlier one.
    void clear();
    MonotonicNs due() const { return at_; }           // Far in the future while not set.
    MonotonicNs was_due() const { return last_at_; }  // As it was last set.
    bool expired() const { return expired_; }         // Since the last set().

  private:
    friend class Deadlines;
    std::shared_ptr<Deadlines> deadlines_;
    std::function<void()> on_expiry_;
    MonotonicNs at_ = std::numeric_limits<MonotonicNs>::max();
    MonotonicNs last_at_ = 0;
    bool expired_ = false;
    std::size_t index_ = 0;  // Of this in Deadlines::all_.
};

}  // namespace hearth
