// The rules that make probes, failed turns and time into up, down, ejected and back.
#include "router/members/health.h"

#include <algorithm>

namespace hearth {
namespace {

using Circuit = NodeStatus::Circuit;
using Health = NodeStatus::Health;

// Slow start never takes all of a node's weight: its heirs should not be its only judges.
constexpr double kRampMin = 0.1;

void begin_slow_start(NodeStatus& status, const HealthRules& rules, MonotonicNs now) {
    if (rules.slow_start <= 0) return;
    status.warm_since = now;
    status.ramp = kRampMin;
}

MonotonicNs ejection_time(int ejections, const HealthRules& rules) {
    MonotonicNs time = rules.eject;
    for (int n = 1; n < ejections && time < rules.eject_max; ++n) time *= 2;
    return std::min(time, rules.eject_max);
}

}  // namespace

const char* to_string(Verdict verdict) {
    switch (verdict) {
        case Verdict::kGood: return "good";
        case Verdict::kConnect: return "connect";
        case Verdict::kTimeout: return "timeout";
        case Verdict::kDied: return "died";
        case Verdict::kServerError: return "5xx";
        case Verdict::kNone: return "none";
    }
    return "unknown";
}

bool note_probe(NodeStatus& status, Probe probe, const HealthRules& rules, MonotonicNs now) {
    const auto before = status.health;
    if (probe == Probe::kPassed) {
        status.failures = 0;
        status.refused = false;
        if (before == Health::kDown && ++status.passes < rules.probe_passes) return false;
        status.health = Health::kUp;
        status.passes = 0;
        if (before == Health::kDown) begin_slow_start(status, rules, now);
    } else {
        ++status.failures;
        status.passes = 0;
        status.refused = probe == Probe::kRefused;
        if (status.refused || status.failures >= rules.probe_failures)
            status.health = Health::kDown;
    }
    return status.health != before;
}

bool note_connect_failure(NodeStatus& status) {
    const bool changed = status.health != Health::kDown;
    status.health = Health::kDown;
    status.refused = true;
    status.passes = 0;
    return changed;
}

void note_turn_start(NodeStatus& status) {
    if (status.circuit == Circuit::kHalfOpen) status.trial = true;
}

bool note_turn_end(NodeStatus& status, Verdict verdict, const HealthRules& rules, MonotonicNs now) {
    const bool tried = status.circuit == Circuit::kHalfOpen;
    if (tried) status.trial = false;
    if (verdict == Verdict::kNone || status.circuit == Circuit::kOpen) return false;
    if (verdict != Verdict::kGood) {
        ++status.turn_failures;
        return rules.eject_failures > 0 && (tried || status.turn_failures >= rules.eject_failures);
    }
    status.turn_failures = 0;
    if (tried) {
        status.circuit = Circuit::kClosed;
        status.closed_at = now;
        begin_slow_start(status, rules, now);
    } else if (status.ejections > 0 &&
               now - status.closed_at >= ejection_time(status.ejections, rules)) {
        status.ejections = 0;
    }
    return false;
}

void eject(NodeStatus& status, Verdict why, const HealthRules& rules, MonotonicNs now) {
    ++status.ejections;
    status.circuit = Circuit::kOpen;
    status.trial = false;
    status.turn_failures = 0;
    status.eject_reason = to_string(why);
    status.eject_until = now + ejection_time(status.ejections, rules);
}

void note_time(NodeStatus& status, const HealthRules& rules, MonotonicNs now) {
    if (status.circuit == Circuit::kOpen && now >= status.eject_until)
        status.circuit = Circuit::kHalfOpen;
    if (status.warm_since == 0) return;
    const auto warm = static_cast<double>(now - status.warm_since);
    const double share = rules.slow_start > 0 ? warm / static_cast<double>(rules.slow_start) : 1.0;
    status.ramp = std::clamp(share, kRampMin, 1.0);
    if (status.ramp >= 1.0) status.warm_since = 0;
}

void note_restart(NodeStatus& status, const HealthRules& rules, MonotonicNs now) {
    status.health = Health::kUp;  // It has just said so itself.
    status.failures = status.passes = 0;
    status.refused = false;
    status.circuit = Circuit::kClosed;
    status.trial = false;
    status.turn_failures = status.ejections = 0;
    begin_slow_start(status, rules, now);
}

bool may_eject(const Members& pool, const HealthRules& rules) {
    const std::size_t seats = pool.seats.size();
    std::size_t ejected = 0;
    for (std::size_t i = 0; i < seats; ++i)
        ejected += pool.members[i].status->circuit == Circuit::kOpen;
    if (seats < 2) return false;
    const auto percent = static_cast<std::size_t>(rules.ejected_max_percent);
    return (percent > 0 && ejected == 0) || (ejected + 1) * 100 <= percent * seats;
}

bool note_panic(const Members& pool, const HealthRules& rules) {
    const std::size_t seats = pool.seats.size();
    std::size_t sound = 0;
    for (std::size_t i = 0; i < seats; ++i) sound += pool.members[i].status->sound();
    const bool panic = sound * 100 < static_cast<std::size_t>(rules.panic_percent) * seats;
    bool changed = false;
    for (std::size_t i = 0; i < seats; ++i) {
        NodeStatus& status = *pool.members[i].status;
        changed = changed || status.panic != panic;
        status.panic = panic;
    }
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
