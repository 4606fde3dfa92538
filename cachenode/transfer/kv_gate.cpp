// Jobs to the scheduler's thread, and their answers back.
#include "cachenode/transfer/kv_gate.h"

#include "cachenode/scheduler/turn_log.h"

namespace hearth {
namespace {

std::string turns_text(const std::vector<LoggedTurn>& turns, MonotonicNs now) {
    std::string out = "{\"turns\":[";
    for (const LoggedTurn& turn : turns) {
        const TurnUsage& usage = turn.usage;
        if (out.back() == '}') out += ',';
        out +=
            "{\"turn\":" + std::to_string(turn.number) +
            ",\"age_ms\":" + std::to_string((now - turn.at) / kMs) +
            ",\"prompt_tokens\":" + std::to_string(usage.prompt_tokens) +
            ",\"cached_tokens\":" + std::to_string(usage.cached_tokens) +
            ",\"reusable_tokens\":" + std::to_string(usage.reusable_tokens) + ",\"diverged_at\":" +
            (usage.diverged_at < 0 ? "null" : std::to_string(usage.diverged_at)) + ",\"missed\":{";
        for (const auto& [reason, tokens] : usage.missed) {
            if (out.back() != '{') out += ',';
            out += '"' + reason + "\":" + std::to_string(tokens);
        }
        out += "}}";
    }
    return out + "]}";
}

}  // namespace

template <typename T>
Task<std::optional<T>> KvGate::ask(std::function<T(KvView&)> job) {
    std::function<void(KvView&, std::function<void(T)>)> at_once =
        [job = std::move(job)](KvView& kv, const std::function<void(T)>& answer) {
            answer(job(kv));
        };
    co_return co_await ask_later<T>(std::move(at_once));
}

template <typename T>
Task<std::optional<T>> KvGate::ask_later(std::function<void(KvView&, std::function<void(T)>)> job) {
    struct Waiting {
        explicit Waiting(asio::io_context& io) : timer(io) {}
        asio::steady_timer timer;
        std::optional<T> value;
        bool done = false;
    };
    auto waiting = std::make_shared<Waiting>(io_);
    std::function<void(T)> answer = [waiting, &io = io_](T given) {
        auto value = std::make_shared<T>(std::move(given));
        asio::post(io, [waiting, value] {
            waiting->value.emplace(std::move(*value));
            waiting->done = true;
            waiting->timer.cancel();
        });
    };
    std::function<void(KvView&)> there = [job = std::move(job), answer](KvView& kv) {
        job(kv, answer);
    };
    if (!scheduler_->post(std::move(there))) co_return std::nullopt;
    while (!waiting->done) {
        waiting->timer.expires_at(asio::steady_timer::time_point::max());
        boost::system::error_code ignored;
        co_await waiting->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    co_return std::move(waiting->value);
}

// Pins are the scheduler's; once it has stopped nobody else touches them.
template <typename T>
std::shared_ptr<T> KvGate::keep(T value) const {
    return std::shared_ptr<T>(new T(std::move(value)), [scheduler = scheduler_](T* gone) {
        if (!scheduler->post([gone](KvView&) { delete gone; })) delete gone;
    });
}

Task<std::shared_ptr<HeldSession>> KvGate::hold(SessionKey key, std::string salt) {
    using Held = std::shared_ptr<HeldSession>;
    std::function<void(KvView&, std::function<void(Held)>)> job =
        [this, key, salt](KvView& kv, const std::function<void(Held)>& answer) {
            KvView::Then then = [this, key, salt, answer](KvView& later) {
                auto held = hold_session(later, key, salt);
                answer(held ? keep(std::move(*held)) : nullptr);
            };
            if (!restore_session(kv, key, salt, then)) then(kv);
        };
    auto held = co_await ask_later<Held>(std::move(job));
    co_return held ? std::move(*held) : nullptr;
}

Task<std::shared_ptr<HeldSession>> KvGate::hold_pages(SessionKey key, std::string salt,
                                                      std::vector<PageHash> names) {
    std::function<std::shared_ptr<HeldSession>(KvView&)> job = [this, key, salt,
                                                                names](KvView& kv) {
        auto held = hearth::hold_pages(kv, key, salt, names);
        return held ? keep(std::move(*held)) : nullptr;
    };
    auto held = co_await ask(std::move(job));
    co_return held ? std::move(*held) : nullptr;
}

Task<std::vector<std::pair<SessionKey, std::string>>> KvGate::sessions() {
    using Known = std::vector<std::pair<SessionKey, std::string>>;
    std::function<Known(KvView&)> job = [](KvView& kv) { return kv.ledger.known(); };
    auto known = co_await ask(std::move(job));
    co_return known ? std::move(*known) : Known{};
}

Task<void> KvGate::release(std::shared_ptr<HeldSession> held) {
    std::function<bool(KvView&)> job = [held](KvView& kv) {
        release_session(kv, std::move(*held));
        return true;
    };
    (void)co_await ask(std::move(job));
}

Task<std::string> KvGate::turns(SessionKey key) {
    std::function<std::string(KvView&)> job = [key](KvView& kv) {
        return turns_text(kv.turns == nullptr ? std::vector<LoggedTurn>{} : kv.turns->find(key),
                          kv.now);
    };
    co_return (co_await ask(std::move(job))).value_or("{\"turns\":[]}");
}

Task<bool> KvGate::forget_empty(SessionKey key, std::string salt) {
    std::function<bool(KvView&)> job = [key, salt](KvView& kv) {
        return hearth::forget_empty(kv, key, salt);
    };
    co_return (co_await ask(std::move(job))).value_or(false);
}

Task<ErasedSession> KvGate::erase(SessionKey key) {
    std::function<ErasedSession(KvView&)> job = [key](KvView& kv) {
        return erase_session(kv, key);
    };
    co_return (co_await ask(std::move(job))).value_or(ErasedSession{});
}

Task<std::shared_ptr<SessionImport>> KvGate::begin(WireSession session) {
    auto shared = std::make_shared<WireSession>(std::move(session));
    std::function<std::shared_ptr<SessionImport>(KvView&)> job = [this, shared](KvView& kv) {
        auto import = SessionImport::begin(kv, *shared);
        return import ? keep(std::move(*import)) : nullptr;
    };
    auto import = co_await ask(std::move(job));
    co_return import ? std::move(*import) : nullptr;
}

Task<bool> KvGate::take(std::shared_ptr<SessionImport> into, std::vector<WirePage> pages) {
    auto shared = std::make_shared<std::vector<WirePage>>(std::move(pages));
    std::function<bool(KvView&)> job = [into, shared](KvView& kv) {
        return into->take(kv, *shared);
    };
    co_return (co_await ask(std::move(job))).value_or(false);
}

Task<std::int64_t> KvGate::finish(std::shared_ptr<SessionImport> import) {
    std::function<std::int64_t(KvView&)> job = [import](KvView& kv) { return import->finish(kv); };
    co_return (co_await ask(std::move(job))).value_or(0);
}

}  // namespace hearth
