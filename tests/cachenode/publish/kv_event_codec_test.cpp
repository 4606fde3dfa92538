// KV events' bytes are those that msgspec makes of vLLM's structs (kv_events_golden.py).
#include "cachenode/publish/kv_event_codec.h"

#include <gtest/gtest.h>

#include <fstream>
#include <numeric>

namespace hearth {
namespace {

using engine::TokenId;

KvEvent stored(std::vector<std::uint64_t> hashes, std::optional<std::uint64_t> parent,
               TokenId step) {
    KvEvent event;
    event.hashes = std::move(hashes);
    event.parent = parent;
    for (std::size_t i = 0; i < 64 * event.hashes.size(); ++i)
        event.tokens.push_back(step * static_cast<TokenId>(i));
    return event;
}

KvEvent removed(std::vector<std::uint64_t> hashes) {
    KvEvent event;
    event.kind = KvEvent::Kind::kRemoved;
    event.hashes = std::move(hashes);
    return event;
}

std::string shown(const std::string& payload) {
    if (payload.size() >= 4096) {
        const auto add = [](std::uint64_t sum, char byte) {
            return sum + static_cast<unsigned char>(byte);
        };
        const std::uint64_t sum = std::accumulate(payload.begin(), payload.end(), 0ULL, add);
        return std::to_string(payload.size()) + " " + std::to_string(sum);
    }
    constexpr const char* kDigits = "0123456789abcdef";
    std::string hex;
    for (const char byte : payload) {
        hex += kDigits[static_cast<unsigned char>(byte) >> 4];
        hex += kDigits[static_cast<unsigned char>(byte) & 15];
    }
    return hex;
}

// The batches of kv_events_golden.py, in its order.
std::vector<std::string> encoded(KvEventEncoding encoding) {
    KvEvent cleared;
    cleared.kind = KvEvent::Kind::kCleared;
    KvEvent salted = stored({1, 2, 3}, std::nullopt, 1000);
    salted.salt_digest = "0123456789abcdef";
    KvEvent next = stored({4}, 3, 0);
    next.tokens.assign(64, 5);
    std::vector<KvEvent> many;
    for (std::uint64_t n = 0; n < 70'000; ++n) many.push_back(removed({n}));
    const std::vector<std::pair<double, std::vector<KvEvent>>> batches = {
        {1.5, {cleared}},
        {1'700'000'000.123,
         {stored({~std::uint64_t{0}, std::uint64_t{1} << 32}, std::nullopt, 3),
          removed({7, 300, 70'000})}},
        {0.0, {salted, next}},
        {2.0, many},
    };
    std::vector<std::string> out;
    for (const auto& [ts, events] : batches)
        out.push_back(shown(encode_kv_events(ts, events, encoding)));
    return out;
}

TEST(KvEventCodec, BytesAreMsgspecs) {
    std::ifstream golden(HEARTH_SOURCE_DIR "/tests/cachenode/publish/kv_events_golden.txt");
    ASSERT_TRUE(golden);
    std::size_t lines = 0;
    for (const KvEventEncoding encoding : {KvEventEncoding::kMap, KvEventEncoding::kArray}) {
        for (const std::string& bytes : encoded(encoding)) {
            std::string line;
            ASSERT_TRUE(std::getline(golden, line));
            const char* const name = encoding == KvEventEncoding::kMap ? "map " : "array ";
            EXPECT_EQ(name + bytes, line);
            ++lines;
        }
    }
    EXPECT_EQ(lines, 8u);
}

TEST(KvEventCodec, SequenceIsBigEndian) {
    EXPECT_EQ(sequence_bytes(0), std::string(8, '\0'));
    EXPECT_EQ(sequence_bytes(0x0102030405060708), "\1\2\3\4\5\6\7\10");
    EXPECT_EQ(sequence_bytes(~std::uint64_t{0}), std::string(8, '\xff'));
}

}  // namespace
}  // namespace hearth
