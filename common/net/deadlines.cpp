// Deadlines: keeps the shared timer at or before the earliest deadline, and sweeps when it is due.
#include "common/net/deadlines.h"

#include <algorithm>

namespace hearth {
namespace {

constexpr std::chrono::seconds kCoarseFrom{1};
constexpr MonotonicNs kNever = std::numeric_limits<MonotonicNs>::max();

MonotonicNs now() {
    return SystemClock::instance().now();
}

}  // namespace

void Deadlines::schedule(MonotonicNs at) {
    next_ = at;
    timer_.expires_after(std::chrono::nanoseconds(std::max<MonotonicNs>(at - now(), 0)));
    timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& ec) {
        if (ec) return;  // Moved, or nobody is left.
        if (const auto self = weak.lock()) self->fire();
    });
}

void Deadlines::fire() {
    const MonotonicNs time = now();
    MonotonicNs next = kNever;
    for (Deadline* deadline : all_) {
        if (deadline->at_ <= time) {
            deadline->clear();
            deadline->expired_ = true;
            deadline->on_expiry_();
        } else {
            next = std::min(next, deadline->at_);
        }
    }
    next_ = kNever;
    if (next != kNever) schedule(next);
}

void Deadlines::settle() {
    if (set_count_ > 0 || next_ == kNever) return;
    next_ = kNever;
    timer_.cancel();
}

Deadline::Deadline(std::shared_ptr<Deadlines> deadlines, std::function<void()> on_expiry)
    : deadlines_(std::move(deadlines)),
      on_expiry_(std::move(on_expiry)),
      index_(deadlines_->all_.size()) {
    deadlines_->all_.push_back(this);
}

Deadline::~Deadline() {
    clear();
    std::vector<Deadline*>& all = deadlines_->all_;
    all[index_] = all.back();
    all[index_]->index_ = index_;
    all.pop_back();
    deadlines_->settle();
}

void Deadline::set(std::chrono::milliseconds after) {
    if (at_ == kNever) ++deadlines_->set_count_;
    expired_ = false;
    // What is a second or more may come a tick early, but in the order in which it was set.
    MonotonicNs base = 0;
    if (after >= kCoarseFrom) {
        base = std::max(SystemClock::instance().coarse_now(), deadlines_->last_coarse_ + 1);
        deadlines_->last_coarse_ = base;
    } else {
        base = now();
    }
    at_ = base + std::max<MonotonicNs>(after.count(), 0) * kMs;
    last_at_ = at_;
    if (at_ < deadlines_->next_) deadlines_->schedule(at_);
}

void Deadline::clear() {
    if (at_ != kNever) --deadlines_->set_count_;
    at_ = kNever;
}

}  // namespace hearth
