// lanes.h: 16 lanes of float as the unit of all float arithmetic, compiled once per instruction
// set. Included by the *_kernels.cpp of this folder only: everything is in an unnamed namespace,
// because code built with different -m flags must never be merged by the linker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define HEARTH_INLINE inline __attribute__((always_inline))

namespace {

// Every lane is plain IEEE arithmetic and -ffp-contract=off forbids contraction, so the results are
// the same bits on every instruction set. Sums over lanes use one fixed tree.
constexpr std::int32_t kLanes = 16;

// The widest vector of the instruction set; a Floats is one, two or four of them.
#if defined(__AVX512F__)
constexpr std::int32_t kNativeLanes = 16;
#elif defined(__AVX2__)
constexpr std::int32_t kNativeLanes = 8;
#else
constexpr std::int32_t kNativeLanes = 4;
#endif
constexpr std::int32_t kParts = kLanes / kNativeLanes;
typedef float NativeFloats __attribute__((vector_size(kNativeLanes * 4)));
typedef std::int32_t NativeInts __attribute__((vector_size(kNativeLanes * 4)));
typedef std::uint32_t NativeWords __attribute__((vector_size(kNativeLanes * 4)));

// Lines of 64 bytes that a loop asks memory for while it works on something else, to the
// second-level cache (the first one is busy): some each time around, and some more now and then.
constexpr std::int32_t kAheadSpan = 8;
struct Ahead {
    const std::uint8_t* at = nullptr;
    std::int32_t every_time = 0;
    std::int32_t every_span = 0;  // Each kAheadSpan-th time.

