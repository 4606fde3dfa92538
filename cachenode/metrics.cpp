// NodeMetrics: the catalogue's names, helps and label values, and where each value comes from.
#include "cachenode/metrics.h"

#include <algorithm>
#include <utility>

#include "cachenode/kv/miss_reason.h"
#include "common/base/log.h"
#include "common/config/version.h"

namespace hearth {

namespace {

constexpr const char* kDevice = "device";
constexpr const char* kDisk = "disk";
constexpr std::array kOperations = {"heartbeat", "publish", "lookup"};

// The label of time to first token: how much of what could be reused was reused.
std::string cache_outcome(const TurnUsage& usage) {
    if (usage.reusable_tokens > 0 && usage.reused_tokens == usage.reusable_tokens) return "warm";
    return usage.cached_tokens > 0 ? "partial" : "cold";
}

std::string result_label(const Result<void>& result) {
    if (result.ok()) return "ok";
    return result.error().code == ErrorCode::kTimeout ? "timeout" : "error";
}

}  // namespace

NodeMetrics::NodeMetrics(const NodeMetricsFacts& facts) : model_(facts.model) {
    declare_counters();
    declare_histograms();
    declare_gauges(facts);
}

void NodeMetrics::declare_counters() {
    const auto counter = [this](const char* name, const char* help, Labels labels = {}) {
        labels["model"] = model_;
        return metrics_.counter(name, help, labels);
    };
    constexpr const char* kPrompt = "hearth_engine_prompt_tokens_total";
    constexpr const char* kPromptHelp =
        "Prompt tokens by where their KV came from; the sum over source is every prompt token "
        "once.";
    prompt_device_.counter = counter(kPrompt, kPromptHelp, {{"source", kDevice}});
    prompt_disk_.counter = counter(kPrompt, kPromptHelp, {{"source", kDisk}});
    prompt_peer_.counter = counter(kPrompt, kPromptHelp, {{"source", "peer"}});
    prompt_computed_.counter = counter(kPrompt, kPromptHelp, {{"source", "computed"}});
    reusable_.counter = counter("hearth_engine_reusable_tokens_total",
                                "Prompt tokens whose KV an earlier turn of the same session or a "
                                "shared prefix had computed.");
    reused_.counter = counter("hearth_engine_reused_tokens_total",
                              "Reusable prompt tokens served from a cache tier.");
    for (const char* reason : kMissReasonNames)
        missed_[reason].counter =
            counter("hearth_engine_missed_tokens_total",
                    "Reusable prompt tokens that had to be computed again, by reason.",
                    {{"reason", reason}});
    ceiling_.counter =
        counter("hearth_engine_ceiling_tokens_total",
                "Prompt tokens that an infinite, never-failing cache would have served.");
    full_ceiling_.counter =
        counter("hearth_engine_ceiling_full_hits_total",
                "Turns that an infinite cache which never fails would have fully hit.");
    constexpr const char* kTurns = "hearth_engine_turns_total";
    constexpr const char* kTurnsHelp = "Chat turns by cache outcome.";
    first_turns_.counter = counter(kTurns, kTurnsHelp, {{"outcome", "first_turn"}});
    full_hits_.counter = counter(kTurns, kTurnsHelp, {{"outcome", "full_hit"}});
    partial_hits_.counter = counter(kTurns, kTurnsHelp, {{"outcome", "partial_hit"}});
    misses_.counter = counter(kTurns, kTurnsHelp, {{"outcome", "miss"}});
    generated_.counter = counter("hearth_engine_generation_tokens_total", "Tokens generated.");
    canonical_.counter =
        counter("hearth_engine_canonical_tokens_total",
                "Tokens computed after a turn because its reply, put into the next "
                "prompt, is cut into other tokens; part of no hit rate.");
    for (const FinishReason reason : {FinishReason::kStop, FinishReason::kLength,
                                      FinishReason::kCancelled, FinishReason::kError})
        finished_[to_string(reason)] =
            counter("hearth_engine_requests_finished_total",
                    "Sequences finished, by finish reason.", {{"reason", to_string(reason)}});
    evicted_.counter = metrics_.counter("hearth_cache_evicted_blocks_total",
                                        "Blocks evicted from a tier, by reason.",
                                        {{"tier", kDevice}, {"reason", "lru"}});
    expired_.counter = metrics_.counter("hearth_cache_evicted_blocks_total",
                                        "Blocks evicted from a tier, by reason.",
                                        {{"tier", kDevice}, {"reason", "ttl"}});
    corrupt_.counter = metrics_.counter("hearth_cache_corrupt_blocks_total",
                                        "Blocks whose bytes had changed when they were found.",
                                        {{"tier", kDevice}});
    declare_disk_counters();
    declare_ceilings();
    for (std::size_t op = 0; op < kOperations.size(); ++op)
        for (const char* result : {"ok", "timeout", "error"})
            directory_[op][result] =
                metrics_.counter("hearth_directory_operations_total",
                                 "Metadata store operations by kind and result.",
                                 {{"op", kOperations[op]}, {"result", result}});
    directory_dropped_ = metrics_.counter("hearth_directory_dropped_updates_total",
                                          "Session records dropped because the store was down.");
}

void NodeMetrics::declare_disk_counters() {
    const Labels disk = {{"tier", kDisk}};
    disk_evicted_.counter = metrics_.counter("hearth_cache_evicted_blocks_total",
                                             "Blocks evicted from a tier, by reason.",
                                             {{"tier", kDisk}, {"reason", "lru"}});
    disk_corrupt_.counter =
        metrics_.counter("hearth_cache_corrupt_blocks_total",
                         "Blocks whose bytes had changed when they were found.", disk);
    disk_written_.counter =
        metrics_.counter("hearth_cache_written_blocks_total", "Blocks written to a tier.", disk);
    disk_skipped_.counter = metrics_.counter(
        "hearth_cache_skipped_blocks_total",
        "Blocks not written to a tier because it was behind, paused, or memory was short.", disk);
    disk_loaded_.counter =
        metrics_.counter("hearth_cache_loaded_blocks_total", "Blocks read back from a tier.", disk);
    disk_failures_.counter = metrics_.counter("hearth_cache_tier_failures_total",
                                              "Reads and writes of a tier that failed.", disk);
}

void NodeMetrics::declare_ceilings() {
    const Labels model = {{"model", model_}};
    truncated_turns_ =
        metrics_.counter("hearth_engine_truncated_turns_total",
                         "Chats served without their oldest turns, which did not fit.", model);
    truncated_tokens_ = metrics_.counter("hearth_engine_truncated_tokens_total",
                                         "Prompt tokens that truncation left out.", model);
    ghost_prompt_.counter =
        metrics_.counter("hearth_ghost_prompt_tokens_total",
                         "Prompt tokens of follow-up turns in the sample.", model);
    ghost_hit_.counter = metrics_.counter(
        "hearth_ghost_hit_tokens_total",
        "Of these, what an infinite cache that never fails would have served.", model);
    ghost_real_.counter = metrics_.counter("hearth_ghost_real_hit_tokens_total",
                                           "Of these, what was served from a cache tier.", model);
}

void NodeMetrics::declare_histograms() {
    const Labels model = {{"model", model_}};
    const auto histogram = [&](const char* name, const char* help,
                               const std::vector<double>& bounds) {
        return metrics_.histogram(name, help, bounds, model);
    };
    for (const char* cache : {"warm", "partial", "cold"})
        ttft_[cache] = metrics_.histogram(
            "hearth_engine_time_to_first_token_seconds",
            "Time from arrival at the node to the first token, by cache outcome.", buckets::kTtft,
            {{"model", model_}, {"cache", cache}});
    inter_token_ = histogram("hearth_engine_inter_token_latency_seconds",
                             "Gap between two consecutive tokens.", buckets::kInterToken);
    queue_ = histogram("hearth_engine_queue_duration_seconds", "Time in the waiting state.",
                       buckets::kQueue);
    prefill_ =
        histogram("hearth_engine_prefill_duration_seconds", "Time in prefill.", buckets::kTtft);
    request_ = histogram("hearth_engine_request_duration_seconds",
                         "Time from arrival at the node to the last token.", buckets::kRequest);
    for (const char* phase : {"prefill", "decode", "mixed"})
        step_[phase] =
            metrics_.histogram("hearth_engine_step_duration_seconds", "Time of one engine step.",
                               buckets::kStep, {{"model", model_}, {"phase", phase}});
    batch_tokens_ = histogram("hearth_engine_step_batch_tokens",
                              "Tokens processed per engine step.", buckets::kTokens);
    shortfall_ =
        histogram("hearth_engine_prefix_shortfall_tokens",
                  "Tokens of a session's stored turn that its next prompt did not go on with.",
                  buckets::kTokens);
    prompt_length_ = histogram("hearth_engine_request_prompt_tokens", "Prompt length per request.",
                               buckets::kTokens);
    reply_length_ = histogram("hearth_engine_request_generation_tokens",
                              "Generated length per request.", buckets::kTokens);
}

void NodeMetrics::declare_gauges(const NodeMetricsFacts& facts) {
    const Labels model = {{"model", model_}};
    running_ =
        metrics_.gauge("hearth_engine_requests_running", "Sequences in the running batch.", model);
    waiting_ = metrics_.gauge("hearth_engine_requests_waiting",
                              "Sequences waiting for a batch slot.", model);
    tier_bytes_ = metrics_.gauge("hearth_cache_tier_bytes", "Bytes of KV held in a tier.",
                                 {{"tier", kDevice}, {"model", model_}});
    tier_capacity_ = metrics_.gauge("hearth_cache_tier_capacity_bytes", "Bytes a tier may hold.",
                                    {{"tier", kDevice}});
    const auto blocks = [this](const char* state) {
        return metrics_.gauge("hearth_cache_tier_blocks", "Blocks in a tier by state.",
                              {{"tier", kDevice}, {"state", state}});
    };
    blocks_active_ = blocks("active");
    blocks_idle_ = blocks("idle");
    blocks_free_ = blocks("free");
    sessions_ =
        metrics_.gauge("hearth_cache_sessions", "Sessions with KV in a tier.", {{"tier", kDevice}});
    blocks_kept_ =
        metrics_.gauge("hearth_cache_kept_blocks", "Blocks under a soft pin.", {{"tier", kDevice}});
    residence_ = metrics_.gauge("hearth_cache_residence_seconds",
                                "Time from last use to eviction, of recently evicted blocks.",
                                {{"tier", kDevice}});
    disk_bytes_ = metrics_.gauge("hearth_cache_tier_bytes", "Bytes of KV held in a tier.",
                                 {{"tier", kDisk}, {"model", model_}});
    disk_capacity_ = metrics_.gauge("hearth_cache_tier_capacity_bytes", "Bytes a tier may hold.",
                                    {{"tier", kDisk}});
    disk_blocks_ = metrics_.gauge("hearth_cache_tier_blocks", "Blocks in a tier by state.",
                                  {{"tier", kDisk}, {"state", "idle"}});
    disk_pending_ = metrics_.gauge("hearth_cache_tier_blocks", "Blocks in a tier by state.",
                                   {{"tier", kDisk}, {"state", "pending"}});
    disk_speed_ =
        metrics_.gauge("hearth_cache_load_bytes_per_second",
                       "Measured speed at which blocks are read back.", {{"tier", kDisk}});
    directory_up_ = metrics_.gauge("hearth_directory_up",
                                   "1 when the metadata store answers, 0 when running without it.");
    for (const NodeState state : {NodeState::kStarting, NodeState::kReady, NodeState::kDraining})
        state_[state] = metrics_.gauge("hearth_node_state", "1 for the current lifecycle state.",
                                       {{"state", to_string(state)}});
    metrics_
        .gauge("hearth_engine_model_info", "Model facts; value is always 1.",
               {{"model", facts.model},
                {"dtype", "int8"},
                {"kv_dtype", "int8"},
                {"kv_bytes_per_token", std::to_string(facts.kv_bytes_per_token)}})
        .set(1);
    metrics_
        .gauge("hearth_build_info", "Build information; value is always 1.",
               {{"component", "cachenode"},
                {"version", version()},
                {"revision", revision()},
                {"backend", facts.backend}})
        .set(1);
}

void NodeMetrics::turn_done(const TurnReport& report) {
    finished_.at(to_string(report.finish)).add();
    if (report.ttft_s > 0) {
        ttft_.at(cache_outcome(report.usage)).observe(report.ttft_s);
        prefill_.observe(report.prefill_s);
    }
    for (const float gap : report.inter_token_s) inter_token_.observe(static_cast<double>(gap));
    queue_.observe(report.queue_s);
    request_.observe(report.total_s);
    if (report.usage.prompt_tokens == 0) return;  // Never admitted.
    if (report.usage.shortfall_tokens >= 0)
        shortfall_.observe(static_cast<double>(report.usage.shortfall_tokens));
    prompt_length_.observe(static_cast<double>(report.usage.prompt_tokens));
    reply_length_.observe(static_cast<double>(report.usage.completion_tokens));
}

void NodeMetrics::step_done(double step_seconds, std::int64_t tokens, const std::string& phase) {
    const auto known = step_.find(phase);
    (known != step_.end() ? known->second : step_.at("mixed")).observe(step_seconds);
    batch_tokens_.observe(static_cast<double>(tokens));
}

void NodeMetrics::directory_done(DirectoryOperation operation, const Result<void>& result) {
    directory_[static_cast<std::size_t>(operation)].at(result_label(result)).add();
}

void NodeMetrics::truncated(std::int64_t tokens) {
    truncated_turns_.add();
    truncated_tokens_.add(static_cast<double>(tokens));
}

void NodeMetrics::follow(const SchedulerStats& stats) {
    prompt_device_.follow(stats.prompt_tokens_device);
    prompt_disk_.follow(stats.prompt_tokens_disk);
    prompt_peer_.follow(stats.prompt_tokens_peer);
    prompt_computed_.follow(stats.prompt_tokens_computed);
    reusable_.follow(stats.reusable_tokens);
    reused_.follow(stats.reused_tokens);
    ceiling_.follow(stats.ceiling_tokens);
    ghost_prompt_.follow(stats.ghost_prompt_tokens);
    ghost_hit_.follow(stats.ghost_hit_tokens);
    ghost_real_.follow(stats.ghost_real_tokens);
    full_ceiling_.follow(stats.turns_full_ceiling);
    for (const auto& [reason, tokens] : stats.missed_tokens) {
        const auto known = missed_.find(reason);
        CHECK_MSG(known != missed_.end(), reason);
        known->second.follow(tokens);
    }
    first_turns_.follow(stats.turns_first);
    full_hits_.follow(stats.turns_full_hit);
    partial_hits_.follow(stats.turns_partial_hit);
    misses_.follow(stats.turns_miss);
    generated_.follow(stats.generated_tokens);
    canonical_.follow(stats.canonical_tokens);
    evicted_.follow(stats.evicted_pages);
    expired_.follow(stats.expired_pages);
    corrupt_.follow(stats.corrupt_pages);
    disk_evicted_.follow(stats.disk.evicted);
    disk_corrupt_.follow(stats.disk.corrupt);
    disk_written_.follow(stats.disk.written);
    disk_skipped_.follow(stats.disk.skipped);
    disk_loaded_.follow(stats.disk.loaded);
    disk_failures_.follow(stats.disk.failures);
}

void NodeMetrics::show_device(const engine::DeviceFigures& figures) {
    if (device_ == nullptr) {
        auto nvml = engine::cuda::Nvml::open(figures.bus_id);
        if (!nvml)
            log::info("neither temperature nor utilisation of the GPU is known",
                      {{"because", nvml.error().message}});
        device_ =
            std::make_unique<DeviceMetrics>(metrics_, figures, nvml ? std::move(*nvml) : nullptr);
    }
    device_->show(figures);
}

std::string NodeMetrics::expose(const SchedulerStats& stats, NodeState state, bool directory_up) {
    follow(stats);
    running_.set(static_cast<double>(stats.running));
    waiting_.set(static_cast<double>(stats.waiting));
    tier_bytes_.set(static_cast<double>(stats.kv_bytes_used));
    tier_capacity_.set(static_cast<double>(stats.kv_bytes_max));
    const std::int64_t idle = std::min(stats.pages_cached, stats.pages_used);
    blocks_active_.set(static_cast<double>(stats.pages_used - idle));
    blocks_idle_.set(static_cast<double>(idle));
    blocks_free_.set(static_cast<double>(stats.pages_total - stats.pages_used));
    sessions_.set(static_cast<double>(stats.sessions));
    disk_bytes_.set(static_cast<double>(stats.disk.bytes));
    disk_capacity_.set(static_cast<double>(stats.disk.bytes_max));
    disk_blocks_.set(static_cast<double>(stats.disk.pages));
    disk_pending_.set(static_cast<double>(stats.disk.pages_pending));
    disk_speed_.set(stats.disk.load_bytes_per_s);
    blocks_kept_.set(static_cast<double>(stats.kept_pages));
    residence_.set(stats.residence_s);
    directory_up_.set(directory_up ? 1 : 0);
    if (stats.device) show_device(*stats.device);
    for (const auto& [each, gauge] : state_) gauge.set(each == state ? 1 : 0);
    return metrics_.expose();
}

}  // namespace hearth
