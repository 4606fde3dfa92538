// ops.h: the operations of a transformer step, as every backend (ref, cpu, cuda) implements them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/base/result.h"
#include "engine/device_figures.h"
#include "engine/kernels/aligned.h"
#include "engine/kernels/rope.h"
#include "engine/model/config.h"
#include "engine/model/kv_layout.h"
#include "engine/model/weights.h"

namespace hearth::engine {

// Float rows are padded to a multiple of kRowFloats and int8 rows to kRowBytes, with zeros, so that
// no kernel has a tail. Zeros stay zeros: padded channels have zero weights and scales.
constexpr std::int32_t kRowFloats = 16;
constexpr std::int32_t kRowBytes = 64;
constexpr std::int32_t round_up(std::int32_t n, std::int32_t to) {
    return (n + to - 1) / to * to;
}

// A weight matrix in a backend's own layout. Immutable; owned by the engine.
struct PackedMatrix {
    virtual ~PackedMatrix() = default;
    std::int32_t rows = 0;  // Output channels, every part rounded up to kRowFloats.
    std::int32_t cols = 0;  // Input channels, as in the checkpoint.
};

// Activations in int8, one scale per row, rotated (rotation.h) before they are quantised:
// rotated value = q * scale, scale = absmax / 127, round to nearest even, |q| <= 127. `sum` is the
// sum of a row's q (some kernels correct an offset with it).
struct QuantRows {
    std::int8_t* q = nullptr;  // [rows][stride]
    float* scale = nullptr;    // [rows]
    std::int32_t* sum = nullptr;
    std::int32_t stride = 0;  // Bytes; a multiple of kRowBytes.
    bool rotated = true;      // False: for a matrix that is not, see int4.h.
};

// Query vectors in int8, one scale per row and head, ready for the integer dot products.
struct QuantHeads {
    std::int8_t* q = nullptr;  // [rows][heads][head_dim]
    float* scale = nullptr;    // [rows][heads]; with the softmax factors (backend's own).
    std::int32_t* sum = nullptr;
};

// Consecutive rows of one sequence: row first_row + i has position start + i.
struct RowRun {
    std::int32_t first_row = 0;
    std::int32_t rows = 0;
    std::int32_t start = 0;
    std::byte* const* pages = nullptr;
};

// What one pass is about to compute, for backends that prepare themselves.
struct Pass {
    std::span<const RowRun> runs;
    std::span<const TokenId> tokens;           // One for each row.
    std::span<const std::int32_t> logit_rows;  // Rows that want logits.
};
// How many rows the ops are to be called for: a backend may pad them. `done`: nothing is left to
// call, the backend had this pass recorded.
struct PassShape {
    std::int32_t rows = 0, logit_rows = 0;
    bool done = false;
};

// What the attention ops of one layer need to know.
struct AttentionCall {
    KvLayout kv;
    std::int32_t heads = 0;
    std::int32_t kv_bank = 0;
    std::int32_t window = 0;  // 0 = all earlier positions.
    bool writes_kv = true;
    std::span<const RowRun> runs;
    float score_scale = 1.0f;          // Of Q K.
    float softcap = 0.0f;              // > 0: scores become cap * tanh(score / cap).
    const float* key_shift = nullptr;  // [kv_heads][head_dim], taken off K after RoPE; or null.
};

struct MatmulOut {
    float* out = nullptr;  // [rows][stride]
    std::int32_t stride = 0;
    std::int32_t width = 0;       // Columns written: the matrix's rows, or fewer (logits).
    const float* bias = nullptr;  // [matrix rows] or null.
    bool accumulate = false;      // out += instead of out = (the residual stream).
};

// One owner thread; ops run in order, and what they gave is there after end_pass() at the latest.
// Matrices, rows and constants lie in memory that the backend allocated. The result of a row
// depends on that row's inputs alone, bit for bit: not on how many rows there are, nor on the
// number of threads.
class Backend {
  public:
    virtual ~Backend() = default;
    virtual std::string name() const = 0;

