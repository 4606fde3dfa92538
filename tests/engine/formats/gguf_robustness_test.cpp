// A model file cut at any byte, or with any bytes changed, loads or is an error; it never crashes.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "common/base/rng.h"
#include "tests/engine/formats/small_gguf.h"

namespace hearth::engine {
namespace {

// A copy without spare capacity, so that a sanitizer sees the first byte read past the end.
Result<Checkpoint> load_exact(const std::string& bytes, std::size_t size, bool weights = true) {
    const std::vector<std::byte> copy(reinterpret_cast<const std::byte*>(bytes.data()),
                                      reinterpret_cast<const std::byte*>(bytes.data()) + size);
    return load_gguf(copy, "cut.gguf", {.weights = weights});
}

TEST(GgufRobustness, EveryPrefixIsAnError) {
    const SmallGguf model;
    const std::string bytes = model.bytes();
    ASSERT_TRUE(load_exact(bytes, bytes.size()).ok());
    // The last tensor's 384 bytes need no padding, so the file ends with data.
    ASSERT_EQ(model.tensors.back().name, "blk.1.ffn_down.weight");
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto loaded = load_exact(bytes, size, size % 2 == 0);
        ASSERT_FALSE(loaded.ok()) << size;
        EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt) << loaded.error().message;
        EXPECT_NE(loaded.error().message.find("truncated"), std::string::npos)
            << size << ": " << loaded.error().message;
    }
}

TEST(GgufRobustness, TwentyThousandRandomChanges) {
    const std::uint64_t seed = 0x9e3779b9;
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    Rng rng(seed);
    const SmallGguf model;
    const std::string good = model.bytes();
    const std::size_t header = model.header().size();
    int loaded_count = 0;
    int refused_count = 0;
    for (int round = 0; round < 20'000; ++round) {
        std::string bytes = good;
        const std::uint64_t changes = 1 + rng.below(3);
        for (std::uint64_t i = 0; i < changes; ++i) {
            // Mostly in the header, which is where structure is.
            const std::size_t at = rng.below(rng.below(4) == 0 ? bytes.size() : header);
            const std::uint64_t how = rng.below(4);
            if (how == 0) bytes[at] = '\0';
            if (how == 1) bytes[at] = '\xff';
            if (how == 2) bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
            if (how == 3) bytes[at] = static_cast<char>(rng.below(256));
        }
        const auto loaded = load_exact(bytes, bytes.size());
        (loaded.ok() ? loaded_count : refused_count)++;
        if (loaded.ok()) {
            ASSERT_TRUE(validate(loaded->config).ok()) << "round " << round;
            ASSERT_EQ(loaded->vocabulary.tokens.size(), loaded->vocabulary.types.size());
        } else {
            ASSERT_FALSE(loaded.error().message.empty());
        }
    }
    // Both happen often; otherwise the changes would miss what they are meant to hit.
    EXPECT_GT(loaded_count, 1000);
    EXPECT_GT(refused_count, 1000);
}

}  // namespace
}  // namespace hearth::engine
