// Connection: keeps one link to Redis: connects, authenticates, watches, and begins again.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/base/rng.h"
#include "common/redis/link.h"
#include "common/redis/redis_store.h"
#include "common/redis/reply.h"

namespace hearth {

// One io_context; shared by the store, its own coroutine and calls that wait.
// A PING every half second tells whether Redis lives. Three deadlines missed in a row send it at
// once and fail calls fast until a reply comes; a PING that misses its own deadline cuts the link.
// A new link is made after a back-off of 50 ms to 2 s with jitter.
class RedisStore::Connection : public std::enable_shared_from_this<Connection> {
  public:
    Connection(asio::io_context& io, const RedisOptions& options);

    void start();
    void stop();
    bool up() const { return ready_ && link_->open() && !link_->suspect(); }

    // Sends the commands in one write; replies in order, those of kind kError among them.
    // kUnavailable (down), kTimeout, kExhausted (too many in flight), kCancelled (stopped).
    Task<Result<std::vector<Reply>>> pipeline(std::vector<std::string> commands,
                                              std::chrono::milliseconds timeout);
    // One command; a reply of kind kError becomes error_of() it.
    Task<Result<Reply>> command(std::string bytes, std::chrono::milliseconds timeout);

    // True once for each text (of the last 256): so that what repeats is logged once.
    bool is_news(const std::string& text);

  private:
    Task<void> run();
    Task<Result<void>> open();   // Makes link_ and greets.
    Task<Result<void>> greet();  // AUTH, SELECT, PING; with sentinels ROLE too.
    Task<void> watch();          // Returns when the link is closed.
    void react(Link& link, const Reply& error);

    asio::io_context& io_;
    RedisOptions options_;  // The sentinels change places.
    std::string target_;    // host:port; another than the option's after MOVED or by Sentinel.
    std::shared_ptr<Link> link_;
    asio::steady_timer pause_;  // Between two attempts.
    bool ready_ = false;        // link_ was greeted.
    bool stopped_ = false;
    std::set<std::string> told_;
    Rng jitter_;
};

}  // namespace hearth
