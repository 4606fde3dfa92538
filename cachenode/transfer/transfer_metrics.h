// TransferMetrics: what moved between this node and its peers, and what did not.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "common/base/result.h"
#include "common/metrics/metrics.h"

namespace hearth {

enum class TransferKind {
    kPull,       // We asked the holder of a session whose turn came to us.
    kServed,     // A peer asked us so.
    kHandOff,    // We gave a session to its heir, for good.
    kReplicate,  // We gave its heir a copy.
    kAccepted,   // A peer gave us one of either.
};

// One io_context's thread.
class TransferMetrics {
  public:
    explicit TransferMetrics(Metrics& metrics);

    // `result`: of the whole transfer; what failed by kCorrupt is counted as a corrupt page too.
    void done(TransferKind kind, const Result<void>& result);
    void declined() { sessions_.at("pull").at("declined").add(); }  // To compute was faster.
    void received(std::int64_t bytes) { in_.add(static_cast<double>(bytes)); }
    void sent(std::int64_t bytes) { out_.add(static_cast<double>(bytes)); }
    void drain_remaining(std::int64_t sessions) { remaining_.set(static_cast<double>(sessions)); }

  private:
    std::map<std::string, std::map<std::string, Counter>> sessions_;  // By kind, result.
    Counter in_, out_, corrupt_;
    Gauge remaining_;
};

}  // namespace hearth
