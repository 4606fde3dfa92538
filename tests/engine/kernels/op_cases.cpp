// op_cases: small inputs for every op, edges included.
#include "tests/engine/kernels/op_cases.h"

#include <cmath>
#include <cstring>

#include "engine/kernels/ref/ref_backend.h"

namespace hearth::engine::testing {
namespace {

OpCase quantize_case(std::int32_t rows, std::int32_t width) {
    const auto run = [=](Backend& backend) {
        Rng rng(static_cast<std::uint64_t>(width));
        Rows x(rng, rows, width, 3.0f);
        for (std::int32_t i = 0; i < x.stride; ++i) x.data.data()[i] = 0.0f;  // One row of zeros.
        OwnedQuantRows out(rows, width);
        backend.quantize(x.data.data(), x.stride, rows, out.view);
        return out.output();
    };
    return {"quantize " + std::to_string(width), run, 1e-6, 1};
}

OpCase norm_case(std::int32_t rows, std::int32_t width) {
    const auto run = [=](Backend& backend) {
        Rng rng(static_cast<std::uint64_t>(width) + 1);
        const Rows x(rng, rows, width, 5.0f);
        std::vector<float> gamma = random_gains(rng, width);
        gamma.resize(static_cast<std::size_t>(x.stride));
        OwnedQuantRows out(rows, width);
        backend.norm_quantize({gamma.data(), width, x.stride, 1e-5f}, x.data.data(), rows,
                              out.view);
        return out.output();
    };
    return {"norm " + std::to_string(width), run, 1e-5, 1};
}

OpCase swiglu_case(std::int32_t rows, std::int32_t width) {
    const auto run = [=](Backend& backend) {
        Rng rng(static_cast<std::uint64_t>(width) + 2);
        Rows x(rng, rows * 2, width, 4.0f);
        x.data.data()[0] = -200.0f;  // exp would overflow or vanish here.
        x.data.data()[1] = 200.0f;
        OwnedQuantRows out(rows, width);
        backend.swiglu_quantize(x.data.data(), x.stride, rows, out.view);
        return out.output();
    };
    return {"swiglu " + std::to_string(width), run, 1e-5, 1};
}

OpCase matmul_case(std::int32_t rows, std::int32_t n, std::int32_t k, bool extremes = false,
                   bool int4 = false) {
    const auto run = [=](Backend& backend) {
        Rng rng(static_cast<std::uint64_t>(rows * 7 + n * 3 + k));
        OwnedQuantRows x(rows, k);
        for (std::int32_t r = 0; r < rows; ++r) {
            for (std::int32_t i = 0; i < k; ++i) {
                const auto v = static_cast<std::int8_t>(
                    extremes ? (rng.below(2) == 0 ? 127 : -127)
                             : static_cast<std::int32_t>(rng.below(255)) - 127);
                x.q.data()[r * x.view.stride + i] = v;
                x.sum.data()[r] += v;
            }
            x.scale.data()[r] = 1.0f;
        }
        QuantMatrix w{n, k, {}, std::vector<float>(static_cast<std::size_t>(n), 1.0f)};
        for (std::int32_t i = 0; i < n * k; ++i)
            w.q.push_back(static_cast<std::int8_t>(
                extremes ? (rng.below(2) == 0 ? 127 : -127)
                         : static_cast<std::int32_t>(rng.below(255)) - 127));
        w.int4 = int4;
        QuantMatrix* const parts[] = {&w};
        const auto packed = backend.pack(parts);
        EXPECT_TRUE(w.q.empty());
        Output out;
        out.floats.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(n));
        backend.matmul(x.view, rows, *packed, {out.floats.data(), n, n, nullptr, false});
        return out;
    };
    // Scales are 1 and sums stay below 2^24 or are rounded once: the comparison is exact.
    return {(int4 ? "int4 matmul " : "matmul ") + std::to_string(rows) + "x" + std::to_string(n) +
                "x" + std::to_string(k),
            run, 0.0, 0};
}

// Two stacked parts of odd height, bias, accumulation into what is there, real scales.
OpCase stacked_matmul_case() {
    const auto run = [](Backend& backend) {
        Rng rng(99);
        QuantMatrix a = random_matrix(rng, 21, 100), b = random_matrix(rng, 40, 100);
        QuantMatrix* const parts[] = {&a, &b};
        const auto packed = backend.pack(parts);
        EXPECT_EQ(packed->rows, 32 + 48);
        const Rows x(rng, 9, 100);
        OwnedQuantRows q(9, 100);
        make_ref_backend()->quantize(x.data.data(), x.stride, 9, q.view);
        std::vector<float> bias = normals(rng, 80);
        Output out;
        out.floats = normals(rng, 9 * 80);
        backend.matmul(q.view, 9, *packed, {out.floats.data(), 80, 80, bias.data(), true});
        return out;
    };
    return {"matmul stacked", run, 1e-6, 0};
}

OpCase embed_case() {
    const auto run = [](Backend& backend) {
        Rng rng(5);
        QuantMatrix table = random_matrix(rng, 37, 27);
        QuantMatrix* const parts[] = {&table};
        const auto packed = backend.pack(parts);
        const std::vector<TokenId> tokens = {0, 36, 17, 17};
        Output out;
        out.floats.assign(4 * 32, -1.0f);
        backend.embed(*packed, tokens, out.floats.data(), 32);
        return out;
    };
    return {"embed", run, 1e-6, 0};
}

struct AttentionShape {
    std::int32_t heads, kv_heads, head_dim, window, start, rows;
    float softcap = 0.0f;
    bool shifted = false;
};

// GeGLU, the norms of heads and of what a layer adds, and soft caps.
OpCase geglu_case(std::int32_t rows, std::int32_t width) {
    const auto run = [=](Backend& backend) {
        Rng rng(static_cast<std::uint64_t>(width) + 3);
        Rows x(rng, rows * 2, width, 3.0f);
        x.data.data()[0] = -200.0f;
        x.data.data()[1] = 200.0f;
        OwnedQuantRows out(rows, width);
        backend.geglu_quantize(x.data.data(), x.stride, rows, out.view);
        return out.output();
    };
    return {"geglu " + std::to_string(width), run, 1e-5, 1};
}

OpCase norm_heads_case(std::int32_t heads, std::int32_t width) {
    const auto run = [=](Backend& backend) {
        Rng rng(static_cast<std::uint64_t>(width) + 4);
        const Rows x(rng, 9, heads * width + 16, 5.0f);
        const std::vector<float> gamma = random_gains(rng, width);
        Output out;
        out.floats.assign(x.data.data(), x.data.data() + x.data.size());
        backend.norm_heads({gamma.data(), width, x.stride, 1e-5f}, heads, out.floats.data(), 9);
        // What lies behind the heads is not theirs.
        const std::size_t behind =
            static_cast<std::size_t>(heads) * static_cast<std::size_t>(width);
        EXPECT_EQ(out.floats[behind], x.data.data()[behind]);
        return out;
    };
    return {"norm heads " + std::to_string(width), run, 1e-6, 0};
}

OpCase norm_add_case(std::int32_t width) {
    const auto run = [=](Backend& backend) {
        Rng rng(static_cast<std::uint64_t>(width) + 5);
        const Rows y(rng, 9, width, 5.0f);
        const Rows x(rng, 9, width);
        std::vector<float> gamma = random_gains(rng, width);
        gamma.resize(static_cast<std::size_t>(y.stride));
        Output out;
        out.floats.assign(x.data.data(), x.data.data() + x.data.size());
        backend.norm_add({gamma.data(), width, y.stride, 1e-5f}, y.data.data(), 9,
                         out.floats.data());
        return out;
    };
    return {"norm add " + std::to_string(width), run, 1e-6, 0};
}

OpCase soft_cap_case(std::int32_t width) {
    const auto run = [=](Backend& backend) {
        Rng rng(static_cast<std::uint64_t>(width) + 6);
        Output out;
        out.floats = normals(rng, static_cast<std::size_t>(width) * 3, 40.0f);
        out.floats[0] = 1e30f;
        out.floats[1] = -1e30f;
        backend.soft_cap(30.0f, out.floats.data(), width, 3);
        EXPECT_EQ(out.floats[0], 30.0f);
        EXPECT_EQ(out.floats[1], -30.0f);
        return out;
    };
    return {"soft cap " + std::to_string(width), run, 1e-6, 0};
}

// K and V of all positions are written through the op, in two calls; then the last rows attend.
OpCase attention_case(const AttentionShape& s) {
    const auto run = [s](Backend& backend) {
        Rng rng(static_cast<std::uint64_t>(s.head_dim * 1000 + s.start + s.window));
        ModelConfig config;
        config.rope_dim = s.head_dim;
        config.rope_style = s.heads % 2 == 0 ? RopeStyle::kHalves : RopeStyle::kInterleaved;
        RopeTable rope(config);
        rope.grow(s.start + s.rows);
        const KvLayout kv{2, s.kv_heads, s.head_dim};
        const Pages pages(kv, s.start + s.rows);
        const std::int32_t q_width = round_up(s.heads * s.head_dim, kRowFloats);
        const std::int32_t kv_width = round_up(s.kv_heads * s.head_dim, kRowFloats);
        const std::int32_t stride = q_width + 2 * kv_width;
        const std::int32_t most = std::max(s.start, s.rows);
        AlignedBuffer<std::int8_t> q;
        AlignedBuffer<float> q_scale;
        AlignedBuffer<std::int32_t> q_sum;
        q.resize(static_cast<std::size_t>(most * s.heads * s.head_dim));
        q_scale.resize(static_cast<std::size_t>(most * s.heads));
        q_sum.resize(static_cast<std::size_t>(most * s.heads));
        const QuantHeads query{q.data(), q_scale.data(), q_sum.data()};
        AttentionCall call{kv, s.heads, 1, s.window, true, {}};
        call.score_scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim));
        call.softcap = s.softcap;
        const std::vector<float> shift =
            normals(rng, static_cast<std::size_t>(s.kv_heads * s.head_dim));
        if (s.shifted) call.key_shift = shift.data();
        Output out;
        for (const auto& [start, rows] : {std::pair{0, s.start}, std::pair{s.start, s.rows}}) {
            if (rows == 0) continue;
            const RowRun runs[] = {{0, rows, start, pages.span().data()}};
            call.runs = runs;
            Rows qkv(rng, rows, stride, 1.5f);
            backend.rope_quantize(call, rope, qkv.data.data(), stride, query);
            out.floats.assign(static_cast<std::size_t>(rows) * static_cast<std::size_t>(q_width),
                              0.0f);
            backend.attend(call, query, out.floats.data(), q_width);
        }
        return out;
    };
    return {"attention heads " + std::to_string(s.heads) + "/" + std::to_string(s.kv_heads) +
                " dim " + std::to_string(s.head_dim) + " window " + std::to_string(s.window) +
                " start " + std::to_string(s.start) + " rows " + std::to_string(s.rows) + " cap " +
                std::to_string(s.softcap),
            run, 2e-3, 0};  // A tie rounded the other way moves one K, V or Q value by a step.
}

}  // namespace

