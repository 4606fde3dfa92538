// The rules that make probes and failed connections into up or down.
#include "router/members/health.h"

namespace hearth {

bool note_probe(NodeStatus& status, Probe probe) {
    const auto before = status.health;
    if (probe == Probe::kPassed) {
        status.failures = 0;
        status.health = NodeStatus::Health::kUp;
    } else {
        ++status.failures;
        if (probe == Probe::kRefused || status.failures >= kProbeFailuresMax)
            status.health = NodeStatus::Health::kDown;
    }
    return status.health != before;
}

bool note_connect_failure(NodeStatus& status) {
    const bool changed = status.health != NodeStatus::Health::kDown;
    status.health = NodeStatus::Health::kDown;
    return changed;
}

Probe probe_outcome(const Result<HttpClient::Answer>& answer) {
    constexpr int kNotImplemented = 501;  // From a server that has never heard of the path.
    if (answer.ok())
        return answer->status < 500 || answer->status == kNotImplemented ? Probe::kPassed
                                                                         : Probe::kFailed;
    return answer.error().code == ErrorCode::kUnavailable ? Probe::kRefused : Probe::kFailed;
}

}  // namespace hearth
