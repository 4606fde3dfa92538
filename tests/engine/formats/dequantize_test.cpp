// Every block format against values worked out by hand or by the format's formula in another form.
#include "engine/formats/dequantize.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "common/base/rng.h"

namespace hearth::engine {
namespace {

constexpr std::uint16_t kHalfOne = 0x3c00;      // 1
constexpr std::uint16_t kHalfQuarter = 0x3400;  // 1/4
constexpr std::uint16_t kHalfMinusTwo = 0xc000;

class Block {
  public:
    Block& half(std::uint16_t bits) { return byte(bits & 255u).byte(bits >> 8); }
    Block& byte(unsigned value) {
        bytes_.push_back(static_cast<std::byte>(value));
        return *this;
    }
    std::vector<float> decode(TensorType type) const {
        const BlockLayout layout = *block_layout(type);
        EXPECT_EQ(bytes_.size() % static_cast<std::size_t>(layout.bytes), 0u) << layout.name;
        const auto blocks = static_cast<std::int64_t>(bytes_.size()) / layout.bytes;
        std::vector<float> out(static_cast<std::size_t>(blocks * layout.elements));
        dequantize_row(type, bytes_.data(), blocks * layout.elements, out.data());
        return out;
    }
    unsigned at(std::size_t i) const { return std::to_integer<unsigned>(bytes_[i]); }