    HEARTH_INLINE void fetch(std::int32_t time) {
        const std::int32_t lines = every_time + (time % kAheadSpan == 0 ? every_span : 0);
        for (std::int32_t i = 0; i < lines; ++i, at += 64) __builtin_prefetch(at, 0, 2);
    }
};

// kNativeLanes bytes, sign-extended.
HEARTH_INLINE NativeInts widen(const std::int8_t* p) {
#if defined(__AVX512F__)
    return reinterpret_cast<NativeInts>(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
    return reinterpret_cast<NativeInts>(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
    return NativeInts{p[0], p[1], p[2], p[3]};
#endif
}
HEARTH_INLINE NativeFloats load_native(const float* p) {
    NativeFloats v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
HEARTH_INLINE void store_native(float* p, NativeFloats v) {
    std::memcpy(p, &v, sizeof v);
}
HEARTH_INLINE NativeFloats to_native_floats(const std::int8_t* p) {
    return __builtin_convertvector(widen(p), NativeFloats);
}

// Subtracting zero keeps every bit, minus zero's too, so the compiler leaves only the broadcast.
HEARTH_INLINE NativeFloats splat_native(float x) {
    return x - NativeFloats{};
}

struct Floats {
    NativeFloats part[kParts];
};
struct Ints {
    NativeInts part[kParts];
};

// The low byte of every lane.
HEARTH_INLINE void narrow(std::int8_t* p, const Ints& v) {
#if defined(__AVX512F__)
    const __m128i bytes = _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(v.part[0]));
    std::memcpy(p, &bytes, sizeof bytes);
#else
    std::int32_t lanes[kLanes];
    std::memcpy(lanes, &v, sizeof lanes);
    for (std::int32_t i = 0; i < kLanes; ++i) p[i] = static_cast<std::int8_t>(lanes[i]);
#endif
}

// Builds a value part by part: f(0), f(1), ... Written without a loop so that it stays in
// registers.
template <typename T, typename F, std::size_t... kPart>
HEARTH_INLINE T each_part(const F& f, std::index_sequence<kPart...>) {
    return T{{f(kPart)...}};
}
template <typename T, typename F>
HEARTH_INLINE T each_part(const F& f) {
    return each_part<T>(f, std::make_index_sequence<kParts>());
}

// f(0), f(1), ... f(kCount - 1) written out: arrays that only f indexes stay in registers, which
// loops that are unrolled later do not grant. f is a lambda marked HEARTH_FLAT.
#define HEARTH_FLAT __attribute__((always_inline))
template <typename F, std::size_t... kIndex>
HEARTH_INLINE void unrolled(const F& f, std::index_sequence<kIndex...>) {
    (f(kIndex), ...);
}
template <std::size_t kCount, typename F>
HEARTH_INLINE void unrolled(const F& f) {
    unrolled(f, std::make_index_sequence<kCount>());
}

#define HEARTH_LANE_OPERATOR(T, op)                                                 \
    HEARTH_INLINE T operator op(const T& a, const T& b) {                           \
        return each_part<T>([&](std::size_t i) { return a.part[i] op b.part[i]; }); \
    }
HEARTH_LANE_OPERATOR(Floats, +)
HEARTH_LANE_OPERATOR(Floats, -)
HEARTH_LANE_OPERATOR(Floats, *)
HEARTH_LANE_OPERATOR(Floats, /)
HEARTH_LANE_OPERATOR(Ints, +)
#undef HEARTH_LANE_OPERATOR

HEARTH_INLINE Floats splat(float x) {
    return each_part<Floats>([x](std::size_t) { return splat_native(x); });
}
HEARTH_INLINE Ints splat(std::int32_t x) {
    return each_part<Ints>([x](std::size_t) { return NativeInts{} + x; });
}
// a - b modulo 2^32.
HEARTH_INLINE Ints minus_wrapping(const Ints& a, std::int32_t b) {
    return each_part<Ints>([&](std::size_t i) {
        return reinterpret_cast<NativeInts>(reinterpret_cast<NativeWords>(a.part[i]) -
                                            static_cast<std::uint32_t>(b));
    });
}
HEARTH_INLINE Floats operator+(const Floats& a, float b) {
    return a + splat(b);
}
HEARTH_INLINE Floats operator-(const Floats& a, float b) {
    return a - splat(b);
}
HEARTH_INLINE Floats operator*(const Floats& a, float b) {
    return a * splat(b);
}

HEARTH_INLINE Floats load(const float* p) {
    return each_part<Floats>([p](std::size_t i) { return load_native(p + i * kNativeLanes); });
}
HEARTH_INLINE void store(float* p, const Floats& v) {
    std::memcpy(p, &v, sizeof v);
}

// The larger or smaller of both; `b` where either is not a number.
HEARTH_INLINE NativeFloats max_native(NativeFloats a, NativeFloats b) {
#if defined(__AVX512F__)
    return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
    return _mm256_max_ps(a, b);
#else
    return a > b ? a : b;
#endif
}
HEARTH_INLINE NativeFloats min_native(NativeFloats a, NativeFloats b) {
#if defined(__AVX512F__)
    return _mm512_min_ps(a, b);
#elif defined(__AVX2__)
    return _mm256_min_ps(a, b);
#else
    return a < b ? a : b;
#endif
}
HEARTH_INLINE Floats max(const Floats& a, const Floats& b) {
    return each_part<Floats>([&](std::size_t i) { return max_native(a.part[i], b.part[i]); });
}
HEARTH_INLINE Floats min(const Floats& a, const Floats& b) {
    return each_part<Floats>([&](std::size_t i) { return min_native(a.part[i], b.part[i]); });
}
// Lanes of `v` where `x` > limit, 0 elsewhere.
HEARTH_INLINE Floats where_above(const Floats& x, float limit, const Floats& v) {
    return each_part<Floats>(
        [&](std::size_t i) { return x.part[i] > limit ? v.part[i] : NativeFloats{}; });
}
HEARTH_INLINE Floats abs(const Floats& a) {
    return each_part<Floats>([&](std::size_t i) {
        return reinterpret_cast<NativeFloats>(reinterpret_cast<NativeInts>(a.part[i]) & 0x7fffffff);
    });
}
HEARTH_INLINE Floats to_floats(const Ints& v) {
    return each_part<Floats>(
        [&](std::size_t i) { return __builtin_convertvector(v.part[i], NativeFloats); });
}
HEARTH_INLINE Ints to_ints(const Floats& integral) {
    return each_part<Ints>(
        [&](std::size_t i) { return __builtin_convertvector(integral.part[i], NativeInts); });
}

typedef float Quarter __attribute__((vector_size(16)));
typedef std::int32_t IntQuarter __attribute__((vector_size(16)));

// Quarters 0+2 and 1+3 by `f`, then those two by `f`: without a way through memory where the
// instruction set has one.
template <typename T, typename F>
HEARTH_INLINE T fold_quarters(const Floats& v, const F& f) {
#if defined(__AVX512F__)
    const NativeFloats x = v.part[0];
    const T q[] = {reinterpret_cast<T>(__builtin_shufflevector(x, x, 0, 1, 2, 3)),
                   reinterpret_cast<T>(__builtin_shufflevector(x, x, 4, 5, 6, 7)),
                   reinterpret_cast<T>(__builtin_shufflevector(x, x, 8, 9, 10, 11)),
                   reinterpret_cast<T>(__builtin_shufflevector(x, x, 12, 13, 14, 15))};
#else
    T q[4];
    std::memcpy(q, &v, sizeof q);
#endif
    return f(f(q[0], q[2]), f(q[1], q[3]));
}

// Lanes 0+8+4+12 and so on: quarters onto each other, then the four sums.
HEARTH_INLINE float sum_lanes(const Floats& v) {
    const Quarter s = fold_quarters<Quarter>(v, [](Quarter a, Quarter b) { return a + b; });
    return (s[0] + s[2]) + (s[1] + s[3]);
}
HEARTH_INLINE float max_lanes(const Floats& v) {
    const Quarter m = fold_quarters<Quarter>(v, [](Quarter a, Quarter b) { return a > b ? a : b; });
    const float x = m[0] > m[2] ? m[0] : m[2];
    const float y = m[1] > m[3] ? m[1] : m[3];
    return x > y ? x : y;
}
HEARTH_INLINE float first_lane(const Floats& v) {
    return v.part[0][0];
}
HEARTH_INLINE std::int32_t sum_lanes(const Ints& v) {
    Floats bits;
    std::memcpy(&bits, &v, sizeof bits);
    const IntQuarter s =
        fold_quarters<IntQuarter>(bits, [](IntQuarter a, IntQuarter b) { return a + b; });
    return (s[0] + s[2]) + (s[1] + s[3]);
}

// One stage of the Walsh-Hadamard transform inside 16 lanes: lane i meets lane i ^ kApart.
template <std::int32_t kApart>
HEARTH_INLINE Floats butterfly(const Floats& v) {
    if constexpr (kApart >= kNativeLanes) {
        constexpr std::size_t kPart = kApart / kNativeLanes;
        return each_part<Floats>([&](std::size_t i) {
            return (i & kPart) == 0 ? v.part[i] + v.part[i ^ kPart] : v.part[i ^ kPart] - v.part[i];
        });
    } else {
        NativeInts partner = {};
        NativeFloats sign = {};
        for (std::int32_t i = 0; i < kNativeLanes; ++i) {
            partner[i] = i ^ kApart;
            sign[i] = (i & kApart) == 0 ? 1.0f : -1.0f;
        }
        return each_part<Floats>([&](std::size_t i) {
            return __builtin_shuffle(v.part[i], partner) + v.part[i] * sign;
        });
    }
}

// Round to nearest even for |x| < 2^22: adding 1.5 * 2^23 leaves no fraction bits.
constexpr float kRoundMagic = 12582912.0f;
HEARTH_INLINE Floats round_even(const Floats& x) {
    return (x + kRoundMagic) - kRoundMagic;
}

// 2^x to about 1e-7 relative: nearest integer to the exponent bits, a polynomial for the rest in
// [-0.5, 0.5] (Taylor of 2^f to degree 7). Up to 2^-126 the result is 0, above 2^127 it is 2^127.
HEARTH_INLINE Floats exp2_lanes(const Floats& x) {
    const Floats clamped = max(min(x, splat(127.0f)), splat(-126.0f));
    const Floats whole = round_even(clamped);
    const Floats f = clamped - whole;
    Floats p = splat(1.5252734e-05f);
    p = p * f + 1.5403530e-04f;
    p = p * f + 1.3333558e-03f;
    p = p * f + 9.6181291e-03f;
    p = p * f + 5.5504109e-02f;
    p = p * f + 2.4022651e-01f;
    p = p * f + 6.9314718e-01f;
    p = p * f + 1.0f;
    const Ints exponent = to_ints(whole) + splat(127);
    const Floats scale = each_part<Floats>(
        [&](std::size_t i) { return reinterpret_cast<NativeFloats>(exponent.part[i] << 23); });
    return where_above(clamped, -126.0f, p * scale);
}

}  // namespace
