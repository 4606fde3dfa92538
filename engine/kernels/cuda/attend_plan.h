// attend_plan.h: cuts the attention of a pass into tiles of query vectors and segments of pages.
#pragma once

#include <span>
#include <vector>

#include "engine/kernels/cuda/attention_kernels.h"

namespace hearth::engine::cuda {

// A run as the planner sees it: rows of one sequence and where its pages are in the tables.
struct PlannedRun {
    std::int32_t first_row = 0, rows = 0, start = 0, pages_at = 0;
};

struct AttendShape {
    std::int32_t heads = 0, kv_heads = 0, window = 0;
};

// What one pass computes in every layer of one window. `single` are tiles of a warp each, most of
// them one segment of a decoding row's context; `shared` are tiles by fours, of prompts.
struct AttendPlan {
    std::vector<AttendItem> single, shared;
    std::vector<CombineItem> combine;  // Rows whose contexts were cut.
    std::int32_t partials = 0;         // Results of vectors and segments that lie between.
};

// Pure. How a run is cut is decided by its own rows and positions; how it is cut cannot be seen in
// the results (attention_kernels.h), only in the time.
AttendPlan plan_attention(std::span<const PlannedRun> runs, const AttendShape& shape);

}  // namespace hearth::engine::cuda
