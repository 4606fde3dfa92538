// Keys to tenants, limits, and the coroutine shell of the queue.
#include "router/admission/admission.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "common/wire/session_key.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kTenantLabelsMax = 100;
constexpr double kBytesPerToken = 4;  // Rule of thumb for English text and its JSON.
constexpr int kRetryAfterMaxS = 60;

// "17ms", "8.64s", "6m0s": as OpenAI writes the time until a limit is whole again.
std::string reset_text(double wait_s) {
    char text[48];
    if (wait_s < 1) {
        std::snprintf(text, sizeof text, "%dms", static_cast<int>(std::ceil(wait_s * 1e3)));
    } else if (wait_s < 60) {
        std::snprintf(text, sizeof text, "%.2fs", wait_s);
    } else {
        const auto whole = static_cast<long long>(std::ceil(wait_s));
        std::snprintf(text, sizeof text, "%lldm%llds", whole / 60, whole % 60);
    }
    return text;
}

std::string count_text(double value) {
    return std::to_string(static_cast<std::int64_t>(std::max(0.0, std::floor(value))));
}

std::string_view presented_key(const RequestHead& head) {
    constexpr std::string_view kBearer = "bearer ";
    std::string_view value = head.find("authorization");
    if (value.size() > kBearer.size() &&
        equals_ignore_case(value.substr(0, kBearer.size()), kBearer)) {
        value.remove_prefix(kBearer.size());
        while (value.starts_with(' ')) value.remove_prefix(1);
        return value;
    }
    return head.find("x-api-key");
}

// A header `priority` is also RFC 9218's; only our two words count.
Priority chosen_priority(const RequestHead& head, Priority otherwise) {
    for (const std::string_view name : {"x-hearth-priority", "priority"}) {
        const std::string_view value = head.find(name);
        if (equals_ignore_case(value, "batch")) return Priority::kBatch;
        if (equals_ignore_case(value, "interactive")) return Priority::kInteractive;
    }
    return otherwise;
}

double tokens_of(std::uint64_t bytes) {
    return static_cast<double>(bytes) / kBytesPerToken;
}

}  // namespace

Tenant::Tenant(const TenantSettings& from, std::size_t id, MonotonicNs now)
    : settings(from),
      number(id),
      requests(from.requests_per_second, std::max(1.0, from.requests_per_second), now),
      tokens(static_cast<double>(from.tokens_per_minute) / 60,
             static_cast<double>(from.tokens_per_minute), now) {}

std::string_view Visit::tenant() const {
    return tenant_ == nullptr ? std::string_view() : tenant_->settings.name;
}

std::string_view Visit::salt() const {
    return tenant_ == nullptr ? std::string_view() : tenant_->salt;
}

std::string_view Visit::follow_up_bonus_s() const {
    return tenant_ == nullptr ? std::string_view() : tenant_->settings.follow_up_bonus_s;
}

bool Visit::may_use(std::string_view model) const {
    if (!models_bounded()) return true;
    const std::vector<std::string>& models = tenant_->settings.models;
    return std::find(models.begin(), models.end(), model) != models.end();
}

void Visit::note_body(std::size_t bytes) {
    estimate_ = std::max(estimate_, tokens_of(bytes));
}

void Visit::leave() {
    if (admission_ != nullptr) admission_->leave(*this);
    admission_ = nullptr;
}

// A request that waits for a slot; lives in enter()'s frame.
struct Admission::Waiter {
    Waiter(Admission& owner, ClientWatch& client, FairQueue::Ticket own)
        : admission(owner), watch(client), ticket(own), timer(owner.io_) {
        admission.waiters_.emplace(ticket, this);
    }
    ~Waiter() {
        watch.when_gone(nullptr);
        admission.queue_.remove(ticket);
        admission.waiters_.erase(ticket);
        admission.show_depth();
    }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

    Admission& admission;
    ClientWatch& watch;
    FairQueue::Ticket ticket;
    asio::steady_timer timer;
    Visit* visit = nullptr;
    bool granted = false;
};

Admission::Admission(asio::io_context& io, const Clock& clock, RouterMetrics& metrics)
    : io_(io), clock_(clock), metrics_(metrics) {}

Admission::~Admission() = default;

