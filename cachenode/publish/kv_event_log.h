// KvEventLog: pages that came into the prefix tree and went, on their way to those who index nodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cachenode/kv/prefix_tree.h"

namespace hearth {

// What one event of vLLM's names says; `hashes` are in the order of their tokens.
struct KvEvent {
    enum class Kind { kStored, kRemoved, kCleared };
    Kind kind = Kind::kStored;
    std::vector<std::uint64_t> hashes;  // The low halves of the pages' names.
    // Of kStored:
    std::optional<std::uint64_t> parent;  // Of the page before the first; none: it is a first page.
    std::vector<engine::TokenId> tokens;  // 64 a page.
    std::string salt_digest;              // Of a first page under a tenant's salt: 16 hex digits.
};

// Filled by the scheduler's thread, emptied by the publisher's; nobody waits for more than the
// other's few instructions. Bounded: when more than `pages_max` pages wait, all are forgotten and
// one kCleared stands for them, so that readers believe too little of this node, never too much.
class KvEventLog {
  public:
    // `filled` is called by the thread that made an empty log not empty.
    KvEventLog(std::size_t pages_max, std::function<void()> filled);

    void page_changed(const PageEvent& event);
    void clear();  // Readers shall forget all that they know of this node.

    // All events that wait, oldest first; pages in a row are one event.
    std::vector<KvEvent> take();
    std::int64_t overflows() const;  // Ever.

  private:
    KvEvent* last_of(KvEvent::Kind kind);  // The newest event, if it is of this kind.
    void add_stored(const PageEvent& event);
    void clear_locked();

    const std::size_t pages_max_;
    const std::function<void()> filled_;
    mutable std::mutex mutex_;
    std::vector<KvEvent> events_;
    std::size_t pages_ = 0;  // In events_.
    std::int64_t overflows_ = 0;
};

}  // namespace hearth
