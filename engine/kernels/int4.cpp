// int4: the search for each group's base and step. Runs once, while a backend packs.
#include "engine/kernels/int4.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/check.h"

namespace hearth::engine {
namespace {

constexpr std::int32_t kTop = 15;     // The largest nibble.
constexpr std::int32_t kLimit = 127;  // Of expanded values, as of all int8 here.
constexpr std::int32_t kRefinements = 2;

// Real numbers on the way to a group's integers.
struct Line {
    double base, step;  // Step in whole values.
};

// The nearest integers whose sixteen values stay within int8.
Int4Group rounded(const Line& line) {
    const auto base =
        std::clamp(static_cast<std::int32_t>(std::nearbyint(line.base)), -kLimit, kLimit);
    const std::int32_t most = std::min(255, (kLimit - base) * 16 / kTop);
    const auto step = static_cast<std::int32_t>(std::nearbyint(line.step * 16.0));
    Int4Group out;
    out.base = static_cast<std::int8_t>(base);
    out.step = static_cast<std::uint8_t>(std::clamp(step, 0, most));
    return out;
}

// Gives every value its nearest nibble; returns the squared error.
std::int32_t assign(std::span<const std::int8_t, kInt4Group> q, Int4Group& group) {
    const double inverse = group.step == 0 ? 0.0 : 16.0 / group.step;
    std::int32_t error = 0;
    for (std::size_t i = 0; i < q.size(); ++i) {
        const double exact = (q[i] - group.base) * inverse;
        const double nibble = std::clamp(std::nearbyint(exact), 0.0, double{kTop});
        group.nibbles[i] = static_cast<std::uint8_t>(nibble);
        const std::int32_t miss = q[i] - group.value(i);
        error += miss * miss;
    }
    return error;
}

// The straight line of least squares through (nibble, value).
Line regression(std::span<const std::int8_t, kInt4Group> q, const Int4Group& group) {
    double x = 0.0, xx = 0.0, y = 0.0, xy = 0.0;
    for (std::size_t i = 0; i < q.size(); ++i) {
        const double nibble = group.nibbles[i];
        x += nibble;
        xx += nibble * nibble;
        y += q[i];
        xy += nibble * q[i];
    }
    constexpr double kCount = kInt4Group;
    const double spread = kCount * xx - x * x;
    if (spread == 0.0) return {static_cast<double>(group.base), group.step / 16.0};
    const double step = (kCount * xy - x * y) / spread;
    return {(y - step * x) / kCount, step};
}

}  // namespace

Int4Group fit_int4(std::span<const std::int8_t, kInt4Group> q) {
    const auto [low, high] = std::minmax_element(q.begin(), q.end());
    const double middle = (*low + *high) / 2.0, range = *high - *low;
    Int4Group best;
    std::int32_t least = std::numeric_limits<std::int32_t>::max();
    for (const double shrink : {1.0, 0.93, 0.86, 0.79}) {
        Line line = {middle - range * shrink / 2.0, range * shrink / kTop};
        for (std::int32_t round = 0; round <= kRefinements; ++round) {
            Int4Group group = rounded(line);
            const std::int32_t error = assign(q, group);
            if (error < least) {
                least = error;
                best = group;
            }
            line = regression(q, group);
        }
    }
    return best;
}

void snap_to_int4(std::span<std::int8_t> q) {
    CHECK(q.size() % kInt4Group == 0);
    for (std::size_t at = 0; at < q.size(); at += kInt4Group) {
        const auto group = q.subspan(at).first<kInt4Group>();
        const Int4Group fit = fit_int4(group);
        for (std::size_t i = 0; i < group.size(); ++i) group[i] = fit.value(i);
    }
}

}  // namespace hearth::engine
