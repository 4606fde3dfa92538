// Gates of streams: whatever the pieces, the same bytes pass, and never half a line or event.
#include "router/relay/stream_gate.h"

#include <gtest/gtest.h>

#include "common/base/rng.h"

namespace hearth {
namespace {

TEST(LineGate, PassesWholeLinesAtOnceAndHoldsHalfOnes) {
    LineGate gate;
    const std::string_view whole = "data: 1\n\n";
    const std::string_view out = gate.take(whole);
    EXPECT_EQ(out.data(), whole.data()) << "no copy";
    EXPECT_EQ(out, whole);
    EXPECT_TRUE(gate.at_event_end());
    EXPECT_EQ(gate.take("data: 2\nda"), "data: 2\n");
    EXPECT_TRUE(gate.at_line_end());
    EXPECT_FALSE(gate.at_event_end());
    EXPECT_EQ(gate.take("ta"), "");
    EXPECT_EQ(gate.rest(), "data");
    EXPECT_EQ(gate.take(": 3\r\n\r\n"), "data: 3\r\n\r\n");
    EXPECT_TRUE(gate.at_event_end());
    EXPECT_FALSE(gate.is_done());
    EXPECT_EQ(gate.take("data: [DO"), "");
    EXPECT_EQ(gate.take("NE]\n\n"), "data: [DONE]\n\n");
    EXPECT_TRUE(gate.is_done());
}

TEST(LineGate, ALineWithoutEndIsPassedOnAsItComes) {
    LineGate gate;
    const std::string piece(100'000, 'x');
    std::string out;
    for (int i = 0; i < 5; ++i) out += gate.take(piece);
    EXPECT_GE(out.size(), LineGate::kHeldBytesMax);
    EXPECT_LE(gate.rest().size(), LineGate::kHeldBytesMax);
    EXPECT_FALSE(gate.at_line_end());
}

TEST(LineGate, AnyPiecesGiveTheSameBytes) {
    const std::string text = "data: a\r\n\r\n: c\n\ndata: bb\n\n\rdata: [DONE]\n\ntail";
    const std::uint64_t seed = 20'261;
    Rng rng(seed);
    for (int round = 0; round < 200; ++round) {
        LineGate gate;
        std::string out;
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t n = 1 + rng.next() % 9;
            const std::string piece = text.substr(at, n);
            out += gate.take(piece);
            EXPECT_TRUE(gate.at_line_end());
            at += n;
        }
        out += gate.rest();
        EXPECT_EQ(out, text) << "seed " << seed << " round " << round;
    }
}

constexpr std::string_view kStream =
    "data: {\"role\"}\n\n: 5 17\ndata: {\"a\"}\n\n: 9\ndata: {\"b\"}\n\n:end\ndata: {\"end\"}\n\n"
    "data: [DONE]\n\n";
constexpr std::string_view kShown =
    "data: {\"role\"}\n\ndata: {\"a\"}\n\ndata: {\"b\"}\n\ndata: {\"end\"}\n\ndata: [DONE]\n\n";

TEST(Continuation, GroupsPassWholeOrNotAtAll) {
    const std::string_view group =
        ":group 3\n: 7 8\nevent: x\ndata: {\"type\":\"x\","
        "\"sequence_number\":4}\n\ndata: b\n\ndata: c\n\n";
    const std::string_view shown = group.substr(group.find("event"));
    for (std::size_t cut = 0; cut <= group.size(); ++cut) {
        Continuation stream;
        stream.begin("t");
        std::string out(stream.take(group.substr(0, cut)));
        EXPECT_EQ(out, cut < group.size() ? "" : shown) << cut;
        EXPECT_EQ(stream.delivered(), cut < group.size() ? "" : " 7 8") << cut;
        out += stream.take(group.substr(cut));
        EXPECT_EQ(out, shown) << cut;
        EXPECT_EQ(stream.delivered(), " 7 8");
        EXPECT_EQ(stream.take("event: y\ndata: {\"type\":\"y\",\"sequence_number\":5}\n\n: 9\n"),
                  "event: y\ndata: {\"type\":\"y\",\"sequence_number\":5}\n\n");
        EXPECT_EQ(stream.last_number(), 5u);
    }
    Continuation bad;
    bad.begin("t");
    EXPECT_EQ(bad.take(":group x\ndata: a\n\n"), "data: a\n\n");
}

TEST(Continuation, TakesNotesOutAndHoldsTheEnd) {
    Continuation stream;
    stream.begin("turn");
    EXPECT_EQ(stream.take(kStream), "data: {\"role\"}\n\ndata: {\"a\"}\n\ndata: {\"b\"}\n\n");
    EXPECT_EQ(stream.delivered(), " 5 17 9");
    EXPECT_EQ(stream.finish(true), "data: {\"end\"}\n\ndata: [DONE]\n\n");
    EXPECT_EQ(stream.turn(), "turn");
}

// Wherever the first node dies, what it delivered and what an heir sends behind that make the
// whole.
TEST(Continuation, ACutAnywhereLosesAndRepeatsNothing) {
    const std::string_view after_none = kStream.substr(kStream.find(": 5"));
    for (std::size_t cut = 0; cut <= kStream.size(); ++cut) {
        for (const std::size_t step : {std::size_t{1}, std::size_t{7}, kStream.size()}) {
            Continuation stream;
            stream.begin("turn");
            std::string shown;
            for (std::size_t at = 0; at < cut; at += step)
                shown += stream.take(kStream.substr(at, std::min(step, cut - at)));
            if (const auto end = stream.finish(false)) {
                EXPECT_EQ(cut, kStream.size());
                EXPECT_EQ(shown + std::string(*end), kShown);
                continue;
            }
            if (shown.empty()) continue;  // Begun again from the start, not gone on with.
            std::string_view rest = after_none;
            if (stream.delivered() == " 5 17") rest = rest.substr(rest.find(": 9"));
            if (stream.delivered() == " 5 17 9") rest = rest.substr(rest.find(":end"));
            stream.begin("turn");
            shown += stream.take(rest);
            const auto end = stream.finish(true);
            ASSERT_TRUE(end.has_value()) << "cut " << cut;
            EXPECT_EQ(shown + std::string(*end), kShown) << "cut " << cut;
        }
    }
}

TEST(Continuation, ATurnThatTheNodeGaveUpIsNotWhole) {
    Continuation stream;
    stream.begin("turn");
    EXPECT_EQ(stream.take(": 1\ndata: a\n\n:lost\ndata: {\"error\":{}}\n\n"), "data: a\n\n");
    EXPECT_FALSE(stream.finish(true).has_value());
    EXPECT_TRUE(stream.gave_up());
    stream.begin("turn");
    EXPECT_FALSE(stream.gave_up());
    EXPECT_FALSE(stream.finish(true).has_value()) << "an answer without its end";
}

TEST(Continuation, WhatIsRememberedIsBounded) {
    Continuation stream;
    stream.begin("turn");
    std::string event = ":";
    while (event.size() < 100'000) event += " 12345";
    event += "\ndata: x\n\n";
    for (int i = 0; i < 12; ++i) EXPECT_EQ(stream.take(event), "data: x\n\n");
    EXPECT_FALSE(stream.possible());
    EXPECT_LE(stream.delivered().size(), Continuation::kDeliveredBytesMax);
}

}  // namespace
}  // namespace hearth
