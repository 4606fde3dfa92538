// Counts children, and keeps the timers they wait on so that they can be woken.
#include "router/task_group.h"

#include <algorithm>
#include <exception>

#include "common/base/log.h"

namespace hearth {

void TaskGroup::start(Task<void> child) {
    ++state_->children;
    asio::co_spawn(state_->io, std::move(child), [state = state_](std::exception_ptr thrown) {
        --state->children;
        if (state->children == 0) state->all_ended.cancel();
        try {
            if (thrown) std::rethrow_exception(thrown);
        } catch (const std::exception& failure) {
            log::error("background task failed", {{"error", failure.what()}});
        }
    });
}

Task<bool> TaskGroup::pause(std::chrono::milliseconds duration) {
    return pause(state_, duration);
}

Task<bool> TaskGroup::pause(std::shared_ptr<State> state, std::chrono::milliseconds duration) {
    if (state->ending) co_return false;
    asio::steady_timer timer(state->io, duration);
    state->pauses.push_back(&timer);
    boost::system::error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    std::erase(state->pauses, &timer);
    co_return !state->ending;
}

void TaskGroup::cancel() {
    state_->ending = true;
    for (asio::steady_timer* timer : state_->pauses) timer->cancel();
}

Task<void> TaskGroup::end() {
    cancel();
    return end(state_);
}

Task<void> TaskGroup::end(std::shared_ptr<State> state) {
    boost::system::error_code ignored;
    while (state->children > 0) {
        state->all_ended.expires_at(asio::steady_timer::time_point::max());
        co_await state->all_ended.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
}

}  // namespace hearth
