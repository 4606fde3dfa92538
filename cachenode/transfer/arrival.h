// Arrival: a session that comes from a peer, by pull or by push, on its way into our KV.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cachenode/transfer/kv_gate.h"
#include "cachenode/transfer/transport.h"

namespace hearth {

// One coroutine's, on the io_context. Verified pages go into the tree in batches as they come; the
// session itself is entered only by finish(). `gate` outlives it.
class Arrival final : public FrameSink {
  public:
    // Anything but the session `key` is kCorrupt; so is another salt, unless it is the peer's to
    // say.
    Arrival(KvGate& gate, SessionKey key, std::optional<std::string> salt)
        : gate_(gate), key_(key), salt_(std::move(salt)), reader_(gate.page_bytes()) {}

    FrameReader& reader() override { return reader_; }
    // kExhausted: no room here. kNotFound: pages before the first that was sent are missing here.
    Task<Result<void>> arrived() override;
    // After the end frame: how many of the session's tokens have their KV here now.
    Task<Result<std::int64_t>> finish();

    // Of its frame; null before it came.
    const WireSession* session() const {
        return reader_.sessions().empty() ? nullptr : &reader_.sessions().front();
    }
    std::int64_t pages_here() const { return pages_here_; }  // Before this arrival.
    std::int64_t bytes() const { return bytes_; }            // Of verified pages.

  private:
    Task<Result<void>> begin();
    Task<Result<void>> flush();
    std::shared_ptr<std::byte[]> blank();

    KvGate& gate_;
    SessionKey key_;
    std::optional<std::string> salt_;
    FrameReader reader_;
    std::shared_ptr<SessionImport> import_;
    std::vector<WirePage> batch_;
    std::size_t next_blank_ = 0;       // Of the import's, since its last call.
    std::byte* open_blank_ = nullptr;  // The one given out last; it may be being written.
    std::int64_t pages_here_ = 0;
    std::int64_t bytes_ = 0;
    bool is_full_ = false;  // What still comes is checked and dropped.
};

}  // namespace hearth
