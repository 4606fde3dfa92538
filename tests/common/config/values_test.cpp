// Values: every text that is accepted and many that are not, with their limits.
#include "common/config/values.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "common/base/rng.h"

namespace hearth {
namespace {

TEST(Values, Booleans) {
    for (const char* yes : {"true", "yes", "on", "1"}) EXPECT_TRUE(*parse_bool(yes)) << yes;
    for (const char* no : {"false", "no", "off", "0"}) EXPECT_FALSE(*parse_bool(no)) << no;
    for (const char* bad : {"", "True", "y", "2", " true", "true "})
        EXPECT_FALSE(parse_bool(bad).ok()) << bad;
}

TEST(Values, Integers) {
    EXPECT_EQ(*parse_integer("0"), 0);
    EXPECT_EQ(*parse_integer("-7"), -7);
    EXPECT_EQ(*parse_integer("010"), 10);  // Not octal, as YAML 1.1 would have it.
    EXPECT_EQ(*parse_integer("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
    for (const char* bad :
         {"", "-", "+1", "1.0", "1e3", "0x10", " 1", "1 ", "1_000", "ten", "9223372036854775808"})
        EXPECT_FALSE(parse_integer(bad).ok()) << bad;
}

TEST(Values, Numbers) {
    EXPECT_EQ(*parse_number("0.25"), 0.25);
    EXPECT_EQ(*parse_number("-1e3"), -1000.0);
    for (const char* bad : {"", "nan", "inf", "-inf", "1e999", "0,5", "x"})
        EXPECT_FALSE(parse_number(bad).ok()) << bad;
}

TEST(Values, Sizes) {
    EXPECT_EQ(*parse_bytes("0"), 0);
    EXPECT_EQ(*parse_bytes("4096"), 4096);
    EXPECT_EQ(*parse_bytes("4096B"), 4096);
    EXPECT_EQ(*parse_bytes("512KiB"), 524'288);
    EXPECT_EQ(*parse_bytes("3MiB"), 3'145'728);
    EXPECT_EQ(*parse_bytes("2GiB"), 2'147'483'648);
    EXPECT_EQ(*parse_bytes("1TiB"), 1'099'511'627'776);
    for (const char* bad : {"", "KiB", "-1", "-1KiB", "1.5GiB", "1 GiB", "1GB", "1kib", "1K"})
        EXPECT_EQ(parse_bytes(bad).error().code, ErrorCode::kInvalidArgument) << bad;
    EXPECT_EQ(parse_bytes("8388608TiB").error().code, ErrorCode::kTooLarge);
    EXPECT_TRUE(parse_bytes("8388607TiB").ok());
}

TEST(Values, Durations) {
    EXPECT_EQ(*parse_duration_ms("250"), 250);
    EXPECT_EQ(*parse_duration_ms("250ms"), 250);
    EXPECT_EQ(*parse_duration_ms("2s"), 2'000);
    EXPECT_EQ(*parse_duration_ms("5m"), 300'000);
    EXPECT_EQ(*parse_duration_ms("1h"), 3'600'000);
    for (const char* bad : {"", "ms", "-1s", "1.5s", "1d", "1min", "1 s"})
        EXPECT_FALSE(parse_duration_ms(bad).ok()) << bad;
    EXPECT_EQ(parse_duration_ms("9223372036854775h").error().code, ErrorCode::kTooLarge);
}

TEST(Values, WhatIsPrintedReadsBackTheSame) {
    constexpr std::uint64_t kSeed = 3;
    SCOPED_TRACE("seed " + std::to_string(kSeed));
    Rng rng(kSeed);
    std::vector<std::int64_t> values = {0, 1, 999, 1000, 1024, 60'000, 3'600'000, 1LL << 40};
    for (int i = 0; i < 1000; ++i)
        values.push_back(static_cast<std::int64_t>(rng.next() >> (1 + rng.below(60))));
    for (const std::int64_t value : values) {
        EXPECT_EQ(*parse_bytes(format_bytes(value)), value);
        EXPECT_EQ(*parse_duration_ms(format_duration_ms(value)), value);
    }
    EXPECT_EQ(format_bytes(512LL << 20), "512MiB");
    EXPECT_EQ(format_bytes(1000), "1000");
    EXPECT_EQ(format_duration_ms(90'000), "90s");
    EXPECT_EQ(format_duration_ms(250), "250ms");
}

TEST(Values, ClosestFindsTyposAndNothingElse) {
    const std::vector<std::string> names = {"listen", "log_level", "redis", "redis_file"};
    EXPECT_EQ(closest("listn", names), "listen");
    EXPECT_EQ(closest("log-level", names), "log_level");
    EXPECT_EQ(closest("rediss", names), "redis");
    EXPECT_EQ(closest("upstreams", names), "");
    EXPECT_EQ(edit_distance("", "abc"), 3u);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
    EXPECT_EQ(edit_distance("same", "same"), 0u);
}

}  // namespace
}  // namespace hearth
