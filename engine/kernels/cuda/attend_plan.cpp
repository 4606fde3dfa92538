// Items by run, KV head, tile of vectors and, for rows that decode, segment of the context.
#include "engine/kernels/cuda/attend_plan.h"

#include <algorithm>

namespace hearth::engine::cuda {
namespace {

constexpr std::int32_t kSharedVectors = 4 * kTileVectors;

std::int32_t oldest_of(std::int32_t position, std::int32_t window) {
    return window == 0 || position < window ? 0 : position - window + 1;
}

// A row by itself: every segment of its context is a warp's work.
void plan_row(const PlannedRun& run, const AttendShape& shape, AttendPlan& plan) {
    const std::int32_t group = shape.heads / shape.kv_heads;
    const std::int32_t begin = oldest_of(run.start, shape.window) / kPageTokens;
    const std::int32_t end = run.start / kPageTokens + 1;
    const std::int32_t first = begin / kSegmentPages;
    const std::int32_t segments = (end - 1) / kSegmentPages + 1 - first;
    const bool whole = segments == 1;
    if (!whole) plan.combine.push_back({run.first_row, plan.partials, segments});
    for (std::int32_t head = 0; head < shape.kv_heads; ++head) {
        for (std::int32_t vector = 0; vector < group; vector += kTileVectors) {
            for (std::int32_t i = 0; i < segments; ++i) {
                plan.single.push_back({.first_row = run.first_row,
                                       .rows = 1,
                                       .start = run.start,
                                       .pages_at = run.pages_at,
                                       .kv_head = head,
                                       .vector = vector,
                                       .page_begin = std::max(begin, (first + i) * kSegmentPages),
                                       .page_end = std::min(end, (first + i + 1) * kSegmentPages),
                                       .partial = whole ? -1 : plan.partials + i,
                                       .segments = segments});
            }
        }
    }
    if (!whole) plan.partials += segments * shape.heads;
}

// Rows of a prompt: tiles of vectors, each over all pages that any of its rows attends.
void plan_rows(const PlannedRun& run, const AttendShape& shape, AttendPlan& plan) {
    const std::int32_t group = shape.heads / shape.kv_heads, vectors = run.rows * group;
    for (std::int32_t vector = 0; vector < vectors; vector += kSharedVectors) {
        const std::int32_t last = std::min(vectors, vector + kSharedVectors) - 1;
        const std::int32_t from = oldest_of(run.start + vector / group, shape.window);
        for (std::int32_t head = 0; head < shape.kv_heads; ++head) {
            plan.shared.push_back({.first_row = run.first_row,
                                   .rows = run.rows,
                                   .start = run.start,
                                   .pages_at = run.pages_at,
                                   .kv_head = head,
                                   .vector = vector,
                                   .page_begin = from / kPageTokens,
                                   .page_end = (run.start + last / group) / kPageTokens + 1,
                                   .partial = -1,
                                   .segments = 1});
        }
    }
}

}  // namespace

AttendPlan plan_attention(std::span<const PlannedRun> runs, const AttendShape& shape) {
    AttendPlan plan;
    for (const PlannedRun& run : runs) {
        if (run.rows == 1) {
            plan_row(run, shape, plan);
        } else {
            plan_rows(run, shape, plan);
        }
    }
    // The longest go first, so that none is left alone at the end.
    const auto longer = [](const AttendItem& a, const AttendItem& b) {
        return a.page_end - a.page_begin > b.page_end - b.page_begin;
    };
    std::stable_sort(plan.shared.begin(), plan.shared.end(), longer);
    return plan;
}

}  // namespace hearth::engine::cuda