    // Zeros for rows of activations, where the ops of this backend reach them; 64-byte aligned.
    virtual std::shared_ptr<std::byte> allocate(std::size_t bytes) {
        std::shared_ptr<std::byte> memory(
            static_cast<std::byte*>(allocate_aligned(bytes + kCacheLine).release()),
            FreeAligned{bytes + kCacheLine >= kHugePage ? kHugePage : kCacheLine});
        std::memset(memory.get(), 0, bytes + kCacheLine);
        return memory;
    }
    // A copy of `values` in such memory; null if there are none.
    virtual std::shared_ptr<const float> constants(std::span<const float> values) {
        if (values.empty()) return nullptr;
        std::shared_ptr<std::byte> memory = allocate(values.size_bytes());
        std::memcpy(memory.get(), values.data(), values.size_bytes());
        return {memory, reinterpret_cast<const float*>(memory.get())};
    }
    // After the last pack(), before the first pass: whether there is memory for the model's pages
    // and for `rows` at once, where the backend has its own.
    virtual Result<void> prepare(const ModelConfig&, std::int32_t /*rows*/) { return {}; }
    // Whether activations are allocated for the largest pass before the first.
    virtual bool allocates_ahead() const { return false; }
    // Pages that one pass may have.
    virtual std::int64_t pages_per_pass() const { return std::numeric_limits<std::int64_t>::max(); }
    // See Engine.
    virtual Result<void> use_page_memory(std::span<std::byte>) { return {}; }
    virtual void page_changed(const std::byte* /*page*/) {}
    virtual std::optional<DeviceFigures> device_figures() const { return std::nullopt; }

    // A pass is begun, its ops are called, and it is ended. `logits` is where the caller wants
    // them; ops write to logits_of_pass(logits).
    virtual PassShape begin_pass(const Pass& pass) {
        return {static_cast<std::int32_t>(pass.tokens.size()),
                static_cast<std::int32_t>(pass.logit_rows.size()), false};
    }
    virtual float* logits_of_pass(float* logits) { return logits; }
    // The next pass draws tokens on the device, and its caller wants no logits.
    virtual bool keeps_logits() const { return false; }
    virtual void end_pass(float* /*logits*/) {}
    // to[i] = row rows[i] of `from`; the two do not overlap. Rows are those of the pass that want
    // logits.
    virtual void gather_rows(const float* from, std::span<const std::int32_t> rows,
                             std::int32_t stride, float* to) {
        for (const std::int32_t row : rows) {
            std::memcpy(to, from + static_cast<std::ptrdiff_t>(row) * stride,
                        static_cast<std::size_t>(stride) * sizeof(float));
            to += stride;
        }
    }

    // Stacks `parts` (equal cols) by output channel, each part rounded up to kRowFloats channels,
    // rotates their rows, and frees the int8 of each part as it goes.
    virtual std::unique_ptr<PackedMatrix> pack(std::span<QuantMatrix* const> parts) = 0;

    // out[i] = row tokens[i] of the matrix, dequantised and rotated back; `stride` floats apart.
    virtual void embed(const PackedMatrix& table, std::span<const TokenId> tokens, float* out,
                       std::int32_t stride) = 0;

    // y = x / rms(x) * gamma (Zhang and Sennrich 2019), quantised.
    struct Norm {
        const float* gamma;
        std::int32_t width;   // Without padding.
        std::int32_t stride;  // Floats between rows of x; gamma is padded to it.
        float eps;
    };
    virtual void norm_quantize(const Norm& norm, const float* x, std::int32_t rows,
                               QuantRows out) = 0;
    virtual void quantize(const float* x, std::int32_t stride, std::int32_t rows,
                          QuantRows out) = 0;
    // x += y / rms(y) * gamma; rows of y and x are norm.stride apart.
    virtual void norm_add(const Norm& norm, const float* y, std::int32_t rows, float* x) = 0;
    // Every head of width norm.width becomes head / rms(head) * gamma, in place; rows are
    // norm.stride apart.
    virtual void norm_heads(const Norm& norm, std::int32_t heads, float* x, std::int32_t rows) = 0;
    // x becomes cap * tanh(x / cap), for a row of `width` floats after another.
    virtual void soft_cap(float cap, float* x, std::int32_t width, std::int32_t rows) = 0;
    // y = gelu(gate) * up (Activation::kGelu), quantised; a row is gate [stride] then up [stride].
    virtual void geglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                                QuantRows out) = 0;
    // y = silu(gate) * up (Shazeer 2020), quantised; a row is gate [stride] then up [stride].
    virtual void swiglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                                 QuantRows out) = 0;

    // out[m][n] = float(sum_k q_x q_w) * s_x[m] * s_w[n] + bias[n], summed exactly in int32.
    virtual void matmul(const QuantRows& x, std::int32_t rows, const PackedMatrix& w,
                        const MatmulOut& out) = 0;

    // Rotates Q and K of `qkv` (rows of Q | K | V, each part padded to kRowFloats) and quantises:
    // Q into `q`, K and V into the pages when the layer writes its bank.
    virtual void rope_quantize(const AttentionCall& call, const RopeTable& rope, float* qkv,
                               std::int32_t stride, QuantHeads q) = 0;

    // Causal attention of every row over its own pages, its own position included; out is
    // [rows][stride], heads one after another. Keys are taken in page order by absolute position.
    virtual void attend(const AttentionCall& call, const QuantHeads& q, float* out,
                        std::int32_t stride) = 0;
};

}  // namespace hearth::engine
