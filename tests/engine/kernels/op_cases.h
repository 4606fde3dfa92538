// op_cases.h: one table of op cases, which every backend runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/kernels/aligned.h"
#include "engine/kernels/ops.h"
#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::testing {

struct Output {
    std::vector<std::int32_t> ints;  // Quantised values: may differ from ref by one step at a tie.
    std::vector<float> floats;
};

struct OpCase {
    std::string name;
    std::function<Output(Backend&)> run;
    double tolerance;    // Of floats against ref, relative to the largest one.
    std::int32_t steps;  // Of ints against ref: 0 where the arithmetic is exact.
};

// A float matrix whose rows are padded with zeros, as the engine keeps them.
struct Rows {
    Rows(Rng& rng, std::int32_t count, std::int32_t width, float size = 1.0f)
        : rows(count), stride(round_up(width, kRowFloats)) {
        data.resize(static_cast<std::size_t>(count) * static_cast<std::size_t>(stride));
        for (std::int32_t r = 0; r < count; ++r)
            for (std::int32_t i = 0; i < width; ++i)
                data.data()[r * stride + i] = normal(rng) * size;
    }
    std::int32_t rows, stride;
    AlignedBuffer<float> data;
};

struct OwnedQuantRows {
    OwnedQuantRows(std::int32_t count, std::int32_t cols) : rows(count) {
        const auto n = static_cast<std::size_t>(count);
        const std::int32_t stride = round_up(cols, kRowBytes);
        q.resize(n * static_cast<std::size_t>(stride));
        scale.resize(n);
        sum.resize(n);
        view = {q.data(), scale.data(), sum.data(), stride};
    }
    Output output() const {
        Output out;
        out.ints.assign(q.data(), q.data() + q.size());
        out.floats.assign(scale.data(), scale.data() + rows);
        return out;
    }
    std::int32_t rows;
    AlignedBuffer<std::int8_t> q;
    AlignedBuffer<float> scale;
    AlignedBuffer<std::int32_t> sum;
    QuantRows view;
};

std::vector<OpCase> op_cases();

// Fails the test where `got` is further from `want` than the case allows.
void expect_near(const Output& got, const Output& want, const OpCase& op);
bool same_bits(const Output& a, const Output& b);

}  // namespace hearth::engine::testing
