// row_kernels.h: quantisation, RMSNorm, SwiGLU, rotary embedding and look-up of single rows.
// Included by the *_kernels.cpp of this folder only, after lanes.h and the definition of kFlip and
// slot(): see lanes.h for why everything is in an unnamed namespace.
#pragma once

#include "engine/kernels/cpu/kernels.h"
#include "engine/kernels/cpu/lanes.h"
#include "engine/kernels/rotation.h"

namespace {

using namespace hearth::engine;       // NOLINT: this file is part of one translation unit.
using namespace hearth::engine::cpu;  // NOLINT

constexpr float kLog2E = 1.44269504f;
// Rows whose largest value is below this are zero: 127 / absmax would overflow.
constexpr float kAbsmaxMin = 1e-30f;
constexpr std::int32_t kRmsLanes = 256;
struct Scale {
    float scale, inverse;
};
HEARTH_INLINE Scale scale_of(float absmax) {
    if (!(absmax >= kAbsmaxMin)) return {0.0f, 0.0f};
    return {absmax / 127.0f, 127.0f / absmax};
}

HEARTH_INLINE Ints quantize_lanes(const Floats& v, float inverse) {
    return to_ints(min(max(round_even(v * inverse), splat(-127.0f)), splat(127.0f)));
}

// Stores the first n lanes as bytes.
HEARTH_INLINE void store_bytes(std::int8_t* p, const Ints& v, std::int32_t n = kLanes) {
    if (n >= kLanes) {
        narrow(p, v);
    } else {
        std::int8_t bytes[kLanes];
        narrow(bytes, v);
        for (std::int32_t i = 0; i < n; ++i) p[i] = bytes[i];
    }
}

// The first n lanes from memory, zeros in the others: heads are no multiple of 16 wide.
HEARTH_INLINE Floats load_some(const float* p, std::int32_t n) {
    if (n >= kLanes) return load(p);
    float lanes[kLanes] = {};
    for (std::int32_t i = 0; i < n; ++i) lanes[i] = p[i];
    return load(lanes);
}

// 64 channels on their way through the rotation.
struct Block {
    Floats v[4];
};

HEARTH_INLINE Floats rotate_lanes(const Floats& v) {
    return butterfly<8>(butterfly<4>(butterfly<2>(butterfly<1>(v))));
}
HEARTH_INLINE Block rotate(const Block& x) {
    const Floats a = rotate_lanes(x.v[0]), b = rotate_lanes(x.v[1]);
    const Floats c = rotate_lanes(x.v[2]), d = rotate_lanes(x.v[3]);
    const Floats ab = a + b, a_b = a - b, cd = c + d, c_d = c - d;
    return {{(ab + cd) * kRotationScale, (a_b + c_d) * kRotationScale, (ab - cd) * kRotationScale,
             (a_b - c_d) * kRotationScale}};
}

// Channels [i, i + 64) of value(), zeros beyond the width.
template <typename Value>
HEARTH_INLINE Block block_at(std::int32_t width, std::int32_t i, bool rotated, const Value& value) {
    const auto some = [&](std::int32_t at) { return at < width ? value(at) : splat(0.0f); };
    const Block x = i + kRotation <= width
                        ? Block{{value(i), value(i + 16), value(i + 32), value(i + 48)}}
                        : Block{{some(i), some(i + 16), some(i + 32), some(i + 48)}};
    return rotated ? rotate(x) : x;
}

// `value(i)` gives lanes [i, i + 16) of the row; called once for each i. `scratch` holds the row
// between the search for its largest value and the rounding.
template <typename Value>
HEARTH_INLINE void quantize_row_of(std::int32_t width, const QuantRows& out, std::int32_t row,
                                   float* scratch, const Value& value) {
    Floats largest = splat(0.0f);
    for (std::int32_t i = 0; i < width; i += kRotation) {
        const Block x = block_at(width, i, out.rotated, value);
        const Floats ab = max(abs(x.v[0]), abs(x.v[1])), cd = max(abs(x.v[2]), abs(x.v[3]));
        largest = max(max(ab, cd), largest);
        unrolled<4>([&](std::size_t j) HEARTH_FLAT { store(scratch + i + j * kLanes, x.v[j]); });
    }
    const Scale s = scale_of(max_lanes(largest));
    std::int8_t* q = out.q + static_cast<std::ptrdiff_t>(row) * out.stride;
    Ints sum = splat(0);
    for (std::int32_t i = 0; i < out.stride; i += kRotation) {
        unrolled<4>([&](std::size_t j) HEARTH_FLAT {
            const std::ptrdiff_t at = i + static_cast<std::ptrdiff_t>(j) * kLanes;
            const Ints n = quantize_lanes(load(scratch + at), s.inverse);
            store_bytes(q + at, n);
            sum = sum + n;
        });
    }
    out.scale[row] = s.scale;
    out.sum[row] = sum_lanes(sum);
}

void quantize_row(const float* x, std::int32_t width, const QuantRows& out, std::int32_t row,
                  float* scratch) {
    quantize_row_of(width, out, row, scratch, [x](std::int32_t i) { return load(x + i); });
}

// 1 / sqrt(mean of squares + eps). The squares are summed in 256 lanes, every 32 of these by a
// tree, and the eight sums in order: as a block of 256 threads does on a GPU, so that both have the
// same bits.
HEARTH_INLINE float inverse_rms(const float* x, std::int32_t width, float eps) {
    constexpr std::size_t kSums = 16;
    Floats squares[kSums];
    for (Floats& s : squares) s = splat(0.0f);
    for (std::int32_t i = 0; i < width; i += kRmsLanes)
        unrolled<kSums>([&](std::size_t j) HEARTH_FLAT {
            const std::int32_t at = i + static_cast<std::int32_t>(j) * kLanes;
            if (at >= width) return;
            const Floats v = load_some(x + at, width - at);
            squares[j] = squares[j] + v * v;
        });
    float sum = sum_lanes(squares[0] + squares[1]);
    for (std::size_t j = 2; j < kSums; j += 2) sum = sum + sum_lanes(squares[j] + squares[j + 1]);
    return 1.0f / __builtin_sqrtf(sum / static_cast<float>(width) + eps);
}

void norm_quantize_row(const Backend::Norm& norm, const float* x, const QuantRows& out,
                       std::int32_t row, float* scratch) {
    const float inverse = inverse_rms(x, norm.width, norm.eps);
    quantize_row_of(norm.stride, out, row, scratch,
                    [&](std::int32_t i) { return load(x + i) * inverse * load(norm.gamma + i); });
}

void swiglu_quantize_row(const float* gate_up, std::int32_t stride, const QuantRows& out,
                         std::int32_t row, float* scratch) {
    quantize_row_of(stride, out, row, scratch, [=](std::int32_t i) {
        const Floats gate = load(gate_up + i);
        return gate / (exp2_lanes(gate * -kLog2E) + 1.0f) * load(gate_up + stride + i);
    });
}

HEARTH_INLINE std::uint8_t* block_of(const PackedView& w, std::int32_t row) {
    const auto block = static_cast<std::size_t>(row / kLanes);
    return w.bytes + block * static_cast<std::size_t>(w.groups) * 64;
}

void pack_row(const std::int8_t* q, const PackedView& w, std::int32_t row) {
    std::uint8_t* block = block_of(w, row);
    for (std::int32_t k = 0; k < w.groups * 4; ++k)
        block[k / 4 * 64 + slot(row % kLanes, k % 4)] = static_cast<std::uint8_t>(q[k]) ^ kFlip;
}

// A row as it was before it was rotated: the rotation is its own inverse.
void embed_row(const PackedView& w, std::int32_t row, float* out, std::int32_t stride) {
    const std::uint8_t* block = block_of(w, row);
    const float scale = w.scale[row];
    for (std::int32_t k = 0; k < stride; k += kRotation) {
        float x[kRotation];
        for (std::int32_t i = 0; i < kRotation; ++i) {
            const std::uint8_t byte = block[(k + i) / 4 * 64 + slot(row % kLanes, i % 4)] ^ kFlip;
            x[i] = static_cast<float>(static_cast<std::int8_t>(byte)) * scale;
        }
        const Block b = rotate({{load(x), load(x + 16), load(x + 32), load(x + 48)}});
#pragma GCC unroll 4
        for (std::int32_t j = 0; j < 4; ++j)
            if (k + j * kLanes < stride) store(out + k + j * kLanes, b.v[j]);
    }
}

// (a, b) turned by an angle: kNativeLanes pairs at once.
HEARTH_INLINE void turn(NativeFloats& a, NativeFloats& b, const float* cosine, const float* sine) {
    const NativeFloats c = load_native(cosine), s = load_native(sine), a0 = a;
    a = a0 * c - b * s;
    b = a0 * s + b * c;
}

// Pairs [0, ...) of neighbours, as many as whole vectors hold; returns how many.
HEARTH_INLINE std::int32_t rotate_neighbours(float* x, const float* cosine, const float* sine,
                                             std::int32_t pairs) {
    NativeInts even = {}, odd = {}, low = {}, high = {};
    for (std::int32_t i = 0; i < kNativeLanes; ++i) {
        even[i] = 2 * i;
        odd[i] = 2 * i + 1;
        low[i] = i / 2 + i % 2 * kNativeLanes;
        high[i] = low[i] + kNativeLanes / 2;
    }
    std::int32_t i = 0;
    for (; i + kNativeLanes <= pairs; i += kNativeLanes) {
        const NativeFloats first = load_native(x + 2 * i);
        const NativeFloats second = load_native(x + 2 * i + kNativeLanes);
        NativeFloats a = __builtin_shuffle(first, second, even);
        NativeFloats b = __builtin_shuffle(first, second, odd);
        turn(a, b, cosine + i, sine + i);
        store_native(x + 2 * i, __builtin_shuffle(a, b, low));
        store_native(x + 2 * i + kNativeLanes, __builtin_shuffle(a, b, high));
    }
    return i;
}

HEARTH_INLINE std::int32_t rotate_halves(float* x, const float* cosine, const float* sine,
                                         std::int32_t pairs) {
    std::int32_t i = 0;
    for (; i + kNativeLanes <= pairs; i += kNativeLanes) {
        NativeFloats a = load_native(x + i), b = load_native(x + pairs + i);
        turn(a, b, cosine + i, sine + i);
        store_native(x + i, a);
        store_native(x + pairs + i, b);
    }
    return i;
}

// Rotary embedding of one head, in place; elements beyond 2 * pairs stay as they are.
HEARTH_INLINE void rotate_head(float* x, const RopeTable& rope, std::int32_t position) {
    const float* cosine = rope.cos_of(position);
    const float* sine = rope.sin_of(position);
    const std::int32_t pairs = rope.pairs();
    const bool halves = rope.style() == RopeStyle::kHalves;
    const std::int32_t step = halves ? 1 : 2;
    const std::int32_t apart = halves ? pairs : 1;
    std::int32_t i =
        halves ? rotate_halves(x, cosine, sine, pairs) : rotate_neighbours(x, cosine, sine, pairs);
    for (; i < pairs; ++i) {
        float* a = x + i * step;
        float* b = a + apart;
        const float a0 = *a, b0 = *b;
        *a = a0 * cosine[i] - b0 * sine[i];
        *b = a0 * sine[i] + b0 * cosine[i];
    }
}

// Quantises `n` values (a multiple of 4, any alignment); returns the scale.
HEARTH_INLINE float quantize_head(const float* x, std::int32_t n, std::int8_t* q,
                                  std::int32_t* sum) {
    Floats largest = splat(0.0f);
    for (std::int32_t i = 0; i < n; i += kLanes)
        largest = max(abs(load_some(x + i, n - i)), largest);
    const Scale s = scale_of(max_lanes(largest));
    Ints total = splat(0);
    for (std::int32_t i = 0; i < n; i += kLanes) {
        const Ints v = quantize_lanes(load_some(x + i, n - i), s.inverse);
        total = total + v;
        store_bytes(q + i, v, n - i);
    }
    *sum = sum_lanes(total);
    return s.scale;
}

// K and V of one position go to its page, every head with its own scale.
HEARTH_INLINE void write_kv(const RopeTask& task, std::int32_t position, float* k, float* v) {
    const KvLayout& kv = task.call->kv;
    const std::int32_t bank = task.call->kv_bank;
    const std::int32_t slot_in_page = position % kPageTokens;
    std::byte* page = task.run->pages[position / kPageTokens];
    const auto store_head = [&](const float* x, std::size_t bytes_at, std::size_t scale_at) {
        auto* q = reinterpret_cast<std::int8_t*>(page + bytes_at) + slot_in_page * kv.head_dim;
        std::int32_t unused;
        const float scale = quantize_head(x, kv.head_dim, q, &unused);
        std::memcpy(page + scale_at + static_cast<std::size_t>(slot_in_page) * sizeof scale, &scale,
                    sizeof scale);
    };
    for (std::int32_t h = 0; h < kv.kv_heads; ++h) {
        float* k_head = k + h * kv.head_dim;
        rotate_head(k_head, *task.rope, position);
        if (const float* shift = task.call->key_shift)
            for (std::int32_t d = 0; d < kv.head_dim; ++d) k_head[d] -= shift[h * kv.head_dim + d];
        store_head(k_head, kv.k_offset(bank, h), kv.k_scale_offset(bank, h));
        store_head(v + h * kv.head_dim, kv.v_offset(bank, h), kv.v_scale_offset(bank, h));
    }
}

void rope_quantize(const RopeTask& task) {
    const KvLayout& kv = task.call->kv;
    const std::int32_t heads = task.call->heads;
    const std::int32_t position = task.run->start + task.row;
    const auto row = static_cast<std::ptrdiff_t>(task.run->first_row) + task.row;
    // Softmax is computed in base 2: log2(e) is folded in here.
    const float factor = kLog2E * task.call->score_scale;
    for (std::int32_t h = 0; h < heads; ++h) {
        float* head = task.qkv + h * kv.head_dim;
        rotate_head(head, *task.rope, position);
        const std::ptrdiff_t at = row * heads + h;
        const float scale =
            quantize_head(head, kv.head_dim, task.q.q + at * kv.head_dim, task.q.sum + at);
        task.q.scale[at] = scale * factor;
    }
    if (!task.call->writes_kv) return;
    float* k = task.qkv + round_up(heads * kv.head_dim, kRowFloats);
    write_kv(task, position, k, k + round_up(kv.kv_heads * kv.head_dim, kRowFloats));
}

}  // namespace
