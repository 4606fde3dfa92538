// A mutex, a condition variable and two lists.
#include "cachenode/scheduler/inbox.h"

#include <chrono>
#include <string>
#include <utility>

#include "common/base/check.h"

namespace hearth {

Result<TurnId> Inbox::submit(TurnRequest turn) {
    const std::lock_guard lock(mutex_);
    if (is_closed_) return make_error(ErrorCode::kUnavailable, "the scheduler is stopping");
    if (turns_ >= turns_max_) {
        return make_error(ErrorCode::kExhausted,
                          "queue_max: " + std::to_string(turns_max_) + " turns are waiting");
    }
    ++turns_;
    mail_.turns.push_back({++last_id_, std::move(turn)});
    changed_.notify_one();
    return last_id_;
}

void Inbox::cancel(TurnId id) {
    const std::lock_guard lock(mutex_);
    if (is_closed_) return;
    mail_.cancels.push_back(id);
    changed_.notify_one();
}

void Inbox::close() {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    changed_.notify_one();
}

Inbox::Mail Inbox::take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(mail_, {});
}

void Inbox::left_queue(std::int64_t turns) {
    const std::lock_guard lock(mutex_);
    turns_ -= turns;
    CHECK(turns_ >= 0);
}

bool Inbox::call(std::function<void()> work) {
    {
        const std::lock_guard lock(mutex_);
        if (is_closed_) return false;
        mail_.calls.push_back(std::move(work));
    }
    changed_.notify_one();
    return true;
}

void Inbox::wake() {
    {
        const std::lock_guard lock(mutex_);
        is_woken_ = true;
    }
    changed_.notify_one();
}

bool Inbox::wait(bool briefly) {
    std::unique_lock lock(mutex_);
    const auto is_wanted = [this] {
        return is_closed_ || is_woken_ || !mail_.turns.empty() || !mail_.cancels.empty() ||
               !mail_.calls.empty();
    };
    if (briefly) {
        changed_.wait_for(lock, std::chrono::seconds(1), is_wanted);
    } else {
        changed_.wait(lock, is_wanted);
    }
    is_woken_ = false;
    return !is_closed_;
}

bool Inbox::is_closed() const {
    const std::lock_guard lock(mutex_);
    return is_closed_;
}

}  // namespace hearth
