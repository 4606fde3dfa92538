// Suspended: a coroutine that waits for one event, resumed at once by whoever sees that event.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <new>

#include <boost/asio/associated_cancellation_slot.hpp>

#include "common/net/asio.h"

namespace hearth {

// Owned by what the coroutine waits for; no allocation. At most one coroutine at a time.
// (Asio 1.26's any_completion_handler recurses when it is moved.)
class Suspended {
  public:
    Suspended() = default;
    ~Suspended() { drop(); }
    Suspended(const Suspended&) = delete;
    Suspended& operator=(const Suspended&) = delete;

    explicit operator bool() const { return handler_ != nullptr; }
    void resume() { take(true); }  // May be the end of this.
    void drop() { take(false); }   // Destroys the coroutine, which may be the end of this too.

    // Keeps the coroutine's handler. `cancel` is called when it is cancelled meanwhile.
    template <typename Handler, typename Cancel>
    void keep(Handler&& handler, Cancel cancel) {
        using Kept = HandlerOf<std::decay_t<Handler>>;
        static_assert(sizeof(Kept) <= kBytes);
        auto slot = asio::get_associated_cancellation_slot(handler);
        if (slot.is_connected()) slot.assign([cancel](asio::cancellation_type) { cancel(); });
        handler_ = new (place_.data()) Kept(std::forward<Handler>(handler));
    }

  private:
    static constexpr std::size_t kBytes = 64;  // What Asio's handler takes, with room to spare.

    struct Held {
        virtual ~Held() = default;
        virtual void end(bool resumed) = 0;  // Ends its life first: its place may be needed again.
    };
    template <typename Handler>
    struct HandlerOf final : Held {
        explicit HandlerOf(Handler&& own) : handler(std::move(own)) {}
        void end(bool resumed) override {
            auto slot = asio::get_associated_cancellation_slot(handler);
            if (slot.is_connected()) slot.clear();
            Handler last = std::move(handler);
            this->~HandlerOf();
            if (resumed) std::move(last)();
        }
        Handler handler;
    };
    void take(bool resumed) {
        if (handler_ != nullptr) std::exchange(handler_, nullptr)->end(resumed);
    }

    Held* handler_ = nullptr;  // In place_.
    alignas(std::max_align_t) std::array<std::byte, kBytes> place_;
};

}  // namespace hearth
