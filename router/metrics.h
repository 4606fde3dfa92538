// RouterMetrics: the router's series of the metric catalogue, with the handles kept.
#pragma once

#include <array>
#include <map>
#include <set>
#include <string>
#include <tuple>

#include "common/metrics/metrics.h"
#include "common/wire/session_key.h"
#include "router/admission/tenants.h"
#include "router/members/membership.h"
#include "router/placement/decide.h"

namespace hearth {

enum class Endpoint { kChatCompletions, kCompletions, kResponses, kModels, kOther };
const char* to_string(Endpoint endpoint);
constexpr std::size_t kEndpoints = 5;

// What of a session's cache a turn may hope for; label of time_to_first_byte.
enum class Affinity { kSticky, kMoved, kNew };
constexpr std::size_t kAffinities = 3;

// One thread writes; expose() on the same. Label values are ours or names of members, never a
// client's, so the number of series is bounded.
class RouterMetrics {
  public:
    RouterMetrics();
    // There is a metadata store: hearth_directory_* tells of it.
    void use_store();

    void request_started(Endpoint endpoint);
    // `code`: what was sent, or 499 when the client left before the end.
    void request_finished(Endpoint endpoint, int code, bool stream, double seconds);
    void request_size(Endpoint endpoint, std::size_t bytes);
    void first_byte(Endpoint endpoint, Affinity affinity, double seconds);
    void overhead(Endpoint endpoint, double seconds);
    void aborted(Endpoint endpoint, const std::string& reason, double by = 1);
    void decided(Reason reason, KeySource source);
    void node_answered(const std::string& node, int code);  // 0 = it did not.
    void ejected(const std::string& node, const std::string& reason, double by = 1);
    void panicked(double by = 1);
    // `cause`: one of Placer's; a session whose KV is on another node than its turn.
    void rerouted(const std::string& cause, double by = 1);
    void planned_change(double unix_s);  // An operator's drain, or another list of members.
    void sessions_active(std::size_t count);
    // `at`: Unix time in seconds of a source's last good answer.
    void source_read(const std::string& source, bool good, double at);
    void retried(const std::string& reason, double by = 1);
    void continued(const std::string& cause, double by = 1);
    void rejected(const std::string& reason, double by = 1);
    void queue_depth(Priority priority, std::size_t waiting);
    void queued_for(double seconds);
    // `tenant`: a configured name or "other", never a client's text.
    void tenant_request(const std::string& tenant, const std::string& outcome);
    // `unix_s`: of the attempt; `hash`: of the settings in force.
    void reloaded(bool good, double unix_s, const std::string& hash);
    void spans(const std::string& result, std::size_t count);  // exported, refused or dropped.
    void store_forgot(double by = 1);  // The metadata store has lost its memory.
    void looked_up(const std::string& result, double seconds);

    // Prometheus text, with the gauges as of now.
    std::string expose(const Members& members, bool directory_up);

  private:
    using Text = const char*;
    Counter counter(Text name, Text help, const Labels& labels);
    Counter lookups(const std::string& result);
    void start_at_zero();
    void set_node(const std::string& node, const Member* member);
    void set_shares(const Members& members);

    Metrics metrics_;
    std::array<Gauge, kEndpoints> in_flight_;
    std::array<Histogram, kEndpoints * 2> duration_;
    std::array<Histogram, kEndpoints * kAffinities> first_byte_;
    std::array<Histogram, kEndpoints> overhead_;
    std::array<Histogram, kEndpoints> request_size_;
    std::array<Gauge, kPriorities> queue_depth_;
    Histogram queued_;
    Gauge directory_up_;
    bool with_store_ = false;
    std::string config_hash_;
    Histogram lookup_;
    std::map<std::tuple<Endpoint, int, bool>, Counter> requests_;
    std::map<std::pair<Reason, KeySource>, Counter> decisions_;
    std::map<std::pair<std::string, int>, Counter> node_requests_;
    std::map<std::pair<std::string, std::string>, Counter> tenant_requests_;
    std::set<std::string> nodes_;  // That have gauges.
};

}  // namespace hearth