void Admission::follow(const std::shared_ptr<const RouterConfig>& config) {
    if (config == config_) return;
    const std::vector<std::shared_ptr<Tenant>> before = std::move(owners_);
    config_ = config;
    keys_.clear();
    owners_.clear();
    const std::string secret = session_secret_of(*config);
    std::size_t labels = 0;
    for (const TenantSettings& settings : config->tenants) {
        const auto same = [&](const auto& old) {
            return old->settings.name == settings.name &&
                   old->settings.requests_per_second == settings.requests_per_second &&
                   old->settings.tokens_per_minute == settings.tokens_per_minute;
        };
        const auto known = std::find_if(before.begin(), before.end(), same);
        auto tenant = known != before.end()
                          ? *known
                          : std::make_shared<Tenant>(settings, ++tenants_made_, clock_.now());
        tenant->settings = settings;
        tenant->salt = derive_tenant_salt(secret, settings.name);
        tenant->label = ++labels <= kTenantLabelsMax ? settings.name : "other";
        keys_.insert(keys_.end(), settings.keys.begin(), settings.keys.end());
        owners_.insert(owners_.end(), settings.keys.size(), tenant);
    }
    in_flight_max_ = static_cast<std::size_t>(config->in_flight_max);
    queue_.set_bound(static_cast<std::size_t>(config->queue_max));
    grant();
}

std::shared_ptr<Tenant> Admission::tenant_of(std::string_view key) const {
    if (key.empty() || key.size() > kApiKeyBytesMax) return nullptr;
    const auto found = find_key(key, keys_);
    return found ? owners_[*found] : nullptr;
}

void Admission::refused(const Visit& visit, const char* reason) {
    metrics_.rejected(reason);
    if (visit.tenant_ != nullptr) metrics_.tenant_request(visit.tenant_->label, reason);
}

std::optional<Refusal> Admission::identify(const RequestHead& head, Visit& visit) {
    const std::string_view key = presented_key(head);
    visit.tenant_ = tenant_of(key);
    visit.admission_ = this;
    if (visit.tenant_ != nullptr) {
        visit.priority_ = visit.tenant_->settings.priority;
        if (visit.tenant_->settings.may_choose_priority)
            visit.priority_ = chosen_priority(head, visit.priority_);
        return std::nullopt;
    }
    refused(visit, "unauthorized");
    Refusal refusal{401, "invalid_api_key",
                    key.empty() ? "no API key was given; send it as 'authorization: Bearer KEY'"
                                : "the API key is not known here"};
    refusal.headers.emplace_back("www-authenticate", "Bearer");
    return refusal;
}

// What is left of each limit, and when it will be whole again.
void Admission::note_limits(Visit& visit) {
    const MonotonicNs now = clock_.now();
    const auto note = [&](TokenBucket& bucket, const std::string& kind) {
        if (!bucket.limited()) return;
        const double level = bucket.level(now);
        visit.limits_.emplace_back("x-ratelimit-limit-" + kind, count_text(bucket.capacity()));
        visit.limits_.emplace_back("x-ratelimit-remaining-" + kind, count_text(level));
        visit.limits_.emplace_back("x-ratelimit-reset-" + kind,
                                   reset_text(bucket.wait_for_all(now)));
    };
    visit.limits_.clear();
    note(visit.tenant_->requests, "requests");
    note(visit.tenant_->tokens, "tokens");
}

