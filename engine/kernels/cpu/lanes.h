// lanes.h: 16 lanes of float as the unit of all float arithmetic, compiled once per instruction
// set. Included by the *_kernels.cpp of this folder only: everything is in an unnamed namespace,
// because code built with different -m flags must never be merged by the linker.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

// GCC vectors: every lane is plain IEEE arithmetic and -ffp-contract=off forbids contraction, so
// the results are the same bits on every instruction set. Sums over lanes use one fixed tree.
typedef float Floats __attribute__((vector_size(64)));
typedef std::int32_t Ints __attribute__((vector_size(64)));
typedef std::int8_t Bytes __attribute__((vector_size(16)));
constexpr std::int32_t kLanes = 16;

#define HEARTH_INLINE inline __attribute__((always_inline))

HEARTH_INLINE Floats load(const float* p) {
    Floats v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
HEARTH_INLINE void store(float* p, Floats v) {
    std::memcpy(p, &v, sizeof v);
}

// The first n lanes from memory, zeros in the others. For vectors shorter than a padded row.
HEARTH_INLINE Floats load_some(const float* p, std::int32_t n) {
    if (n >= kLanes) return load(p);
    Floats v = {};
    for (std::int32_t i = 0; i < n; ++i) v[i] = p[i];
    return v;
}
HEARTH_INLINE void store_some(float* p, Floats v, std::int32_t n) {
    if (n >= kLanes) return store(p, v);
    for (std::int32_t i = 0; i < n; ++i) p[i] = v[i];
}

HEARTH_INLINE Floats splat(float x) {
    return Floats{} + x;
}
HEARTH_INLINE Floats max(Floats a, Floats b) {
    return a > b ? a : b;
}
HEARTH_INLINE Floats abs(Floats a) {
    return reinterpret_cast<Floats>(reinterpret_cast<Ints>(a) & 0x7fffffff);
}
HEARTH_INLINE Floats to_floats(Ints v) {
    return __builtin_convertvector(v, Floats);
}
HEARTH_INLINE Floats to_floats(const std::int8_t* p) {
    Bytes b;
    std::memcpy(&b, p, sizeof b);
    return to_floats(__builtin_convertvector(b, Ints));
}

typedef float Floats8 __attribute__((vector_size(32)));
typedef float Floats4 __attribute__((vector_size(16)));

// ((0+8)+(4+12)) + ... : halves onto each other until one lane is left.
HEARTH_INLINE float sum_lanes(Floats v) {
    Floats8 lo, hi;
    std::memcpy(&lo, &v, 32);
    std::memcpy(&hi, reinterpret_cast<const char*>(&v) + 32, 32);
    lo += hi;
    Floats4 a, b;
    std::memcpy(&a, &lo, 16);
    std::memcpy(&b, reinterpret_cast<const char*>(&lo) + 16, 16);
    a += b;
    return (a[0] + a[2]) + (a[1] + a[3]);
}
HEARTH_INLINE float max_lanes(Floats v) {
    Floats8 lo, hi;
    std::memcpy(&lo, &v, 32);
    std::memcpy(&hi, reinterpret_cast<const char*>(&v) + 32, 32);
    lo = lo > hi ? lo : hi;
    Floats4 a, b;
    std::memcpy(&a, &lo, 16);
    std::memcpy(&b, reinterpret_cast<const char*>(&lo) + 16, 16);
    a = a > b ? a : b;
    const float x = a[0] > a[2] ? a[0] : a[2];
    const float y = a[1] > a[3] ? a[1] : a[3];
    return x > y ? x : y;
}

// Round to nearest even for |x| < 2^22: adding 1.5 * 2^23 leaves no fraction bits.
constexpr float kRoundMagic = 12582912.0f;
HEARTH_INLINE Floats round_even(Floats x) {
    return (x + kRoundMagic) - kRoundMagic;
}
HEARTH_INLINE Ints to_ints(Floats integral) {
    return __builtin_convertvector(integral, Ints);
}

// 2^x to about 1e-7 relative: nearest integer to the exponent bits, a polynomial for the rest in
// [-0.5, 0.5] (Taylor of 2^f to degree 7). Below 2^-126 the result is 0, above 2^127 it is 2^127.
HEARTH_INLINE Floats exp2_lanes(Floats x) {
    const Floats clamped_high = x < 127.0f ? x : splat(127.0f);
    const Floats clamped = clamped_high > -126.0f ? clamped_high : splat(-126.0f);
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
    const Floats scale = reinterpret_cast<Floats>((to_ints(whole) + 127) << 23);
    return x < -126.0f ? Floats{} : p * scale;
}

}  // namespace
