// logit_scans: vectors of the compiler, because such loops are a good part of a token's time.
#include "engine/text/logit_scans.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace hearth::engine {
namespace {

typedef float Four __attribute__((vector_size(16)));
typedef std::int32_t FourInts __attribute__((vector_size(16)));

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr float kMost = std::numeric_limits<float>::max();

Four four(float x) {
    return Four{x, x, x, x};
}
Four load_four(const float* p) {
    Four v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
void store_four(float* p, Four v) {
    std::memcpy(p, &v, sizeof v);
}

Four usable(Four x) {
    const Four cut = x < four(kMost) ? x : four(kMost);
    return x == x ? cut : four(kNever);
}

// 2^x for x <= 0: the nearest integer to the exponent's bits, Taylor of 2^f for the rest in
// [-0.5, 0.5]. 0 up to 2^-126.
Four exp2_four(Four x) {
    constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it leaves no fraction bits.
    const Four clamped = x > four(-126.0f) ? x : four(-126.0f);
    const Four whole = (clamped + kMagic) - kMagic;
    const Four f = clamped - whole;
    Four p = four(1.5403530e-04f);
    p = p * f + 1.3333558e-03f;
    p = p * f + 9.6181291e-03f;
    p = p * f + 5.5504109e-02f;
    p = p * f + 2.4022651e-01f;
    p = p * f + 6.9314718e-01f;
    p = p * f + 1.0f;
    const FourInts bits = (__builtin_convertvector(whole, FourInts) + 127) << 23;
    const Four result = p * reinterpret_cast<Four>(bits);
    return clamped > four(-126.0f) ? result : Four{};
}

}  // namespace

void make_usable(std::span<float> logits) {
    std::size_t i = 0;
    for (; i + 4 <= logits.size(); i += 4) store_four(&logits[i], usable(load_four(&logits[i])));
    for (; i < logits.size(); ++i) logits[i] = usable(four(logits[i]))[0];
}

std::size_t index_of_largest(std::span<const float> logits) {
    Four largest[4] = {four(kNever), four(kNever), four(kNever), four(kNever)};
    std::size_t i = 0;
    for (; i + 16 <= logits.size(); i += 16) {
        for (std::size_t j = 0; j < 4; ++j) {
            const Four x = load_four(&logits[i + 4 * j]);
            largest[j] = x > largest[j] ? x : largest[j];
        }
    }
    float top = kNever;
    for (; i < logits.size(); ++i) top = std::max(top, logits[i]);
    for (const Four& lanes : largest)
        for (int lane = 0; lane < 4; ++lane) top = std::max(top, lanes[lane]);
    const auto found = std::find(logits.begin(), logits.end(), top);
    return static_cast<std::size_t>(found - logits.begin());
}

void DrawWeights::weigh(std::span<const float> logits, float top, float temperature, float least) {
    constexpr double kLog2E = 1.4426950408889634;
    // A temperature near 0 would make this infinite, and 0 * infinity is NaN.
    const float factor = std::min(static_cast<float>(kLog2E / temperature), 1e30f);
    const std::size_t padded = (logits.size() + kBlock - 1) / kBlock * kBlock;
    of.resize(padded);
    block.clear();
    total = 0.0;
    for (std::size_t from = 0; from < padded; from += kBlock) {
        const std::size_t left = std::min(kBlock, logits.size() - from);
        float last[kBlock];
        const float* in = logits.data() + from;
        if (left < kBlock) {  // The end, filled up with what weighs nothing.
            std::fill(last, last + kBlock, kNever);
            std::copy(in, in + left, last);
            in = last;
        }
        Four sum = {};
        for (std::size_t i = 0; i < kBlock; i += 4) {
            const Four weight = exp2_four((load_four(in + i) - top) * factor);
            const Four kept = weight >= four(least) ? weight : Four{};
            store_four(&of[from + i], kept);
            sum += kept;
        }
        block.push_back((double{sum[0]} + sum[1]) + (double{sum[2]} + sum[3]));
        total += block.back();
    }
}

std::size_t DrawWeights::at(double share) const {
    double left = share * total;
    std::size_t b = 0;
    while (b + 1 < block.size() && left >= block[b]) left -= block[b++];
    // Rounding may lead past the end of a block, or into one that is empty: then the nearest
    // before.
    std::size_t chosen = of.size();
    for (std::size_t i = b * kBlock; i < (b + 1) * kBlock; ++i) {
        if (of[i] <= 0.0f) continue;
        chosen = i;
        left -= of[i];
        if (left < 0.0) return i;
    }
    if (chosen < of.size()) return chosen;
    for (std::size_t i = of.size(); i > 0; --i)
        if (i <= b * kBlock && of[i - 1] > 0.0f) return i - 1;
    return index_of_largest(of);
}

}  // namespace hearth::engine
