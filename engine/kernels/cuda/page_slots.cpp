// PageSlots: least recently used slots go first; they are looked for by the dozen.
#include "engine/kernels/cuda/page_slots.h"

#include <algorithm>

#include "common/base/check.h"

namespace hearth::engine::cuda {

PageSlots::PageSlots(std::int32_t slots) : of_slot_(static_cast<std::size_t>(slots)) {
    CHECK(slots > 0);
    for (std::int32_t i = slots - 1; i >= 0; --i) free_.push_back(i);
}

void PageSlots::begin_pass() {
    ++pass_;
}

std::optional<PageSlots::Found> PageSlots::use(const std::byte* page, std::int32_t rows_wanted,
                                               std::int32_t rows_after) {
    const auto known = of_page_.find(page);
    if (known != of_page_.end()) {
        Slot& slot = of_slot_[static_cast<std::size_t>(known->second)];
        const bool restore = slot.valid < rows_wanted;
        slot.last_pass = pass_;
        slot.valid = rows_after;
        return Found{known->second, restore};
    }
    const std::optional<std::int32_t> slot = take();
    if (!slot) return std::nullopt;
    of_slot_[static_cast<std::size_t>(*slot)] = {page, rows_after, pass_};
    of_page_.emplace(page, *slot);
    return Found{*slot, rows_wanted > 0};
}

void PageSlots::forget(const std::byte* page) {
    const auto known = of_page_.find(page);
    if (known == of_page_.end()) return;
    of_slot_[static_cast<std::size_t>(known->second)] = {};
    free_.push_back(known->second);
    of_page_.erase(known);
}

std::optional<std::int32_t> PageSlots::take() {
    if (!free_.empty()) {
        const std::int32_t slot = free_.back();
        free_.pop_back();
        return slot;
    }
    for (bool listed = false;;) {
        while (!oldest_.empty()) {
            const Old old = oldest_.back();
            oldest_.pop_back();
            Slot& slot = of_slot_[static_cast<std::size_t>(old.slot)];
            if (slot.page == nullptr || slot.last_pass != old.last_pass) continue;
            of_page_.erase(slot.page);
            slot = {};
            return old.slot;
        }
        if (listed) return std::nullopt;
        find_oldest();
        listed = true;
    }
}

// An eighth of the slots, so that the search costs little for each.
void PageSlots::find_oldest() {
    std::vector<Old> all;
    for (std::int32_t i = 0; i < slots(); ++i) {
        const Slot& slot = of_slot_[static_cast<std::size_t>(i)];
        if (slot.page != nullptr && slot.last_pass != pass_) all.push_back({i, slot.last_pass});
    }
    const auto count = std::min(all.size(), of_slot_.size() / 8 + 1);
    const auto older = [](const Old& a, const Old& b) {
        return a.last_pass != b.last_pass ? a.last_pass < b.last_pass : a.slot < b.slot;
    };
    std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count), all.end(),
                      older);
    all.resize(count);
    oldest_.assign(all.rbegin(), all.rend());
}

CopyPlan plan_copies(std::span<const PageCopy> pages, const KvLayout& kv,
                     std::span<const std::int32_t> bank_order) {
    CopyPlan plan;
    const std::size_t bank_bytes = kv.head_bytes() * static_cast<std::size_t>(kv.kv_heads);
    // As equal as multiples of 128 allow, since the last piece is waited for.
    const std::size_t count = (bank_bytes + kPieceBytes - 1) / kPieceBytes;
    const std::size_t size = (bank_bytes / count + 127) / 128 * 128;
    for (const std::int32_t bank : bank_order) {
        plan.offsets.push_back(plan.pieces.size());
        const std::size_t first = kv.block(bank, 0);
        for (const PageCopy& page : pages) {
            for (std::size_t at = 0; at < bank_bytes; at += size) {
                plan.pieces.push_back({page.to + first + at, page.from + first + at,
                                       std::min(size, bank_bytes - at)});
            }
        }
    }
    plan.offsets.push_back(plan.pieces.size());
    return plan;
}

}  // namespace hearth::engine::cuda
