// One line of log, the counters and the span of a request; all from the same facts.
#include "router/relay/account.h"

#include "common/base/log.h"

namespace hearth {
namespace {

constexpr std::size_t kLoggedPathBytesMax = 256;

// A turn that was cut before anything was sent ends like one whose client left.
int final_status(const TurnFacts& facts) {
    return facts.status == 0 ? 499 : facts.status;
}

}  // namespace

void account(RouterCore& core, const TurnFacts& facts, MonotonicNs now) {
    const double total = seconds(now - facts.started);
    const auto since_start = [&](MonotonicNs at) {
        return at == 0 ? 0 : seconds(at - facts.started);
    };
    const auto ms = [&](MonotonicNs at) {
        return at == 0 ? 0 : static_cast<double>((at - facts.started + 500) / 1000) / 1e3;
    };
    const int status = final_status(facts);
    core.metrics.request_finished(facts.endpoint, status, facts.stream, total);
    core.metrics.request_size(facts.endpoint, facts.body_bytes);
    if (facts.written != 0) core.metrics.overhead(facts.endpoint, since_start(facts.written));
    if (facts.first_byte != 0)
        core.metrics.first_byte(facts.endpoint, facts.affinity, since_start(facts.first_byte));
    if (facts.reason && facts.source) core.metrics.decided(*facts.reason, *facts.source);
    const std::string aborted = facts.status == 0 ? "shutdown" : facts.aborted;
    if (!aborted.empty()) core.metrics.aborted(facts.endpoint, aborted);
    log::info("request", {{"request_id", facts.request_id},
                          {"trace_id", facts.trace.trace_id},
                          {"route", to_string(facts.endpoint)},
                          {"method", facts.method},
                          {"path", facts.path.substr(0, kLoggedPathBytesMax)},
                          {"body_bytes", facts.body_bytes},
                          {"tenant", facts.tenant},
                          {"status", status},
                          {"stream", facts.stream ? "true" : "false"},
                          {"node", facts.node},
                          {"reason", facts.reason ? to_string(*facts.reason) : ""},
                          {"key_source", facts.source ? to_string(*facts.source) : ""},
                          {"attempts", facts.attempts},
                          {"continued", facts.continued},
                          {"aborted", aborted},
                          {"written_ms", ms(facts.written)},
                          {"first_byte_ms", ms(facts.first_byte)},
                          {"total_ms", ms(now)}});
}

Span span_of(const RouterCore& core, const TurnFacts& facts, const SessionKey& session) {
    const int status = final_status(facts);
    Span span;
    span.trace = facts.trace;
    span.name = std::string(facts.method) + " " + to_string(facts.endpoint);
    span.end = core.clock.unix_now();
    span.duration = core.clock.now() - facts.started;
    span.failed = status >= 500 || !facts.aborted.empty();
    auto& attributes = span.attributes;
    attributes = {{"http.request.method", std::string(facts.method)},
                  {"url.path", std::string(facts.path.substr(0, kLoggedPathBytesMax))},
                  {"http.response.status_code", std::int64_t{status}},
                  {"http.request.body.size", static_cast<std::int64_t>(facts.body_bytes)},
                  {"hearth.request_id", facts.request_id},
                  {"hearth.attempts", std::int64_t{facts.attempts}},
                  {"hearth.continued", std::int64_t{facts.continued}}};
    if (!facts.tenant.empty()) attributes.emplace_back("hearth.tenant", std::string(facts.tenant));
    if (!facts.node.empty()) attributes.emplace_back("hearth.node", facts.node);
    if (facts.reason)
        attributes.emplace_back("hearth.reason", std::string(to_string(*facts.reason)));
    if (facts.source) {
        attributes.emplace_back("hearth.key_source", std::string(to_string(*facts.source)));
        // Derived with our secret, so it names the session without telling the client's key.
        attributes.emplace_back("gen_ai.conversation.id", session.hex());
    }
    if (facts.first_byte != 0)
        attributes.emplace_back("hearth.first_byte_us", (facts.first_byte - facts.started) / 1000);
    if (!facts.aborted.empty()) attributes.emplace_back("error.type", facts.aborted);
    return span;
}

}  // namespace hearth