Refusal Admission::too_many(Visit& visit, std::string_view kind, double wait_s) {
    refused(visit, "rate_limit");
    note_limits(visit);
    Refusal refusal{429, "rate_limit_exceeded",
                    "the limit of " + std::string(kind) + " of this API key is reached"};
    refusal.type = kind;
    refusal.headers.emplace_back(
        "retry-after-ms", std::to_string(static_cast<std::int64_t>(std::ceil(wait_s * 1e3))));
    refusal.retry_after_s = static_cast<int>(std::clamp(std::ceil(wait_s), 1.0, 86'400.0));
    return refusal;
}

std::optional<Refusal> Admission::charge(const RequestHead& head, Visit& visit) {
    Tenant& tenant = *visit.tenant_;
    const MonotonicNs now = clock_.now();
    visit.estimate_ = tokens_of(head.content_length);
    if (tenant.settings.concurrency_max > 0 && tenant.running >= tenant.settings.concurrency_max)
        return too_many(visit, "concurrent requests", 1);
    if (!tenant.requests.holds(1, now))
        return too_many(visit, "requests", tenant.requests.wait_for(1, now));
    if (!tenant.tokens.holds(visit.estimate_, now))
        return too_many(visit, "tokens", tenant.tokens.wait_for(visit.estimate_, now));
    tenant.requests.take(1, now);
    tenant.tokens.take(visit.estimate_, now);
    visit.charged_ = visit.estimate_;
    visit.counted_ = true;
    ++tenant.running;
    if (tenant.tokens.limited()) visit.tail_.emplace();
    note_limits(visit);
    metrics_.tenant_request(tenant.label, "admitted");
    return std::nullopt;
}

std::optional<Refusal> Admission::check_model(const Visit& visit, std::string_view model) {
    if (visit.may_use(model)) return std::nullopt;
    refused(visit, "forbidden");
    return Refusal{403, "model_forbidden", "this API key may not use the model", "model"};
}

void Admission::take_slot(Visit& visit) {
    visit.admission_ = this;
    visit.has_slot_ = true;
    ++running_;
}

int Admission::retry_after_s() const {
    const double wait = release_interval_s_ * static_cast<double>(queue_.size() + 1);
    return static_cast<int>(std::clamp(std::ceil(wait), 1.0, double{kRetryAfterMaxS}));
}

Refusal Admission::queue_refusal(const Visit& visit, bool full) {
    refused(visit, full ? "queue_full" : "queue_timeout");
    if (full) return {429, "queue_full", "too many requests are waiting", {}, retry_after_s()};
    return {503, "queue_timeout", "no node had room for this request in time", {}, retry_after_s()};
}

void Admission::show_depth() {
    for (const Priority priority : {Priority::kInteractive, Priority::kBatch})
        metrics_.queue_depth(priority, queue_.size(priority));
}

Task<Admission::Entry> Admission::enter(Visit& visit, ClientWatch& watch, Refusal& refusal) {
    if (room()) {
        take_slot(visit);
        metrics_.queued_for(0);
        co_return Entry::kEntered;
    }
    const std::size_t flow = visit.tenant_ == nullptr ? 0 : visit.tenant_->number;
    const auto ticket =
        queue_.add(flow, visit.priority_, static_cast<std::uint64_t>(visit.estimate_));
    if (!ticket) {
        refusal = queue_refusal(visit, true);
        visit.estimate_ = 0;
        co_return Entry::kRefused;
    }
    bool granted = false;
    const MonotonicNs since = clock_.now();
    {
        Waiter waiter(*this, watch, *ticket);
        waiter.visit = &visit;
        show_depth();
        watch.start();
        watch.when_gone([&waiter] { waiter.timer.cancel(); });
        waiter.timer.expires_after(milliseconds(config_->queue_timeout_ms));
        boost::system::error_code ignored;
        if (!watch.gone())
            co_await waiter.timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        granted = waiter.granted;
    }
    const bool gone = watch.gone();
    watch.end();
    metrics_.queued_for(seconds(clock_.now() - since));
    if (gone) co_return Entry::kClientGone;  // A slot that came at the same time goes with `visit`.
    if (granted) co_return Entry::kEntered;
    refusal = queue_refusal(visit, false);
    visit.estimate_ = 0;  // It used nothing.
    co_return Entry::kRefused;
}

void Admission::grant() {
    while (queue_.size() > 0 && room()) {
        const auto next = queue_.pop();
        Waiter& waiter = *waiters_.at(*next);
        take_slot(*waiter.visit);
        waiter.granted = true;
        waiter.timer.cancel();
    }
}

void Admission::leave(Visit& visit) {
    const MonotonicNs now = clock_.now();
    if (visit.counted_) {
        Tenant& tenant = *visit.tenant_;
        --tenant.running;
        const auto said = visit.tail_ ? visit.tail_->total_tokens() : std::nullopt;
        const double cost = said ? static_cast<double>(*said) : visit.estimate_;
        tenant.tokens.take(cost - visit.charged_, now);
        visit.counted_ = false;
    }
    if (!visit.has_slot_) return;
    visit.has_slot_ = false;
    --running_;
    if (last_release_ != 0)
        release_interval_s_ += 0.1 * (seconds(now - last_release_) - release_interval_s_);
    last_release_ = now;
    grant();
}

std::string upstream_authorization(const RouterConfig& config, const RequestHead& head) {
    if (!config.upstream_api_key.empty()) return "Bearer " + config.upstream_api_key;
    if (config.tenants.empty() || config.forward_authorization)
        return std::string(head.find("authorization"));
    return {};
}

}  // namespace hearth
