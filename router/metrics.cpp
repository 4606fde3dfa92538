// Names and helps as in the metric catalogue; what is counted per request keeps its handle.
#include "router/metrics.h"

#include <cmath>

#include "common/config/version.h"

namespace hearth {
namespace {

std::string code_text(int code) {
    return code == 0 ? "none" : std::to_string(code);
}

const char* to_string(Affinity affinity) {
    switch (affinity) {
        case Affinity::kSticky: return "sticky";
        case Affinity::kMoved: return "moved";
        case Affinity::kNew: return "new";
    }
    return "unknown";
}

// 48 bits, which a double holds exactly.
double ring_digest(const Members& members) {
    std::uint64_t digest = 0;
    for (const Seat& seat : members.seats) {
        const auto weight = std::llround(seat.weight * 1e6);
        digest ^= (seat.node_hash ^ static_cast<std::uint64_t>(weight)) * 0x9e3779b97f4a7c15;
    }
    return static_cast<double>(digest >> 16);
}

}  // namespace

const char* to_string(Endpoint endpoint) {
    switch (endpoint) {
        case Endpoint::kChatCompletions: return "chat_completions";
        case Endpoint::kCompletions: return "completions";
        case Endpoint::kResponses: return "responses";
        case Endpoint::kModels: return "models";
        case Endpoint::kOther: return "other";
    }
    return "unknown";
}

RouterMetrics::RouterMetrics() {
    for (std::size_t e = 0; e < kEndpoints; ++e) {
        const std::string route = to_string(static_cast<Endpoint>(e));
        in_flight_[e] = metrics_.gauge("hearth_router_requests_in_flight",
                                       "Requests being served now.", {{"route", route}});
        overhead_[e] = metrics_.histogram(
            "hearth_router_overhead_seconds",
            "Time a request spent inside the router before it was written to a node.",
            buckets::kOverhead, {{"route", route}});
        request_size_[e] =
            metrics_.histogram("hearth_router_request_size_bytes", "Request body size.",
                               buckets::kBytes, {{"route", route}});
        for (std::size_t s = 0; s < 2; ++s)
            duration_[e * 2 + s] = metrics_.histogram(
                "hearth_router_request_duration_seconds",
                "Time from the request's head to the last byte of its answer.", buckets::kRequest,
                {{"route", route}, {"stream", s == 1 ? "true" : "false"}});
        for (std::size_t a = 0; a < kAffinities; ++a)
            first_byte_[e * kAffinities + a] = metrics_.histogram(
                "hearth_router_time_to_first_byte_seconds",
                "Time from the request's head to the first byte of the answer's body.",
                buckets::kTtft,
                {{"route", route}, {"affinity", to_string(static_cast<Affinity>(a))}});
    }
    for (const Priority priority : {Priority::kInteractive, Priority::kBatch})
        queue_depth_[static_cast<std::size_t>(priority)] =
            metrics_.gauge("hearth_router_queue_depth", "Requests waiting for an admission slot.",
                           {{"priority", hearth::to_string(priority)}});
    queued_ = metrics_.histogram("hearth_router_queue_duration_seconds",
                                 "Time spent waiting for an admission slot.", buckets::kQueue);
    metrics_
        .gauge("hearth_build_info", "Build information; value is always 1.",
               {{"component", "router"}, {"version", version()}, {"revision", revision()}})
        .set(1);
    lookup_ = metrics_.histogram("hearth_directory_operation_duration_seconds",
                                 "Round trip to the metadata store.", buckets::kLookup,
                                 {{"op", "lookup"}});
    start_at_zero();
}

// A counter that appears with its first event hides that event from rate() and increase().
void RouterMetrics::start_at_zero() {
    for (const Endpoint endpoint : {Endpoint::kChatCompletions, Endpoint::kCompletions})
        for (const char* reason :
             {"client_gone", "deadline", "node_lost", "slow_client", "shutdown"})
            aborted(endpoint, reason, 0);
    for (const char* reason : {"connect", "busy", "node_lost", "stale_connection"})
        retried(reason, 0);
    for (const char* cause : {"node_lost", "stalled", "given_up"}) continued(cause, 0);
    for (const char* reason :
         {"queue_full", "queue_timeout", "rate_limit", "no_node", "node_full", "retry_budget",
          "body_too_large", "body_memory", "model_not_found", "unauthorized", "forbidden"})
        rejected(reason, 0);
    for (const char* cause :
         {"node_down", "planned_drain", "scale_out", "overload_spill", "operator", "moved"})
        rerouted(cause, 0);
    for (const char* result : {"exported", "refused", "dropped"}) spans(result, 0);
    panicked(0);
    planned_change(0);
}

void RouterMetrics::use_store() {
    directory_up_ = metrics_.gauge("hearth_directory_up",
                                   "1 when the metadata store answers, 0 when routing without it.");
    with_store_ = true;
    for (const char* result : {"ok", "timeout", "error"}) lookups(result);
    store_forgot(0);
}

Counter RouterMetrics::counter(Text name, Text help, const Labels& labels) {
    return metrics_.counter(name, help, labels);
}

void RouterMetrics::request_started(Endpoint endpoint) {
    in_flight_[static_cast<std::size_t>(endpoint)].add(1);
}

void RouterMetrics::request_finished(Endpoint endpoint, int code, bool stream, double seconds) {
    const auto e = static_cast<std::size_t>(endpoint);
    in_flight_[e].add(-1);
    duration_[e * 2 + (stream ? 1 : 0)].observe(seconds);
    const auto [place, is_new] = requests_.try_emplace({endpoint, code, stream});
    if (is_new)
        place->second = counter("hearth_router_requests_total",
                                "HTTP requests finished; code 499 = the client left.",
                                {{"route", to_string(endpoint)},
                                 {"code", code_text(code)},
                                 {"stream", stream ? "true" : "false"}});
    place->second.add();
}

void RouterMetrics::request_size(Endpoint endpoint, std::size_t bytes) {
    request_size_[static_cast<std::size_t>(endpoint)].observe(static_cast<double>(bytes));
}

void RouterMetrics::first_byte(Endpoint endpoint, Affinity affinity, double seconds) {
    const auto e = static_cast<std::size_t>(endpoint);
    first_byte_[e * kAffinities + static_cast<std::size_t>(affinity)].observe(seconds);
}

void RouterMetrics::overhead(Endpoint endpoint, double seconds) {
    overhead_[static_cast<std::size_t>(endpoint)].observe(seconds);
}

void RouterMetrics::aborted(Endpoint endpoint, const std::string& reason, double by) {
    counter("hearth_router_aborted_requests_total", "Requests that ended early, by reason.",
            {{"route", to_string(endpoint)}, {"reason", reason}})
        .add(by);
}

void RouterMetrics::rerouted(const std::string& cause, double by) {
    counter("hearth_router_sessions_rerouted_total",
            "Turns sent to another node than the one that holds the session, by cause.",
            {{"reason", cause}})
        .add(by);
}

void RouterMetrics::planned_change(double unix_s) {
    metrics_
        .gauge("hearth_router_planned_change_timestamp_seconds",
               "Unix time of the last drain, undrain or change of a list of members.")
        .set(unix_s);
}

void RouterMetrics::sessions_active(std::size_t count) {
    metrics_
        .gauge("hearth_router_sessions_active",
               "Sessions of this router's memory with a turn within scale_up_idle_ms.")
        .set(static_cast<double>(count));
}

void RouterMetrics::decided(Reason reason, KeySource source) {
    const auto [place, is_new] = decisions_.try_emplace({reason, source});
    if (is_new)
        place->second =
            counter("hearth_router_route_decisions_total",
                    "Routing decisions by reason and by the session key's source.",
                    {{"outcome", to_string(reason)}, {"key_source", to_string(source)}});
    place->second.add();
}

void RouterMetrics::node_answered(const std::string& node, int code) {
    const auto [place, is_new] = node_requests_.try_emplace({node, code});
    if (is_new)
        place->second = counter("hearth_router_node_requests_total",
                                "Upstream requests by node and answer; none = no answer.",
                                {{"node", node}, {"code", code_text(code)}});
    place->second.add();
}

void RouterMetrics::ejected(const std::string& node, const std::string& reason, double by) {
    counter("hearth_router_node_ejections_total", "Times a node was ejected, by reason.",
            {{"node", node}, {"reason", reason}})
        .add(by);
}

void RouterMetrics::panicked(double by) {
    counter("hearth_router_panics_total",
            "Times too few nodes of a pool were usable and all were used.", {})
        .add(by);
}

void RouterMetrics::source_read(const std::string& source, bool good, double at) {
    metrics_
        .gauge("hearth_router_member_source_up", "1 when the source's last answer was good.",
               {{"source", source}})
        .set(good ? 1 : 0);
    if (good)
        metrics_
            .gauge("hearth_router_member_source_success_timestamp_seconds",
                   "When the source of members last gave a good answer.", {{"source", source}})
            .set(at);
}

void RouterMetrics::retried(const std::string& reason, double by) {
    counter("hearth_router_retries_total",
            "Requests sent again before any byte of an answer had reached the client.",
            {{"reason", reason}})
        .add(by);
}

void RouterMetrics::continued(const std::string& cause, double by) {
    counter("hearth_router_streams_continued_total",
            "Broken streams that were sent to an heir to be gone on with.", {{"cause", cause}})
        .add(by);
}

void RouterMetrics::rejected(const std::string& reason, double by) {
    counter("hearth_router_admission_rejected_total", "Requests the router refused, by reason.",
            {{"reason", reason}})
        .add(by);
}

void RouterMetrics::queue_depth(Priority priority, std::size_t waiting) {
    queue_depth_[static_cast<std::size_t>(priority)].set(static_cast<double>(waiting));
}

void RouterMetrics::queued_for(double seconds) {
    queued_.observe(seconds);
}

void RouterMetrics::tenant_request(const std::string& tenant, const std::string& outcome) {
    const auto [place, is_new] = tenant_requests_.try_emplace({tenant, outcome});
    if (is_new)
        place->second = counter("hearth_router_tenant_requests_total",
                                "Requests with a known API key, by tenant and outcome.",
                                {{"tenant", tenant}, {"outcome", outcome}});
    place->second.add();
}

void RouterMetrics::reloaded(bool good, double unix_s, const std::string& hash) {
    const Labels component = {{"component", "router"}};
    metrics_
        .gauge("hearth_config_last_reload_successful",
               "Whether the last configuration reload succeeded.", component)
        .set(good ? 1 : 0);
    metrics_
        .gauge("hearth_config_last_reload_timestamp_seconds",
               "Unix time of the last configuration reload attempt.", component)
        .set(unix_s);
    const auto info = [this](const std::string& of) {
        return metrics_.gauge("hearth_config_hash_info",
                              "Hash of the active configuration; value is always 1.",
                              {{"component", "router"}, {"hash", of}});
    };
    if (!config_hash_.empty() && config_hash_ != hash) info(config_hash_).set(0);
    config_hash_ = hash;
    info(hash).set(1);
}

void RouterMetrics::spans(const std::string& result, std::size_t count) {
    counter("hearth_router_spans_total", "Spans of sampled turns, by what became of them.",
            {{"result", result}})
        .add(static_cast<double>(count));
}

void RouterMetrics::store_forgot(double by) {
    counter("hearth_directory_memory_losses_total",
            "Times the metadata store was found to have forgotten everything.", {})
        .add(by);
}

void RouterMetrics::looked_up(const std::string& result, double seconds) {
    lookup_.observe(seconds);
    lookups(result).add();
}

Counter RouterMetrics::lookups(const std::string& result) {
    return counter("hearth_directory_operations_total", "Metadata operations by kind and result.",
                   {{"op", "lookup"}, {"result", result}});
}

void RouterMetrics::set_node(const std::string& node, const Member* member) {
    const Labels labels = {{"node", node}};
    const bool up = member != nullptr && member->status->health == NodeStatus::Health::kUp;
    const auto open = member != nullptr ? member->status->in_flight : 0;
    metrics_
        .gauge("hearth_router_node_health", "1 when the node passes health checks, else 0.", labels)
        .set(up ? 1 : 0);
    metrics_
        .gauge("hearth_router_node_in_flight", "Requests this router has open to a node.", labels)
        .set(static_cast<double>(open));
    metrics_
        .gauge("hearth_router_node_id_conflicts",
               "Times that a node's id was published by two live processes in turn.", labels)
        .set(member != nullptr ? member->status->id_conflicts : 0);
}

void RouterMetrics::set_shares(const Members& members) {
    // The share of sessions that rendezvous hashing gives a seat is its share of its pool's weight.
    std::map<std::string, double> shares;
    for (const Members::Pool& pool : members.pools) {
        const Members& seated = pool.members ? *pool.members : members;
        double sum = 0;
        for (const Seat& seat : seated.seats) sum += seat.weight;
        for (std::size_t i = 0; i < seated.seats.size(); ++i)
            shares[seated.members[i].record.node_id] = seated.seats[i].weight / sum;
    }
    for (const std::string& node : nodes_)
        metrics_
            .gauge("hearth_router_ring_ownership_ratio",
                   "Share of its pool's sessions whose home a node is.", {{"node", node}})
            .set(shares[node]);
    metrics_
        .gauge(
            "hearth_router_ring_version",
            "Digest of the nodes that take turns and their weights: equal on routers that agree.")
        .set(ring_digest(members));
}

std::string RouterMetrics::expose(const Members& members, bool directory_up) {
    if (with_store_) directory_up_.set(directory_up ? 1 : 0);
    std::map<std::string, int> states = {
        {"active", 0}, {"ejected", 0}, {"joining", 0}, {"draining", 0}};
    for (const Member& member : members.members) {
        const std::string& id = member.record.node_id;
        if (nodes_.insert(id).second)
            for (const char* reason : {"connect", "timeout", "died", "5xx"}) ejected(id, reason, 0);
        ++states[member.standing()];
    }
    for (const std::string& node : nodes_) set_node(node, members.find(node));
    set_shares(members);
    for (const auto& [state, count] : states)
        metrics_
            .gauge("hearth_router_ring_members", "Nodes known to this router, by state.",
                   {{"state", state}})
            .set(count);
    return metrics_.expose();
}

}  // namespace hearth