  private:
    std::vector<std::byte> bytes_;
};

TEST(Dequantize, HalfPrecisionHasAllItsKinds) {
    EXPECT_EQ(half_to_float(0x0000), 0.0f);
    EXPECT_TRUE(std::signbit(half_to_float(0x8000)));
    EXPECT_EQ(half_to_float(kHalfOne), 1.0f);
    EXPECT_EQ(half_to_float(kHalfMinusTwo), -2.0f);
    EXPECT_EQ(half_to_float(0x7bff), 65504.0f);
    EXPECT_EQ(half_to_float(0x0400), 0x1.0p-14f);   // Smallest normal.
    EXPECT_EQ(half_to_float(0x0001), 0x1.0p-24f);   // Smallest subnormal.
    EXPECT_EQ(half_to_float(0x83ff), -0x3ffp-24f);  // Largest subnormal.
    EXPECT_EQ(half_to_float(0x7c00), std::numeric_limits<float>::infinity());
    EXPECT_EQ(half_to_float(0xfc00), -std::numeric_limits<float>::infinity());
    EXPECT_TRUE(std::isnan(half_to_float(0x7e00)));
    for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {  // Against the definition, all of them.
        const int exponent = static_cast<int>(bits >> 10);
        const double fraction = (bits & 0x3ff) / 1024.0;
        const double expected =
            exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1.0 + fraction, exponent - 15);
        ASSERT_EQ(half_to_float(static_cast<std::uint16_t>(bits)), expected) << bits;
    }
}

TEST(Dequantize, PlainTypes) {
    Block f32;
    for (const unsigned b : {0x00u, 0x00u, 0x20u, 0xc0u}) f32.byte(b);  // -2.5
    EXPECT_EQ(f32.decode(TensorType::kF32), std::vector<float>{-2.5f});
    EXPECT_EQ(Block().half(kHalfOne).half(kHalfMinusTwo).decode(TensorType::kF16),
              (std::vector<float>{1.0f, -2.0f}));
    EXPECT_EQ(Block().half(0x3f80).half(0xc020).decode(TensorType::kBF16),
              (std::vector<float>{1.0f, -2.5f}));
}

TEST(Dequantize, Q8_0) {
    Block block;
    block.half(kHalfQuarter);
    for (int j = 0; j < 32; ++j) block.byte(static_cast<std::uint8_t>(j * 8 - 128));
    const auto out = block.decode(TensorType::kQ8_0);
    for (std::size_t j = 0; j < 32; ++j)
        EXPECT_EQ(out[j], 0.25f * (static_cast<float>(j) * 8.0f - 128.0f));
}

// Byte j = 0x(15-j)(j): element j has nibble j, element j + 16 has nibble 15 - j.
Block counting_nibbles(Block block) {
    for (unsigned j = 0; j < 16; ++j) block.byte(j | (15 - j) << 4);
    return block;
}

TEST(Dequantize, Q4_0) {
    const auto out = counting_nibbles(Block().half(kHalfMinusTwo)).decode(TensorType::kQ4_0);
    for (std::size_t j = 0; j < 16; ++j) {
        EXPECT_EQ(out[j], -2.0f * (static_cast<float>(j) - 8.0f));
        EXPECT_EQ(out[j + 16], -2.0f * (7.0f - static_cast<float>(j)));
    }
}

TEST(Dequantize, Q4_1) {
    const auto out =
        counting_nibbles(Block().half(kHalfQuarter).half(kHalfMinusTwo)).decode(TensorType::kQ4_1);
    for (std::size_t j = 0; j < 16; ++j) {
        EXPECT_EQ(out[j], 0.25f * static_cast<float>(j) - 2.0f);
        EXPECT_EQ(out[j + 16], 0.25f * (15.0f - static_cast<float>(j)) - 2.0f);
    }
}

TEST(Dequantize, Q5_0) {
    // Fifth bits set for elements 0, 3, 16 and 31.
    const auto out = counting_nibbles(Block().half(kHalfOne).half(0x0009).half(0x8001))
                         .decode(TensorType::kQ5_0);
    EXPECT_EQ(out[0], 0.0f + 16 - 16);
    EXPECT_EQ(out[1], 1.0f - 16);
    EXPECT_EQ(out[3], 3.0f + 16 - 16);
    EXPECT_EQ(out[16], 15.0f + 16 - 16);
    EXPECT_EQ(out[17], 14.0f - 16);
    EXPECT_EQ(out[31], 0.0f + 16 - 16);
}

TEST(Dequantize, Q4_KByHand) {
    // Scales 1..8 and minima 0 except min[1] = 3 and min[6] = 33, all below 64. Scales 4 to 7 are 5
    // to 8, whose low nibbles are in bytes 8 to 11; min[6] = 0b100001 has its low nibble in the
    // high half of byte 10 and its top bits 0b10 in the top bits of byte 6.
    Block block;
    block.half(kHalfOne).half(kHalfQuarter);
    for (const unsigned b : {1u, 2u, 3u, 4u, 0u, 3u, 0x80u, 0u, 5u, 6u, 0x17u, 8u}) block.byte(b);
    for (unsigned j = 0; j < 128; ++j) block.byte((j % 16) | (15 - j % 16) << 4);
    const auto out = block.decode(TensorType::kQ4_K);
    for (std::size_t s = 0; s < 8; ++s) {
        const float min = s == 1 ? 3.0f : s == 6 ? 33.0f : 0.0f;
        for (std::size_t j = 0; j < 32; ++j) {
            const auto nibble = static_cast<float>(s % 2 == 0 ? j % 16 : 15 - j % 16);
            EXPECT_EQ(out[32 * s + j], static_cast<float>(s + 1) * nibble - 0.25f * min) << s;
        }
    }
}

TEST(Dequantize, Q4_KTopBitsOfTheUpperScales) {
    // Sub-block 5: scale 0b11'0101 = 53, minimum 0b01'1010 = 26; all others 0.
    Block block;
    block.half(kHalfOne).half(kHalfOne);
    for (const unsigned b : {0u, 0xc0u, 0u, 0u, 0u, 0x40u, 0u, 0u, 0u, 0xa5u, 0u, 0u})
        block.byte(b);
    for (int j = 0; j < 128; ++j) block.byte(0x21);
    const auto out = block.decode(TensorType::kQ4_K);
    for (std::size_t i = 0; i < 256; ++i)
        EXPECT_EQ(out[i], i / 32 == 5 ? 53.0f * 2.0f - 26.0f : 0.0f) << i;
}

// Q6_K, element by element from its index alone: the inverse of the decoder's order of loops.
float q6_k_element(const Block& block, std::size_t i) {
    const std::size_t half = i / 128;
    const std::size_t in_half = i % 128;
    const std::size_t quarter = in_half / 32;
    const unsigned ql = block.at(64 * half + in_half % 64);
    const unsigned nibble = in_half < 64 ? ql % 16 : ql / 16;
    const unsigned qh = block.at(128 + 32 * half + in_half % 32);
    const unsigned top = qh / (1u << (2 * quarter)) % 4;
    const auto scale = static_cast<std::int8_t>(block.at(192 + i / 16));
    const float d = half_to_float(static_cast<std::uint16_t>(block.at(208) + 256 * block.at(209)));
    return d * static_cast<float>(scale) *
           static_cast<float>(static_cast<int>(nibble + 16 * top) - 32);
}

TEST(Dequantize, Q6_K) {
    const std::uint64_t seed = 7;
    RecordProperty("seed", std::to_string(seed));
    Rng rng(seed);
    Block block;
    for (int j = 0; j < 208; ++j) block.byte(static_cast<unsigned>(rng.below(256)));
    block.half(kHalfQuarter);
    const auto out = block.decode(TensorType::kQ6_K);
    for (std::size_t i = 0; i < 256; ++i) EXPECT_EQ(out[i], q6_k_element(block, i)) << i;
}

TEST(Dequantize, RowsOfManyBlocks) {
    Block two;
    two.half(kHalfOne);
    for (int j = 0; j < 32; ++j) two.byte(1);
    two.half(kHalfMinusTwo);
    for (int j = 0; j < 32; ++j) two.byte(3);
    const auto out = two.decode(TensorType::kQ8_0);
    ASSERT_EQ(out.size(), 64u);
    EXPECT_EQ(out[31], 1.0f);
    EXPECT_EQ(out[32], -6.0f);
}

}  // namespace
}  // namespace hearth::engine
