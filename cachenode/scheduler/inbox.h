// Inbox: the bounded queue by which turns and cancellations cross to the scheduler's thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "cachenode/scheduler/turn.h"
#include "common/base/result.h"

namespace hearth {

struct SubmittedTurn {
    TurnId id = 0;
    TurnRequest request;
};

// submit(), cancel() and close() from any thread, the rest from the scheduler's. The lock is held
// for a few moves only.
class Inbox {
  public:
    explicit Inbox(std::int64_t turns_max) : turns_max_(turns_max) {}

    // kExhausted when `turns_max` turns wait here or in the scheduler; kUnavailable once closed.
    Result<TurnId> submit(TurnRequest turn);
    void cancel(TurnId id);
    // Runs on the scheduler's thread before its next step; false once closed, and then never. Turns
    // submitted before it are known then.
    bool call(std::function<void()> work);
    void close();

    struct Mail {
        std::vector<SubmittedTurn> turns;
        std::vector<TurnId> cancels;  // Of these turns and earlier ones.
        std::vector<std::function<void()>> calls;
    };
    Mail take();
    void left_queue(std::int64_t turns);  // So many taken turns wait no longer.
    void wake();                          // Any thread: wait() returns, or does not begin.
    // Until there is mail or a wake(), or, if `briefly`, a second has passed; false once closed.
    bool wait(bool briefly = false);
    bool is_closed() const;

  private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    Mail mail_;
    std::int64_t turns_max_;
    std::int64_t turns_ = 0;  // Here, or taken and still waiting.
    TurnId last_id_ = 0;
    bool is_closed_ = false, is_woken_ = false;
};

}  // namespace hearth
