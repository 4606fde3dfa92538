// RequestBody: a client's request body on its way to a node, kept for a replay as far as allowed.
#pragma once

#include <string>
#include <string_view>

#include "common/net/http_server.h"
#include "router/core.h"

namespace hearth {

// Owned by one turn; its connection's coroutine. Invariant: while replayable(), kept() is
// everything read so far.
class RequestBody {
  public:
    // A body over this is not kept once it is being sent on: a node that dies costs the turn then.
    static constexpr std::size_t kReplayBytesMax = 1 << 20;
    // Of all bodies of one router together.
    static constexpr std::size_t kKeptBytesMax = 256 << 20;

    RequestBody(RouterCore& core, ServerExchange& exchange) : core_(core), exchange_(exchange) {}
    ~RequestBody() { forget(); }
    RequestBody(const RequestBody&) = delete;
    RequestBody& operator=(const RequestBody&) = delete;

    // The next bytes from the client, empty at the end; valid until the next call. `must_keep`: the
    // body is read ahead of being sent, so none of it may be dropped: kExhausted if there is no
    // room. kTooLarge beyond body_bytes_max.
    Task<Result<std::string_view>> read(bool must_keep);

    // Before the first read(): if the connection has all of the body, it is read then.
    void take_whole();

    std::string_view kept() const { return whole_.empty() ? std::string_view(kept_) : whole_; }
    bool ended() const { return ended_; }
    bool replayable() const { return kept().size() == read_bytes_; }
    std::size_t read_bytes() const { return read_bytes_; }

  private:
    std::size_t next_size() const;
    void forget();

    RouterCore& core_;
    ServerExchange& exchange_;
    std::string_view whole_;  // All of it, where the connection has it; then nothing is kept.
    std::string kept_;
    std::string scratch_;  // Takes what is not kept.
    std::size_t read_bytes_ = 0;
    bool keeping_ = true;
    bool ended_ = false;
};

}  // namespace hearth
