// KvEventPublisher: vLLM's ZMQ publisher of KV events: PUB, and ROUTER for those who missed some.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>

#include "cachenode/publish/kv_event_codec.h"
#include "cachenode/publish/kv_event_log.h"
#include "common/base/clock.h"
#include "common/base/result.h"
#include "common/metrics/metrics.h"

namespace hearth {

struct KvEventOptions {
    std::string endpoint = "";         // tcp://HOST:PORT or ipc://PATH; port * = any free one.
    bool connect = false;              // To a subscriber that binds there; else we bind.
    std::string replay_endpoint = "";  // Empty = no replay.
    std::string topic = "";            // First frame of every message.
    KvEventEncoding encoding = KvEventEncoding::kMap;
    std::int64_t buffer_steps = 10'000;  // Batches kept for replay, of 64 MiB together at most.
    std::int64_t hwm = 100'000;          // Batches that wait for one subscriber.
    std::size_t pages_max = 65'536;      // That wait in the log.
};

// Owns a thread, the only one that touches the sockets. A message is topic, 8 bytes of its number
// from 0 on, batch. The first batch of a start, and the last at stop(), is AllBlocksCleared. A
// request for replay is an empty frame and 8 bytes; for each batch that is kept from that number on
// it gets number and batch, then 8 bytes 0xff and an empty frame.
class KvEventPublisher {
  public:
    // Binds. kInvalidArgument names the setting whose endpoint cannot be had.
    static Result<std::unique_ptr<KvEventPublisher>> open(KvEventOptions options, Metrics& metrics,
                                                          const Clock& clock);
    ~KvEventPublisher();
    KvEventPublisher(const KvEventPublisher&) = delete;
    KvEventPublisher& operator=(const KvEventPublisher&) = delete;

    void start();
    void stop();  // Sends what waits; subscribers get 200 ms to take it.

    KvEventLog& log() { return log_; }
    const std::string& endpoint() const { return endpoint_; }  // As bound, with its port.
    const std::string& replay_endpoint() const { return replay_endpoint_; }

  private:
    class Sockets;
    struct Batch {
        std::uint64_t sequence;
        std::string payload;
    };
    KvEventPublisher(KvEventOptions options, std::unique_ptr<Sockets> sockets, Metrics& metrics,
                     const Clock& clock);
    void run();
    void publish_waiting();
    void keep(Batch batch);
    void answer_replay();

    const KvEventOptions options_;
    const Clock& clock_;
    const std::unique_ptr<Sockets> sockets_;
    std::string endpoint_, replay_endpoint_;
    KvEventLog log_;
    std::atomic<bool> is_stopping_ = false;
    std::thread thread_;
    // The thread's own.
    std::uint64_t next_sequence_ = 0;
    std::deque<Batch> kept_;
    std::size_t kept_bytes_ = 0;
    std::int64_t overflows_seen_ = 0;
    Counter sent_, lagging_, overflowed_, replayed_;
};

}  // namespace hearth
