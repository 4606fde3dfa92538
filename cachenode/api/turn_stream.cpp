// TurnStream: merge under a lock, wake by one posted handler at a time.
#include "cachenode/api/turn_stream.h"

#include <iterator>
#include <utility>

namespace hearth {

namespace {

std::size_t bytes_of(const TurnEvent& event) {
    std::size_t bytes = sizeof(TurnEvent) + event.text.size();
    bytes += event.tokens.size() * sizeof(engine::TokenId);
    for (const engine::Sampled& token : event.logprobs)
        bytes += sizeof(token) + token.top.size() * sizeof(engine::TokenLogprob);
    return bytes;
}

}  // namespace

void TurnStream::push(TurnEvent event) {
    const std::lock_guard lock(mutex_);
    buffered_bytes_ += bytes_of(event);
    if (buffered_bytes_ > kBufferedBytesMax && event.kind == TurnEvent::Kind::kToken) {
        overflow_ = true;
    } else if (events_.size() >= kEventsMax && events_.back().kind == TurnEvent::Kind::kToken &&
               event.kind == TurnEvent::Kind::kToken && events_.back().choice == event.choice) {
        buffered_bytes_ -= sizeof(TurnEvent);
        TurnEvent& last = events_.back();
        last.text += event.text;
        std::move(event.logprobs.begin(), event.logprobs.end(), std::back_inserter(last.logprobs));
        last.tokens.insert(last.tokens.end(), event.tokens.begin(), event.tokens.end());
    } else {
        events_.push_back(std::move(event));
    }
    if (std::exchange(wake_posted_, true)) return;
    asio::post(executor_, [self = shared_from_this()] { self->woken(); });
}

void TurnStream::woken() {
    bool overflow = false;
    {
        const std::lock_guard lock(mutex_);
        wake_posted_ = false;
        overflow = overflow_;
    }
    if (overflow) {
        gone_ = true;
        if (auto give_up = std::exchange(give_up_, nullptr)) give_up();
    }
    wake_.cancel();
}

void TurnStream::client_gone() {
    gone_ = true;
    wake_.cancel();
}

Task<std::vector<TurnEvent>> TurnStream::next() {
    std::vector<TurnEvent> out;
    while (!gone_) {
        {
            const std::lock_guard lock(mutex_);
            out.swap(events_);
            buffered_bytes_ = 0;
        }
        if (!out.empty()) break;
        wake_.expires_at(asio::steady_timer::time_point::max());
        boost::system::error_code ignored;  // Always "cancelled": this is how it wakes.
        co_await wake_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    if (gone_) out.clear();
    co_return out;
}

}  // namespace hearth