std::vector<OpCase> op_cases() {
    std::vector<OpCase> cases = {stacked_matmul_case(), embed_case()};
    for (const std::int32_t width : {4, 16, 60, 64, 172, 576}) {
        cases.push_back(quantize_case(21, width));
        cases.push_back(norm_case(21, width));
        cases.push_back(swiglu_case(21, width));
        cases.push_back(geglu_case(21, width));
        cases.push_back(norm_heads_case(3, width));
        cases.push_back(norm_add_case(width));
        cases.push_back(soft_cap_case(width));
    }
    for (const std::int32_t rows : {1, 2, 3, 4, 5, 6, 7, 13, 200})
        cases.push_back(matmul_case(rows, 80, 64));
    for (const std::int32_t n : {1, 15, 16, 17, 63, 64, 65, 200})
        cases.push_back(matmul_case(7, n, 172));
    for (const std::int32_t k : {1, 3, 4, 5, 63, 65, 576}) cases.push_back(matmul_case(8, 64, k));
    cases.push_back(matmul_case(7, 33, 4096, true));
    for (const bool extremes : {false, true}) {
        cases.push_back(matmul_case(1, 80, 172, extremes, true));
        cases.push_back(matmul_case(5, 33, 64, extremes, true));
        cases.push_back(matmul_case(100, 200, 576, extremes, true));
    }
    for (const AttentionShape& shape :
         {AttentionShape{1, 1, 4, 0, 0, 1}, AttentionShape{8, 4, 8, 0, 0, 70},
          AttentionShape{9, 3, 64, 0, 100, 1}, AttentionShape{9, 3, 64, 0, 63, 130},
          AttentionShape{6, 1, 20, 0, 200, 33}, AttentionShape{6, 1, 32, 50, 130, 40},
          AttentionShape{4, 2, 16, 1, 64, 5}, AttentionShape{4, 2, 128, 64, 64, 64},
          AttentionShape{64, 1, 36, 0, 10, 3}, AttentionShape{8, 4, 64, 0, 100, 9, 2.0f},
          AttentionShape{6, 1, 20, 50, 130, 40, 0.5f, true},
          AttentionShape{9, 3, 64, 0, 63, 70, 0.0f, true}})
        cases.push_back(attention_case(shape));
    return cases;
}

void expect_near(const Output& got, const Output& want, const OpCase& op) {
    ASSERT_EQ(got.ints.size(), want.ints.size());
    ASSERT_EQ(got.floats.size(), want.floats.size());
    for (std::size_t i = 0; i < got.ints.size(); ++i)
        ASSERT_LE(std::abs(got.ints[i] - want.ints[i]), op.steps) << "at " << i;
    double largest = 0.0;
    for (const float x : want.floats) largest = std::max(largest, std::abs(double{x}));
    for (std::size_t i = 0; i < got.floats.size(); ++i)
        ASSERT_LE(std::abs(double{got.floats[i]} - want.floats[i]), op.tolerance * largest)
            << "at " << i << ": " << got.floats[i] << " for " << want.floats[i];
}

bool same_bits(const Output& a, const Output& b) {
    return a.ints == b.ints && a.floats.size() == b.floats.size() &&
           std::memcmp(a.floats.data(), b.floats.data(), a.floats.size() * sizeof(float)) == 0;
}

}  // namespace hearth::engine::testing
