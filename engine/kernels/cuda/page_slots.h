// PageSlots: which of the caller's pages are on the device, where, and how much of each is there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/kernels/cuda/kv_kernels.h"
#include "engine/model/kv_layout.h"

namespace hearth::engine::cuda {

// The caller's pages are the truth; the device holds copies of those that were used last. One owner
// thread; knows no device. Invariant: a slot belongs to at most one page and a page has at most one
// slot; a slot used in the pass that is under way is not taken away.
class PageSlots {
  public:
    explicit PageSlots(std::int32_t slots);

    struct Found {
        std::int32_t slot = 0;
        bool restore =
            false;  // Its first `rows_wanted` rows must be copied from the caller's page.
    };

    void begin_pass();
    // The page's slot; of its rows, [0, rows_wanted) are read before others are written, and after
    // the pass [0, rows_after) are valid. Empty when every slot is in use by this pass.
    std::optional<Found> use(const std::byte* page, std::int32_t rows_wanted,
                             std::int32_t rows_after);
    // The caller wrote to the page, or uses it for something else: what the device has is stale.
    void forget(const std::byte* page);

    std::int32_t slots() const { return static_cast<std::int32_t>(of_slot_.size()); }
    std::int32_t used() const { return static_cast<std::int32_t>(of_page_.size()); }

  private:
    struct Slot {
        const std::byte* page = nullptr;
        std::int32_t valid = 0;  // Rows.
        std::uint64_t last_pass = 0;
    };
    std::optional<std::int32_t> take();
    void find_oldest();

    std::vector<Slot> of_slot_;
    std::unordered_map<const std::byte*, std::int32_t> of_page_;
    std::vector<std::int32_t> free_;
    // Slots that were the longest unused when they were listed; the last one goes next.
    struct Old {
        std::int32_t slot;
        std::uint64_t last_pass;
    };
    std::vector<Old> oldest_;
    std::uint64_t pass_ = 1;
};

// Copies of whole banks of pages, bank by bank in the order in which layers read them, in pieces of
// at most kPieceBytes. `offsets[i]` of the result is where bank order[i]'s pieces begin; one more
// entry is their end. Pure.
constexpr std::size_t kPieceBytes = 16384;
struct PageCopy {
    std::byte* to;
    const std::byte* from;
};
struct CopyPlan {
    std::vector<Piece> pieces;
    std::vector<std::size_t> offsets;
};
CopyPlan plan_copies(std::span<const PageCopy> pages, const KvLayout& kv,
                     std::span<const std::int32_t> bank_order);

}  // namespace hearth::engine::cuda
