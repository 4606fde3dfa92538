// CpuKernels: the functions that each instruction set compiles for itself, as one table.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/kernels/ops.h"

namespace hearth::engine::cpu {

// Weights: blocks of kRowFloats output channels; in a block, groups of 4 input channels of 64 bytes
// each. The order inside a group is the instruction set's own.
struct PackedView {
    std::int32_t groups = 0;        // A quarter of the input channels, padded and rotated.
    std::uint8_t* bytes = nullptr;  // [channels / 16][groups][64], 64-byte aligned
    const float* scale = nullptr;   // [channels]
    // Of int4 weights, instead of bytes; a span is 32 input channels of a block.
    std::uint8_t* nibbles = nullptr;  // [channels / 16][spans][256], 64-byte aligned
    std::uint8_t* grid = nullptr;     // [channels / 16][spans][32]: steps, bases
};

// int4.h's group of one row, in plain types: code of an instruction set shares no functions.
struct Int4Span {
    std::int8_t base;
    std::uint8_t step;
    const std::uint8_t* nibbles;  // [32]
};

// Blocks of output channels [block_begin, block_end) by rows [row_begin, row_end).
struct MatmulTask {
    const QuantRows* x;
    const PackedView* w;
    const MatmulOut* out;
    std::int32_t block_begin, block_end;
    std::int32_t row_begin, row_end;
    // The panel to ask memory for meanwhile: so many lines of 64 bytes for each group; 0 = none.
    const std::uint8_t* ahead;
    std::int32_t ahead_lines;
    std::uint8_t* scratch;  // For int4: room for the blocks as int8, 64-byte aligned; else null.
};

// Long contexts are attended in segments of so many pages, by absolute position; each has a softmax
// of its own, and their results are added in order. So segments may be computed apart.
constexpr std::int32_t kAttendSegment = 8;
// Floats of a vector's result for some segments.
constexpr std::int32_t partial_floats(std::int32_t head_dim) {
    return 2 * kRowFloats + round_up(head_dim, kRowFloats);
}

// Rows [row_begin, row_end) of a run and the query heads that share KV heads [head_begin,
// head_end).
struct AttendTask {
    const AttentionCall* call;
    const QuantHeads* q;
    const RowRun* run;
    float* out;
    std::int32_t stride;  // Of out, in floats.
    std::int32_t head_begin, head_end;
    std::int32_t row_begin, row_end;  // Within the run.
    std::int32_t segment;             // The one to attend; -1 = all.
    float* partial;                   // Where its result goes, if not to `out`; or null.
    const AttendTask* next;           // Likely the thread's next one; null = none.
    std::byte* scratch;               // attend_scratch() bytes, 64-byte aligned.
};

// One row's part of rope_quantize.
struct RopeTask {
    const AttentionCall* call;
    const RopeTable* rope;
    const RowRun* run;
    std::int32_t row;  // Within the run.
    float* qkv;        // The row.
    QuantHeads q;      // Of all rows.
};

struct CpuKernels {
    const char* isa;
    // Copies one row of int8 weights, rotated already, to output channel `row` of `w`.
    void (*pack_row)(const std::int8_t* q, const PackedView& w, std::int32_t row);
    // 32 int4 weights of output channel `row`, from input channel 32 * span; `w` holds zeros there.
    void (*pack_int4)(const Int4Span& from, const PackedView& w, std::int32_t row,
                      std::int32_t span);
    void (*embed_row)(const PackedView& w, std::int32_t row, float* out, std::int32_t stride);
    // `scratch` of these: room for the row's floats, rounded up to kRowBytes of them.
    void (*norm_quantize_row)(const Backend::Norm& norm, const float* x, const QuantRows& out,
                              std::int32_t row, float* scratch);
    void (*quantize_row)(const float* x, std::int32_t width, const QuantRows& out, std::int32_t row,
                         float* scratch);
    void (*swiglu_quantize_row)(const float* gate_up, std::int32_t stride, const QuantRows& out,
                                std::int32_t row, float* scratch);
    void (*geglu_quantize_row)(const float* gate_up, std::int32_t stride, const QuantRows& out,
                               std::int32_t row, float* scratch);
    void (*norm_add_row)(const Backend::Norm& norm, const float* y, float* x);
    void (*norm_heads_row)(const Backend::Norm& norm, std::int32_t heads, float* x);
    void (*soft_cap_row)(float cap, float* x, std::int32_t width);
    void (*matmul)(const MatmulTask& task);
    void (*rope_quantize)(const RopeTask& task);
    void (*attend)(const AttendTask& task);
    // Writes what `segments` partial results, one after another at task.partial, come to.
    void (*combine)(const AttendTask& task, std::int32_t segments);
    std::size_t (*attend_scratch)(std::int32_t head_dim, std::int32_t vectors);
    std::int64_t (*probe_products)(std::int32_t rounds);  // Returns the multiply-adds done.
};

// Null when this build lacks the instruction set. Whether the machine has it is another question.
const CpuKernels* generic_kernels();
const CpuKernels* avx2_kernels();
const CpuKernels* avxvnni_kernels();
const CpuKernels* avx512vnni_kernels();
const CpuKernels* amx_kernels();

}  // namespace hearth::engine::cpu
