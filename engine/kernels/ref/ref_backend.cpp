// The ref backend: every op as its formula reads, integers in int64 and reals in double.
#include "engine/kernels/ref/ref_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numbers>
#include <utility>
#include <vector>

#include "engine/kernels/int4.h"
#include "engine/kernels/rotation.h"

namespace hearth::engine {
namespace {

struct RefMatrix final : PackedMatrix {
    std::int32_t width = 0;      // cols, rounded up to whole blocks of the rotation
    std::vector<std::int8_t> q;  // [rows][width], rotated
    std::vector<float> scale;
};

// Symmetric int8 of n values: returns the scale. Round to nearest even is nearbyint's default mode.
double quantize_values(const double* x, std::int32_t n, std::int8_t* q) {
    double largest = 0.0;
    for (std::int32_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
    const double scale = largest < 1e-30 ? 0.0 : largest / 127.0;
    for (std::int32_t i = 0; i < n; ++i) {
        const double steps = scale == 0.0 ? 0.0 : std::nearbyint(x[i] / scale);
        q[i] = static_cast<std::int8_t>(std::clamp(steps, -127.0, 127.0));
    }
    return scale;
}

// Multiplies by the orthonormal H / 8, block by block; the end is padded with zeros.
void rotate_blocks(std::vector<double>& x) {
    x.resize((x.size() + kRotation - 1) / kRotation * kRotation);
    for (std::size_t block = 0; block < x.size(); block += kRotation) hadamard64(x.data() + block);
    for (double& v : x) v *= kRotationScale;
}

void quantize_one_row(std::vector<double> x, const QuantRows& out, std::int32_t row) {
    if (out.rotated) rotate_blocks(x);
    x.resize(static_cast<std::size_t>(round_up(static_cast<std::int32_t>(x.size()), kRowBytes)));
    CHECK(x.size() == static_cast<std::size_t>(out.stride));
    std::int8_t* q = out.q + static_cast<std::ptrdiff_t>(row) * out.stride;
    out.scale[row] = static_cast<float>(quantize_values(x.data(), out.stride, q));
    out.sum[row] = 0;
    for (std::int32_t i = 0; i < out.stride; ++i) out.sum[row] += q[i];
}

void rotate(std::vector<double>& x, const RopeTable& rope, std::int32_t position) {
    for (std::int32_t i = 0; i < rope.pairs(); ++i) {
        const bool halves = rope.style() == RopeStyle::kHalves;
        double& a = x[static_cast<std::size_t>(halves ? i : 2 * i)];
        double& b = x[static_cast<std::size_t>(halves ? i + rope.pairs() : 2 * i + 1)];
        const double c = rope.cos_of(position)[i], s = rope.sin_of(position)[i];
        const double a0 = a, b0 = b;
        a = a0 * c - b0 * s;
        b = a0 * s + b0 * c;
    }
}

double rms_of(const float* x, const Backend::Norm& norm) {
    double squares = 0.0;
    for (std::int32_t i = 0; i < norm.width; ++i) squares += double{x[i]} * x[i];
    return std::sqrt(squares / norm.width + norm.eps);
}

// Key or value j of a page as the layout defines it.
struct PageHead {
    const std::byte* page;
    std::size_t bytes_at, scale_at;
    std::int32_t head_dim;
    const std::int8_t* row(std::int32_t j) const {
        return reinterpret_cast<const std::int8_t*>(page + bytes_at) + j * head_dim;
    }
    double scale(std::int32_t j) const {
        float s;
        std::memcpy(&s, page + scale_at + static_cast<std::size_t>(j) * sizeof s, sizeof s);
        return s;
    }
};

class RefBackend final : public Backend {
  public:
    std::string name() const override { return "ref"; }

    std::unique_ptr<PackedMatrix> pack(std::span<QuantMatrix* const> parts) override {
        auto packed = std::make_unique<RefMatrix>();
        packed->cols = parts.front()->cols;
        packed->width = round_up(packed->cols, kRowBytes);
        const auto width = static_cast<std::size_t>(packed->width);
        for (QuantMatrix* part : parts) {
            const auto first = static_cast<std::size_t>(packed->rows);
            packed->rows += round_up(part->rows, kRowFloats);
            packed->q.resize(static_cast<std::size_t>(packed->rows) * width);
            packed->scale.resize(static_cast<std::size_t>(packed->rows));
            for (std::int32_t r = 0; r < part->rows; ++r) {
                const std::size_t at = first + static_cast<std::size_t>(r);
                const std::span q = std::span(packed->q).subspan(at * width, width);
                packed->scale[at] = rotate_row(*part, r, q);
                if (part->int4) snap_to_int4(q);
            }
            *part = {};
        }
        return packed;
    }

    void embed(const PackedMatrix& table, std::span<const TokenId> tokens, float* out,
               std::int32_t stride) override {
        const auto& w = static_cast<const RefMatrix&>(table);
        for (const TokenId token : tokens) {
            const auto row = static_cast<std::size_t>(token);
            const std::int8_t* q = w.q.data() + row * static_cast<std::size_t>(w.width);
            std::vector<double> x(q, q + w.width);
            rotate_blocks(x);  // Its own inverse.
            for (std::int32_t k = 0; k < stride; ++k)
                out[k] = static_cast<float>(x[static_cast<std::size_t>(k)] * w.scale[row]);
            out += stride;
        }
    }

    void norm_quantize(const Norm& norm, const float* x, std::int32_t rows,
                       QuantRows out) override {
        std::vector<double> y(static_cast<std::size_t>(norm.width));
        for (std::int32_t row = 0; row < rows; ++row, x += norm.stride) {
            const double rms = rms_of(x, norm);
            for (std::size_t i = 0; i < y.size(); ++i) y[i] = x[i] / rms * norm.gamma[i];
            quantize_one_row(y, out, row);
        }
    }

    void quantize(const float* x, std::int32_t stride, std::int32_t rows, QuantRows out) override {
        for (std::int32_t row = 0; row < rows; ++row, x += stride)
            quantize_one_row(std::vector<double>(x, x + stride), out, row);
    }

    void norm_add(const Norm& norm, const float* y, std::int32_t rows, float* x) override {
        for (std::int32_t row = 0; row < rows; ++row, x += norm.stride, y += norm.stride) {
            const double rms = rms_of(y, norm);
            for (std::int32_t i = 0; i < norm.width; ++i)
                x[i] = static_cast<float>(x[i] + y[i] / rms * norm.gamma[i]);
        }
    }

    void norm_heads(const Norm& norm, std::int32_t heads, float* x, std::int32_t rows) override {
        for (std::int32_t row = 0; row < rows; ++row, x += norm.stride) {
            for (std::int32_t h = 0; h < heads; ++h) {
                float* head = x + h * norm.width;
                const double rms = rms_of(head, norm);
                for (std::int32_t i = 0; i < norm.width; ++i)
                    head[i] = static_cast<float>(head[i] / rms * norm.gamma[i]);
            }
        }
    }

    void soft_cap(float cap, float* x, std::int32_t width, std::int32_t rows) override {
        const std::ptrdiff_t count = std::ptrdiff_t{width} * rows;
        for (float* end = x + count; x < end; ++x)
            *x = static_cast<float>(cap * std::tanh(double{*x} / cap));
    }

    void geglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                        QuantRows out) override {
        const double steep = std::sqrt(2.0 / std::numbers::pi);
        std::vector<double> y(static_cast<std::size_t>(stride));
        for (std::int32_t row = 0; row < rows; ++row, gate_up += 2 * stride) {
            for (std::int32_t i = 0; i < stride; ++i) {
                const double x = gate_up[i];
                const double gelu = 0.5 * x * (1.0 + std::tanh(steep * (x + 0.044715 * x * x * x)));
                y[static_cast<std::size_t>(i)] = gelu * gate_up[stride + i];
            }
            quantize_one_row(y, out, row);
        }
    }

    void swiglu_quantize(float* gate_up, std::int32_t stride, std::int32_t rows,
                         QuantRows out) override {
        std::vector<double> y(static_cast<std::size_t>(stride));
        for (std::int32_t row = 0; row < rows; ++row, gate_up += 2 * stride) {
            for (std::int32_t i = 0; i < stride; ++i) {
                const double gate = gate_up[i];
                y[static_cast<std::size_t>(i)] =
                    gate / (1.0 + std::exp(-gate)) * gate_up[stride + i];
            }
            quantize_one_row(y, out, row);
        }
    }

    void matmul(const QuantRows& x, std::int32_t rows, const PackedMatrix& weights,
                const MatmulOut& to) override {
        const auto& w = static_cast<const RefMatrix&>(weights);
        for (std::int32_t m = 0; m < rows; ++m) {
            const std::int8_t* in = x.q + static_cast<std::ptrdiff_t>(m) * x.stride;
            float* out = to.out + static_cast<std::ptrdiff_t>(m) * to.stride;
            for (std::int32_t n = 0; n < to.width; ++n) {
                const std::int8_t* q = w.q.data() + static_cast<std::ptrdiff_t>(n) * w.width;
                std::int64_t acc = 0;
                for (std::int32_t k = 0; k < w.width; ++k) acc += in[k] * q[k];
                double y =
                    static_cast<double>(acc) * x.scale[m] * w.scale[static_cast<std::size_t>(n)];
                if (to.bias != nullptr) y += to.bias[n];
                if (to.accumulate) y += out[n];
                out[n] = static_cast<float>(y);
            }
        }
    }

    void rope_quantize(const AttentionCall& call, const RopeTable& rope, float* qkv,
                       std::int32_t stride, QuantHeads q) override {
        for (const RowRun& run : call.runs)
            for (std::int32_t i = 0; i < run.rows; ++i)
                rope_row(call, rope, run, i, qkv + std::ptrdiff_t{run.first_row + i} * stride, q);
    }

    void attend(const AttentionCall& call, const QuantHeads& q, float* out,
                std::int32_t stride) override {
        for (const RowRun& run : call.runs)
            for (std::int32_t i = 0; i < run.rows; ++i)
                for (std::int32_t h = 0; h < call.heads; ++h)
                    attend_head(
                        call, run, q, {i, h},
                        out + std::ptrdiff_t{run.first_row + i} * stride + h * call.kv.head_dim);
    }

  private:
    struct RowHead {
        std::int32_t row, head;
    };

    static void rope_row(const AttentionCall& call, const RopeTable& rope, const RowRun& run,
                         std::int32_t i, float* row, QuantHeads q);
    static void attend_head(const AttentionCall& call, const RowRun& run, const QuantHeads& q,
                            RowHead at, float* out);
};

void RefBackend::rope_row(const AttentionCall& call, const RopeTable& rope, const RowRun& run,
                          std::int32_t i, float* row, QuantHeads q) {
    const KvLayout& kv = call.kv;
    const std::int32_t position = run.start + i;
    for (std::int32_t h = 0; h < call.heads; ++h) {
        const float* head = row + h * kv.head_dim;
        std::vector<double> x(head, head + kv.head_dim);
        rotate(x, rope, position);
        const std::ptrdiff_t at = std::ptrdiff_t{run.first_row + i} * call.heads + h;
        std::int8_t* to = q.q + at * kv.head_dim;
        const double scale = quantize_values(x.data(), kv.head_dim, to);
        q.scale[at] = static_cast<float>(scale * call.score_scale);
        q.sum[at] = 0;
        for (std::int32_t d = 0; d < kv.head_dim; ++d) q.sum[at] += to[d];
    }
    if (!call.writes_kv) return;
    const std::int32_t slot = position % kPageTokens;
    std::byte* page = run.pages[position / kPageTokens];
    const auto store = [&](const std::vector<double>& x, std::size_t bytes_at,
                           std::size_t scale_at) {
        auto* to = reinterpret_cast<std::int8_t*>(page + bytes_at) + slot * kv.head_dim;
        const auto scale = static_cast<float>(quantize_values(x.data(), kv.head_dim, to));
        std::memcpy(page + scale_at + static_cast<std::size_t>(slot) * sizeof scale, &scale,
                    sizeof scale);
    };
    const float* k = row + round_up(call.heads * kv.head_dim, kRowFloats);
    const float* v = k + round_up(kv.kv_heads * kv.head_dim, kRowFloats);
    for (std::int32_t h = 0; h < kv.kv_heads; ++h, k += kv.head_dim, v += kv.head_dim) {
        std::vector<double> key(k, k + kv.head_dim);
        rotate(key, rope, position);
        for (std::int32_t d = 0; call.key_shift != nullptr && d < kv.head_dim; ++d)
            key[static_cast<std::size_t>(d)] -= call.key_shift[h * kv.head_dim + d];
        store(key, kv.k_offset(call.kv_bank, h), kv.k_scale_offset(call.kv_bank, h));
        store(std::vector<double>(v, v + kv.head_dim), kv.v_offset(call.kv_bank, h),
              kv.v_scale_offset(call.kv_bank, h));
    }
}

void RefBackend::attend_head(const AttentionCall& call, const RowRun& run, const QuantHeads& q,
                             RowHead at, float* out) {
    const KvLayout& kv = call.kv;
    const std::int32_t kv_head = at.head / (call.heads / kv.kv_heads);
    const std::int32_t position = run.start + at.row;
    const std::int32_t oldest = call.window == 0 ? 0 : std::max(0, position - call.window + 1);
    const std::ptrdiff_t index = std::ptrdiff_t{run.first_row + at.row} * call.heads + at.head;
    const std::int8_t* query = q.q + index * kv.head_dim;
    std::vector<double> score;
    for (std::int32_t j = oldest; j <= position; ++j) {
        const PageHead keys{run.pages[j / kPageTokens], kv.k_offset(call.kv_bank, kv_head),
                            kv.k_scale_offset(call.kv_bank, kv_head), kv.head_dim};
        std::int64_t dot = 0;
        for (std::int32_t d = 0; d < kv.head_dim; ++d)
            dot += query[d] * keys.row(j % kPageTokens)[d];
        const double s = static_cast<double>(dot) * q.scale[index] * keys.scale(j % kPageTokens);
        score.push_back(call.softcap == 0.0f ? s : call.softcap * std::tanh(s / call.softcap));
    }
    const double largest = *std::max_element(score.begin(), score.end());
    double sum = 0.0;
    std::vector<double> mix(static_cast<std::size_t>(kv.head_dim));
    for (std::int32_t j = oldest; j <= position; ++j) {
        const PageHead values{run.pages[j / kPageTokens], kv.v_offset(call.kv_bank, kv_head),
                              kv.v_scale_offset(call.kv_bank, kv_head), kv.head_dim};
        const double p = std::exp(score[static_cast<std::size_t>(j - oldest)] - largest);
        sum += p;
        const double weight = p * values.scale(j % kPageTokens);
        for (std::size_t d = 0; d < mix.size(); ++d)
            mix[d] += weight * values.row(j % kPageTokens)[d];
    }
    for (std::size_t d = 0; d < mix.size(); ++d) out[d] = static_cast<float>(mix[d] / sum);
}

}  // namespace

std::unique_ptr<Backend> make_ref_backend() {
    return std::make_unique<RefBackend>();
}

}  // namespace hearth::engine
