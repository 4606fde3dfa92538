// Claims run a few at a time: turns need the store meanwhile.
#include "router/placement/reclaim.h"

#include "common/base/log.h"
#include "router/placement/placer.h"

namespace hearth {
namespace {

constexpr int kClaimsAtOnce = 16;

struct Remembered {
    std::vector<SessionKey> sessions;  // Used last first.
    std::size_t next = 0;
};

SessionRecord record_of(const Binding& binding) {
    SessionRecord record;
    record.node_id = binding.node_id;
    record.generation = binding.generation;
    // Above what nodes still publish, and what routers claimed that had not noticed.
    record.epoch = binding.epoch + 1;
    record.tokens = binding.tokens;
    record.tier = "device";
    return record;
}

Task<void> reclaim(std::shared_ptr<RouterCore> core, std::shared_ptr<Remembered> remembered) {
    while (remembered->next < remembered->sessions.size() && !core->background.ending()) {
        const SessionKey session = remembered->sessions[remembered->next++];
        const Binding* known = core->bindings.peek(session);
        if (known == nullptr) continue;
        const SessionRecord ours = record_of(*known);
        const std::string pin = known->pin;
        const auto stands = co_await core->store->claim_session(session, ours, kClaimTtl);
        if (!stands) co_return;  // It is down again; when it is back, its name is asked for again.
        known = core->bindings.peek(session);
        if (known != nullptr && known->epoch <= stands->epoch) {
            Binding binding = binding_of(*core, session, *stands, known, *core->membership.now());
            binding.pin = pin;
            core->bindings.put(session, std::move(binding));
        }
        if (!pin.empty() && !core->background.ending())
            (void)co_await core->store->pin_session(session, pin, kPinTtl);
    }
}

}  // namespace

Task<void> watch_memory(std::shared_ptr<RouterCore> core, std::string& name) {
    const std::string candidate = core->fresh_id();
    const auto found = co_await core->store->memory_name(candidate);
    if (!found || core->background.ending() || *found == name) co_return;
    const bool forgot = !name.empty();
    name = *found;
    if (!forgot) co_return;
    core->store_forgot = core->clock.now();
    core->membership.note_outage();
    core->metrics.store_forgot();
    const auto remembered = std::make_shared<Remembered>();
    core->bindings.each(
        [&](const SessionKey& key, const Binding&) { remembered->sessions.push_back(key); });
    log::warn("the metadata store has lost its memory; it is told again",
              {{"sessions", remembered->sessions.size()}});
    for (int i = 0; i < kClaimsAtOnce; ++i) core->background.start(reclaim(core, remembered));
}

}  // namespace hearth
