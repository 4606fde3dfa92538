// Names and labels of the transfer series.
#include "cachenode/transfer/transfer_metrics.h"

namespace hearth {
namespace {

const char* to_string(TransferKind kind) {
    switch (kind) {
        case TransferKind::kPull: return "pull";
        case TransferKind::kServed: return "served";
        case TransferKind::kHandOff: return "hand_off";
        case TransferKind::kReplicate: return "replicate";
        case TransferKind::kAccepted: return "accepted";
    }
    return "unknown";
}

const char* label_of(const Result<void>& result) {
    if (result) return "ok";
    switch (result.error().code) {
        case ErrorCode::kCorrupt: return "corrupt";
        case ErrorCode::kNotFound: return "not_held";
        case ErrorCode::kExhausted: return "full";
        case ErrorCode::kUnsupported: return "refused";
        case ErrorCode::kTimeout: return "timeout";
        default: return "error";
    }
}

}  // namespace

TransferMetrics::TransferMetrics(Metrics& metrics) {
    constexpr const char* kSessions = "hearth_transfer_sessions_total";
    constexpr const char* kSessionsHelp = "Sessions moved between nodes, by kind and result.";
    for (const TransferKind kind :
         {TransferKind::kPull, TransferKind::kServed, TransferKind::kHandOff,
          TransferKind::kReplicate, TransferKind::kAccepted})
        for (const char* result :
             {"ok", "corrupt", "not_held", "full", "refused", "timeout", "error", "declined"})
            sessions_[to_string(kind)][result] = metrics.counter(
                kSessions, kSessionsHelp, {{"kind", to_string(kind)}, {"result", result}});
    constexpr const char* kBytes = "hearth_transfer_bytes_total";
    constexpr const char* kBytesHelp = "Bytes of KV pages moved between nodes.";
    in_ = metrics.counter(kBytes, kBytesHelp, {{"direction", "in"}});
    out_ = metrics.counter(kBytes, kBytesHelp, {{"direction", "out"}});
    corrupt_ =
        metrics.counter("hearth_cache_corrupt_blocks_total",
                        "Blocks whose bytes had changed when they were found.", {{"tier", "peer"}});
    remaining_ = metrics.gauge("hearth_node_drain_remaining_sessions",
                               "Sessions that a draining node has still to hand over.");
}

void TransferMetrics::done(TransferKind kind, const Result<void>& result) {
    sessions_.at(to_string(kind)).at(label_of(result)).add();
    const bool takes = kind == TransferKind::kPull || kind == TransferKind::kAccepted;
    if (takes && !result && result.error().code == ErrorCode::kCorrupt) corrupt_.add();
}

}  // namespace hearth
