// KvEventLog: joins what belongs together, and forgets all rather than growing without bound.
#include "cachenode/publish/kv_event_log.h"

#include <cstdio>
#include <utility>

#include "common/wire/digest.h"

namespace hearth {
namespace {

// A salt is a secret between routers and nodes, and readers need only tell tenants apart.
std::string digest_of(std::string_view salt) {
    if (salt.empty()) return {};
    Sha256 sha;
    sha.add("hearth kv event salt ");
    sha.add(salt);
    const Sha256::Digest digest = sha.digest();
    std::string hex;
    for (std::size_t i = 0; i < 8; ++i) {
        char digits[3];
        std::snprintf(digits, sizeof digits, "%02x", digest[i]);
        hex += digits;
    }
    return hex;
}

}  // namespace

KvEventLog::KvEventLog(std::size_t pages_max, std::function<void()> filled)
    : pages_max_(pages_max), filled_(std::move(filled)) {}

KvEvent* KvEventLog::last_of(KvEvent::Kind kind) {
    return !events_.empty() && events_.back().kind == kind ? &events_.back() : nullptr;
}

void KvEventLog::add_stored(const PageEvent& page) {
    KvEvent* event = last_of(KvEvent::Kind::kStored);
    if (page.before == nullptr || event == nullptr || event->hashes.back() != page.before->low) {
        event = &events_.emplace_back();
        if (page.before != nullptr) event->parent = page.before->low;
        event->salt_digest = digest_of(page.salt);
    }
    event->hashes.push_back(page.hash.low);
    event->tokens.insert(event->tokens.end(), page.tokens.begin(), page.tokens.end());
}

void KvEventLog::page_changed(const PageEvent& page) {
    bool was_empty = false;
    {
        const std::lock_guard lock(mutex_);
        was_empty = events_.empty();
        if (pages_ == pages_max_) {
            clear_locked();
            ++overflows_;
        }
        ++pages_;
        if (page.kind == PageEvent::Kind::kStored) {
            add_stored(page);
        } else {
            KvEvent* event = last_of(KvEvent::Kind::kRemoved);
            if (event == nullptr) event = &events_.emplace_back();
            event->kind = KvEvent::Kind::kRemoved;
            event->hashes.push_back(page.hash.low);
        }
    }
    if (was_empty) filled_();
}

void KvEventLog::clear_locked() {
    events_.clear();
    events_.emplace_back().kind = KvEvent::Kind::kCleared;
    pages_ = 0;
}

void KvEventLog::clear() {
    {
        const std::lock_guard lock(mutex_);
        clear_locked();
    }
    filled_();
}

std::vector<KvEvent> KvEventLog::take() {
    const std::lock_guard lock(mutex_);
    pages_ = 0;
    return std::exchange(events_, {});
}

std::int64_t KvEventLog::overflows() const {
    const std::lock_guard lock(mutex_);
    return overflows_;
}

}  // namespace hearth
