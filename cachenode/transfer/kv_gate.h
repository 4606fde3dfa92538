// KvGate: the KV as coroutines of the io_context reach it: every call runs on the scheduler's
// thread and comes back.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cachenode/scheduler/scheduler.h"
#include "cachenode/transfer/kv_exchange.h"
#include "common/net/asio.h"

namespace hearth {

// One io_context's thread. What it hands out goes back to the scheduler's thread to be destroyed,
// and keeps the scheduler.
class KvGate {
  public:
    KvGate(asio::io_context& io, std::shared_ptr<Scheduler> scheduler)
        : io_(io), scheduler_(std::move(scheduler)) {}

    std::size_t page_bytes() const { return scheduler_->engine().kv_layout().page_bytes(); }

    // Null: unknown, empty, or promised to turns. What only the disk has is read first.
    Task<std::shared_ptr<HeldSession>> hold(SessionKey key, std::string salt);
    // Null: none of them is here, or they were promised to turns.
    Task<std::shared_ptr<HeldSession>> hold_pages(SessionKey key, std::string salt,
                                                  std::vector<PageHash> names);
    // Most recent first.
    Task<std::vector<std::pair<SessionKey, std::string>>> sessions();
    // The session went elsewhere.
    Task<void> release(std::shared_ptr<HeldSession> held);
    // As JSON: {"turns":[...]}, the oldest first, as the admin API gives it on.
    Task<std::string> turns(SessionKey key);
    Task<bool> forget_empty(SessionKey key, std::string salt);
    Task<ErasedSession> erase(SessionKey key);

    // Null: no room for it.
    Task<std::shared_ptr<SessionImport>> begin(WireSession session);
    Task<bool> take(std::shared_ptr<SessionImport> into, std::vector<WirePage> pages);
    Task<std::int64_t> finish(std::shared_ptr<SessionImport> import);

  private:
    // What `job` gives; nothing once the scheduler has stopped.
    template <typename T>
    Task<std::optional<T>> ask(std::function<T(KvView&)> job);
    // The same where the answer comes later; some time it must.
    template <typename T>
    Task<std::optional<T>> ask_later(std::function<void(KvView&, std::function<void(T)>)> job);
    template <typename T>
    std::shared_ptr<T> keep(T value) const;

    asio::io_context& io_;
    std::shared_ptr<Scheduler> scheduler_;
};

}  // namespace hearth
