// Admission: who may ask, how often, and who waits when the fleet is full.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/clock.h"
#include "common/net/asio.h"
#include "common/net/http_server.h"
#include "router/admission/fair_queue.h"
#include "router/admission/tenants.h"
#include "router/admission/token_bucket.h"
#include "router/admission/usage_tail.h"
#include "router/config.h"
#include "router/metrics.h"
#include "router/relay/client_watch.h"
#include "router/relay/refusal.h"

namespace hearth {

// One tenant and where it stands with its limits. Outlives its place in the config while a request
// of it is being served.
struct Tenant {
    Tenant(const TenantSettings& from, std::size_t id, MonotonicNs now);

    TenantSettings settings;
    std::string salt;    // For hearth-tenant.
    std::string label;   // In metrics: its name, or "other".
    std::size_t number;  // Of its flow in the queue.
    TokenBucket requests, tokens;
    std::int64_t running = 0;  // Turns, waiting ones included.
};

class Admission;

// One request's dealings with Admission. Owned by the turn; what it holds is given back when it
// goes, whatever way the turn ends.
class Visit {
  public:
    Visit() = default;
    ~Visit() { leave(); }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

    // Empty without tenants.
    std::string_view tenant() const;
    std::string_view salt() const;
    std::string_view follow_up_bonus_s() const;  // Empty: as the nodes are set.
    bool may_use(std::string_view model) const;
    bool models_bounded() const { return tenant_ != nullptr && !tenant_->settings.models.empty(); }
    // Where to show the answer's bytes, so that its tokens can be counted; null = nobody wants to.
    UsageTail* usage() { return tail_ ? &*tail_ : nullptr; }
    // The body's size is known now; it counts if the answer does not say its tokens.
    void note_body(std::size_t bytes);
    // x-ratelimit-*, as of when the request was charged.
    const HeaderList& limits() const { return limits_; }

  private:
    friend class Admission;
    void leave();

    Admission* admission_ = nullptr;
    std::shared_ptr<Tenant> tenant_;
    Priority priority_ = Priority::kInteractive;
    double estimate_ = 0;   // Tokens.
    double charged_ = 0;    // Tokens taken from the bucket so far.
    bool counted_ = false;  // In tenant_->running.
    bool has_slot_ = false;
    std::optional<UsageTail> tail_;
    HeaderList limits_;
};

// Owned by the core; its io_context's thread. Visits do not outlive it.
// Invariants: running_ is the number of visits with a slot; nobody waits while there is room.
class Admission {
  public:
    Admission(asio::io_context& io, const Clock& clock, RouterMetrics& metrics);
    ~Admission();

    // Takes over a config, at the start and whenever another one is in force. Tenants that stay
    // keep what they have used up. Cheap if it is the same.
    void follow(const std::shared_ptr<const RouterConfig>& config);

    bool has_tenants() const { return !keys_.empty(); }
    bool has_queue() const { return in_flight_max_ > 0; }

    // Finds the caller's tenant by its key: `authorization: Bearer` or `x-api-key`. 401 if there is
    // none. Only with tenants.
    std::optional<Refusal> identify(const RequestHead& head, Visit& visit);
    // Counts the request against its tenant's limits: 429 if one is reached.
    std::optional<Refusal> charge(const RequestHead& head, Visit& visit);
    // 403 unless the visit's tenant may use the model.
    std::optional<Refusal> check_model(const Visit& visit, std::string_view model);

    enum class Entry { kEntered, kClientGone, kRefused };
    // Waits for a place among in_flight_max. kRefused fills `refusal`: the queue is full, or the
    // wait was too long. `watch` must not run; it has ended when this returns.
    Task<Entry> enter(Visit& visit, ClientWatch& watch, Refusal& refusal);

  private:
    friend class Visit;
    struct Waiter;

    std::shared_ptr<Tenant> tenant_of(std::string_view key) const;
    Refusal too_many(Visit& visit, std::string_view kind, double wait_s);
    void note_limits(Visit& visit);
    void refused(const Visit& visit, const char* reason);
    bool room() const { return running_ < in_flight_max_ || in_flight_max_ == 0; }
    void take_slot(Visit& visit);
    void leave(Visit& visit);
    void grant();
    void show_depth();
    int retry_after_s() const;
    Refusal queue_refusal(const Visit& visit, bool full);

    asio::io_context& io_;
    const Clock& clock_;
    RouterMetrics& metrics_;
    std::shared_ptr<const RouterConfig> config_;
    std::vector<ApiKeyHash> keys_;
    std::vector<std::shared_ptr<Tenant>> owners_;  // Of keys_, in their order.
    std::size_t tenants_made_ = 0;

    std::size_t in_flight_max_ = 0;  // 0 = no bound.
    std::size_t running_ = 0;
    FairQueue queue_{0};
    std::unordered_map<FairQueue::Ticket, Waiter*> waiters_;
    MonotonicNs last_release_ = 0;
    double release_interval_s_ = 0;  // Moving average.
};

// What `authorization` a node gets: upstream_api_key if it is set; the client's own if there are no
// tenants or forward_authorization is set; else none.
std::string upstream_authorization(const RouterConfig& config, const RequestHead& head);

}  // namespace hearth
