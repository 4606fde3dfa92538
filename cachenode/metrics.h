// NodeMetrics: every metric a cache node exposes; names and labels are those of the catalogue.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>

#include "cachenode/device_metrics.h"
#include "cachenode/scheduler/scheduler.h"
#include "common/metrics/metrics.h"
#include "common/wire/records.h"

namespace hearth {

struct NodeMetricsFacts {
    std::string model;
    std::string backend;  // Engine::backend_name()
    std::int64_t kv_bytes_per_token = 0;
};

enum class DirectoryOperation { kHeartbeat, kPublish, kLookup };

// turn_done, step_done and directory_done may be called by any thread; expose by one thread.
// Counters are fed from two places, and each series from exactly one: token and turn counters from
// the scheduler's lifetime totals (which count at admission, design §11), the rest from reports.
class NodeMetrics {
  public:
    explicit NodeMetrics(const NodeMetricsFacts& facts);

    void turn_done(const TurnReport& report);
    void step_done(double step_seconds, std::int64_t tokens, const std::string& phase);
    void directory_done(DirectoryOperation operation, const Result<void>& result);
    void truncated(std::int64_t tokens);  // A turn was served without its oldest messages.
    void directory_dropped() { directory_dropped_.add(); }

    Metrics& registry() { return metrics_; }  // For series of other parts of the node.

    // Brings counters and gauges up to `stats` and renders all.
    std::string expose(const SchedulerStats& stats, NodeState state, bool directory_up);

  private:
    // A counter that follows a lifetime total kept elsewhere.
    struct Follower {
        Counter counter;
        std::int64_t seen = 0;
        void follow(std::int64_t total) {
            if (total > seen) counter.add(static_cast<double>(total - seen));
            if (total > seen) seen = total;
        }
    };
    void declare_counters();
    void declare_disk_counters();
    void declare_ceilings();
    void declare_histograms();
    void declare_gauges(const NodeMetricsFacts& facts);
    void follow(const SchedulerStats& stats);
    void show_device(const engine::DeviceFigures& figures);

    Metrics metrics_;
    std::string model_;

    Follower prompt_device_, prompt_computed_, reusable_, reused_, ceiling_, full_ceiling_,
        generated_, evicted_, expired_, corrupt_, prompt_disk_, prompt_peer_, disk_evicted_,
        disk_corrupt_, disk_written_, disk_skipped_, disk_loaded_, disk_failures_;
    Follower canonical_;
    Follower first_turns_, full_hits_, partial_hits_, misses_;
    Follower ghost_prompt_, ghost_hit_, ghost_real_;
    Counter truncated_turns_, truncated_tokens_;
    std::map<std::string, Follower> missed_;

    std::map<std::string, Counter> finished_;  // By reason.
    std::map<std::string, Histogram> ttft_;    // By cache outcome.
    Histogram inter_token_, queue_, prefill_, request_, batch_tokens_, shortfall_, prompt_length_,
        reply_length_;
    std::map<std::string, Histogram> step_;                    // By phase.
    std::array<std::map<std::string, Counter>, 3> directory_;  // By operation, result.
    Counter directory_dropped_;

    Gauge running_, waiting_, tier_bytes_, tier_capacity_, sessions_, directory_up_, blocks_kept_,
        disk_bytes_, disk_capacity_, disk_blocks_, disk_pending_, disk_speed_, residence_;
    Gauge blocks_active_, blocks_idle_, blocks_free_;
    std::map<NodeState, Gauge> state_;
    std::unique_ptr<DeviceMetrics> device_;  // Null without a GPU.
};

}  // namespace hearth
