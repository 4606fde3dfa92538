// PassTables: rows, block tables and attention items of a pass; what has not changed is not sent.
#include "engine/kernels/cuda/pass_tables.h"

#include <algorithm>

#include "common/base/check.h"

namespace hearth::engine::cuda {

void Uploads::next_turn() {
    turn_ = 1 - turn_;
    Turn& turn = turns_[turn_];
    turn.used = 0;
    if (turn.sent < 0) turn.sent = machine_.new_event();
    turn.outgrown.clear();
}

void Uploads::send(void* to, const void* from, std::size_t bytes) {
    Turn& turn = turns_[turn_];
    if (turn.used + bytes > turn.size) {
        if (turn.memory != nullptr) turn.outgrown.push_back(std::move(turn.memory));
        turn.size = std::max<std::size_t>(2 * (turn.size + bytes), 1u << 16);
        turn.used = 0;
        auto memory = machine_.allocate_pinned(turn.size);
        CHECK_MSG(memory.ok(), memory.ok() ? "" : memory.error().message);
        turn.memory = std::move(memory).value();
    }
    std::byte* held = turn.memory.get() + turn.used;
    std::memcpy(held, from, bytes);
    turn.used += (bytes + 15) / 16 * 16;
    bytes_sent_ += static_cast<std::int64_t>(bytes);
    machine_.copy(to, held, bytes, Stream::kCompute);
}

PassTables::PassTables(Machine& machine, TableOptions options)
    : options_(std::move(options)), uploads_(machine), windows_(options_.windows.size()) {
    for (std::size_t i = 0; i < windows_.size(); ++i) windows_[i].window = options_.windows[i];
}

std::byte* PassTables::page_at(std::int32_t slot) const {
    return options_.arena + static_cast<std::size_t>(slot) * options_.kv.page_bytes();
}

std::vector<PageCopy> PassTables::fill(const Pass& pass, std::int32_t padded, PageSlots& slots,
                                       bool& moved) {
    uploads_.next_turn();
    slots.begin_pass();
    runs_.clear();
    std::vector<PageCopy> copies;
    std::vector<std::byte*> device, host;
    for (const RowRun& run : pass.runs) {
        runs_.push_back(
            {run.first_row, run.rows, run.start, static_cast<std::int32_t>(device.size())});
        const std::int32_t end = run.start + run.rows;
        for (std::int32_t page = 0; page * kPageTokens < end; ++page) {
            std::byte* at = run.pages[page];
            const std::int32_t first = page * kPageTokens;
            const auto found = slots.use(at, std::clamp(run.start - first, 0, kPageTokens),
                                         std::min(end - first, kPageTokens));
            CHECK_MSG(found.has_value(), "a pass has more pages than the device has slots");
            device.push_back(page_at(found->slot));
            host.push_back(at);
            if (found->restore) copies.push_back({device.back(), at});
        }
    }
    pages_.set(device, uploads_, moved);
    host_pages_.set(host, uploads_, moved);
    fill_rows(pass, padded, moved);
    for (WindowTables& window : windows_) {
        window.plan = plan_attention(runs_, {options_.heads, options_.kv.kv_heads, window.window});
        window.single.set(window.plan.single, uploads_, moved);
        window.shared.set(window.plan.shared, uploads_, moved);
        window.combine.set(window.plan.combine, uploads_, moved);
        const std::int32_t counts[] = {static_cast<std::int32_t>(window.plan.single.size()),
                                       static_cast<std::int32_t>(window.plan.shared.size()),
                                       static_cast<std::int32_t>(window.plan.combine.size())};
        window.counts.set(counts, uploads_, moved);
    }
    return copies;
}

void PassTables::fill_rows(const Pass& pass, std::int32_t padded, bool& moved) {
    std::vector<std::int32_t> position(static_cast<std::size_t>(padded), -1);
    std::vector<std::int32_t> pages_at(position.size(), 0), logit_rows(position.size(), 0);
    std::vector<TokenId> tokens(position.size(), 0);
    std::copy(pass.tokens.begin(), pass.tokens.end(), tokens.begin());
    std::copy(pass.logit_rows.begin(), pass.logit_rows.end(), logit_rows.begin());
    for (const PlannedRun& run : runs_) {
        for (std::int32_t i = 0; i < run.rows; ++i) {
            const auto row = static_cast<std::size_t>(run.first_row + i);
            position[row] = run.start + i;
            pages_at[row] = run.pages_at;
        }
    }
    tokens_.set(tokens, uploads_, moved);
    position_.set(position, uploads_, moved);
    pages_at_.set(pages_at, uploads_, moved);
    logit_rows_.set(logit_rows, uploads_, moved);
    next_sources_.resize(position.size(), -1);
    sources_.set(next_sources_, uploads_, moved);
    next_sources_.clear();
    if (next_samples_.empty()) return;
    samples_.set(next_samples_, uploads_, moved);
    next_samples_.clear();
}

void PassTables::sample_next(std::span<const SampleRow> rows,
                             std::span<const std::int32_t> sources) {
    CHECK(rows.size() == sources.size());
    next_samples_.assign(rows.begin(), rows.end());
    next_sources_.assign(sources.begin(), sources.end());
}

RowTables PassTables::rows() const {
    return {position_.data(), pages_at_.data(), pages_.data(), host_pages_.data()};
}

const WindowTables& PassTables::of_window(std::int32_t window) const {
    for (const WindowTables& known : windows_)
        if (known.window == window) return known;
    CHECK_MSG(false, "attention with a window that the model did not name");
    return windows_.front();
}

std::int32_t PassTables::most_single() const {
    std::size_t most = 0;
    for (const WindowTables& window : windows_) most = std::max(most, window.plan.single.size());
    return static_cast<std::int32_t>(most);
}

std::int32_t PassTables::most_partials() const {
    std::int32_t most = 0;
    for (const WindowTables& window : windows_) most = std::max(most, window.plan.partials);
    return most;
}

std::int64_t PassTables::pages_attended(std::int32_t window) const {
    const AttendPlan& plan = of_window(window).plan;
    std::int64_t pages = 0;
    for (const auto* items : {&plan.single, &plan.shared})
        for (const AttendItem& item : *items) pages += item.page_end - item.page_begin;
    return pages;
}

std::int64_t PassTables::keys_attended(std::int32_t window) const {
    std::int64_t keys = 0;
    for (const PlannedRun& run : runs_) {
        for (std::int32_t i = 0; i < run.rows; ++i) {
            const std::int32_t context = run.start + i + 1;
            keys += window == 0 ? context : std::min(context, window);
        }
    }
    return keys;
}

}  // namespace hearth::engine::cuda
