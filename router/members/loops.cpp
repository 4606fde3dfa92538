// Thin shells around the rules: they ask, probe and wait; membership and health decide.
#include "router/members/loops.h"

#include <algorithm>

#include "common/base/log.h"
#include "common/net/http_head.h"
#include "common/wire/headers.h"
#include "router/members/dns_source.h"
#include "router/members/file_source.h"
#include "router/placement/reclaim.h"

namespace hearth {
namespace {

using std::chrono::milliseconds;

void note_source(RouterCore& core, Source source, bool good) {
    core.metrics.source_read(to_string(source), good, unix_seconds(core.clock));
}

bool is_signed(const HttpClient::Answer& answer) {
    return std::any_of(answer.headers.begin(), answer.headers.end(), [](const auto& field) {
        return equals_ignore_case(field.first, header::kNode);
    });
}

Task<void> probe_node(std::shared_ptr<RouterCore> core, Member member) {
    const HeaderList none;
    const std::string path = core->config->health_path;
    const milliseconds timeout(core->config->health_timeout_ms);
    const auto answer =
        co_await core->client.call(member.record.address, "GET", path, none, "", timeout);
    member.status->probing = false;
    if (!answer.ok() && answer.error().code == ErrorCode::kExhausted) co_return;  // Our own lack.
    if (core->background.ending()) co_return;
    // A node of a static list tells what it is before its first turn, which may need to know.
    if (answer.ok() && is_signed(*answer)) member.status->speaks_hearth = true;
    const HealthRules& rules = core->membership.rules();
    if (!note_probe(*member.status, probe_outcome(answer), rules, core->clock.now())) co_return;
    if (member.status->health == NodeStatus::Health::kUp)
        log::info("node is up", {{"node", member.record.node_id}});
    else
        log::warn("node is down", {{"node", member.record.node_id},
                                   {"error", answer.ok() ? "HTTP " + std::to_string(answer->status)
                                                         : answer.error().message}});
}

void note_panics(RouterCore& core, const Members& all) {
    const auto look = [&core](const Members& pool, const std::string& name) {
        if (!note_panic(pool, core.membership.rules())) return;
        const bool begun = !pool.seats.empty() && pool.members[0].status->panic;
        if (begun) {
            core.metrics.panicked();
            log::warn("too few nodes are usable: all are used", {{"pool", name}});
        } else {
            log::info("enough nodes are usable again", {{"pool", name}});
        }
    };
    for (const Members::Pool& pool : all.pools) look(pool.members ? *pool.members : all, pool.name);
}

Task<void> probe_nodes(std::shared_ptr<RouterCore> core) {
    const milliseconds interval(core->config->health_interval_ms);
    MonotonicNs due = 0;
    bool more = true;
    while (more) {
        // New members are asked at once, all of them each interval; nobody waits for a slow one.
        const std::shared_ptr<const Members> members = core->membership.now();
        const MonotonicNs now = core->clock.now();
        const bool round = now >= due;
        if (round) due = now + interval.count() * kMs;
        for (const Member& member : members->members) {
            note_time(*member.status, core->membership.rules(), now);
            const bool unknown = member.status->health == NodeStatus::Health::kUnknown;
            if (member.status->probing || !(round || unknown)) continue;
            member.status->probing = true;
            core->background.start(probe_node(core, member));
        }
        note_panics(*core, *members);
        core->history.note(*members, core->clock.unix_now());
        more = co_await core->background.pause(std::min(interval, milliseconds(100)));
    }
}

// The store's word on drains, and ours where it has lost its memory.
Task<void> share_drains(std::shared_ptr<RouterCore> core) {
    const auto told = co_await core->store->drains();
    if (!told || core->background.ending()) co_return;
    const auto lost = core->membership.merge_drains(*told);
    for (const auto& [node_id, drained] : lost) {
        const auto written = co_await core->store->set_drained(node_id, drained);
        if (!written || core->background.ending()) co_return;
        core->membership.note_told(node_id, true);
    }
}

Task<void> poll_registry(std::shared_ptr<RouterCore> core) {
    bool up = true;
    bool more = true;
    std::string memory;
    while (more) {
        const auto records = co_await core->store->nodes();
        if (core->background.ending()) break;
        if (records.ok())
            core->membership.apply(*records, core->clock.now());
        else
            core->membership.note_outage();
        note_source(*core, Source::kRegistry, records.ok());
        if (records.ok() != up) {
            up = records.ok();
            if (up)
                log::info("metadata store is back");
            else
                log::warn("metadata store is down; the last members stand",
                          {{"error", records.error().message}});
        }
        if (up) co_await share_drains(core);
        if (up && !core->background.ending()) co_await watch_memory(core, memory);
        if (core->background.ending()) break;
        more = co_await core->background.pause(milliseconds(core->config->membership_refresh_ms));
    }
}

Task<void> watch_file(std::shared_ptr<RouterCore> core) {
    constexpr milliseconds kLook{1'000};
    FileSource file(core->config->members_file);
    bool more = true;
    while (more) {
        const auto nodes = file.look();
        if (nodes.has_value()) {
            note_source(*core, Source::kFile, nodes->ok());
            if (nodes->ok()) {
                core->membership.replace(Source::kFile, **nodes, core->clock.now());
                core->metrics.planned_change(unix_seconds(core->clock));
            } else {
                log::error("members_file is bad; the members before stand",
                           {{"error", nodes->error().message}});
            }
        }
        more = co_await core->background.pause(kLook);
    }
}

Task<void> ask_dns(std::shared_ptr<RouterCore> core) {
    DnsSource dns(core->config->dns);
    bool up = true;
    bool more = true;
    while (more) {
        dns.ask();
        while (more && !dns.answered()) more = co_await core->background.pause(milliseconds(10));
        if (!more) break;
        const auto nodes = dns.take();
        note_source(*core, Source::kDns, nodes.ok());
        if (nodes.ok())
            core->membership.replace(Source::kDns, *nodes, core->clock.now());
        else if (up)
            log::warn("DNS gives no nodes; the members before stand",
                      {{"error", nodes.error().message}});
        up = nodes.ok();
        more = co_await core->background.pause(milliseconds(core->config->dns_refresh_ms));
    }
}

}  // namespace

void start_members(std::shared_ptr<RouterCore> core) {
    if (core->store != nullptr) core->background.start(poll_registry(core));
    if (!core->config->members_file.empty()) core->background.start(watch_file(core));
    if (!core->config->dns.empty()) core->background.start(ask_dns(core));
    core->background.start(probe_nodes(core));
}

Attempt::Attempt(RouterCore& core, const Member& member)
    : core_(core), node_id_(member.record.node_id), status_(member.status) {
    note_turn_start(*status_);
}

void Attempt::end(Verdict verdict) {
    if (ended_) return;
    ended_ = true;
    const HealthRules& rules = core_.membership.rules();
    const MonotonicNs now = core_.clock.now();
    if (verdict == Verdict::kConnect && note_connect_failure(*status_))
        log::warn("node is down", {{"node", node_id_}, {"error", "no connection"}});
    if (!note_turn_end(*status_, verdict, rules, now)) return;
    const auto all = core_.membership.now();
    for (const Members::Pool& pool : all->pools) {
        const auto members = members_of(all, pool);
        if (!members->seat_of(node_id_)) continue;
        const bool again = status_->circuit == NodeStatus::Circuit::kHalfOpen;
        if (!again && !may_eject(*members, rules)) return;
    }
    eject(*status_, verdict, rules, now);
    core_.metrics.ejected(node_id_, status_->eject_reason);
    log::warn("node is ejected", {{"node", node_id_},
                                  {"reason", status_->eject_reason},
                                  {"seconds", seconds(status_->eject_until - now)}});
}

Task<Result<void>> set_drain(std::shared_ptr<RouterCore> core, std::string node_id, bool drained) {
    const bool news = core->membership.set_drained(node_id, drained);
    if (news) core->metrics.planned_change(unix_seconds(core->clock));
    if (news) log::info(drained ? "node is drained" : "node is undrained", {{"node", node_id}});
    if (core->store == nullptr) co_return Result<void>{};
    core->membership.note_told(node_id, false);  // Until the answer, however that comes.
    const auto told = co_await core->store->set_drained(node_id, drained);
    core->membership.note_told(node_id, told.ok());
    co_return told;
}

}  // namespace hearth
