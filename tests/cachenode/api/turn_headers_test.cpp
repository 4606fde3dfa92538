// TurnHeaders: which headers of a turn are taken, dropped or refused.
#include "cachenode/api/turn_headers.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

RequestHead head_of(std::vector<HeaderField> fields) {
    RequestHead head;
    head.fields = std::move(fields);
    return head;
}

TEST(TurnHeaders, ReadsAll) {
    TurnHeaders out;
    EXPECT_FALSE(read_turn_headers(head_of({{"Hearth-Session", "000102030405060708090a0b0c0d0e0f"},
                                            {"hearth-request-id", "r-1"},
                                            {"x-request-id", "other"},
                                            {"hearth-tenant", "ab01"},
                                            {"hearth-epoch", "7"},
                                            {"hearth-deadline", "2500"}}),
                                   out));
    ASSERT_TRUE(out.session.has_value());
    EXPECT_EQ(out.session->hex(), "000102030405060708090a0b0c0d0e0f");
    EXPECT_EQ(out.request_id, "r-1");
    EXPECT_EQ(out.salt, "ab01");
    EXPECT_EQ(out.deadline_ms, 2500);
    EXPECT_EQ(out.epoch, 7);
}

TEST(TurnHeaders, NothingIsRequired) {
    TurnHeaders out;
    EXPECT_FALSE(read_turn_headers(head_of({}), out));
    EXPECT_FALSE(out.session || out.deadline_ms);
    EXPECT_TRUE(out.request_id.empty() && out.salt.empty());
}

TEST(TurnHeaders, UnsafeRequestIdsAreDropped) {
    const std::string long_id(129, 'a');
    const std::vector<std::string_view> unsafe = {"a b", "\"", "a\x01", "\xc3\xa9", long_id};
    for (const std::string_view id : unsafe) {
        TurnHeaders out;
        EXPECT_FALSE(read_turn_headers(head_of({{"x-request-id", id}}), out));
        EXPECT_EQ(out.request_id, "");
    }
}

TEST(TurnHeaders, RefusesMalformedOnes) {
    const std::string hex(32, 'a'), tenant(65, 'a');
    const std::vector<std::vector<HeaderField>> table = {
        {{"hearth-session", "xyz"}},
        {{"hearth-session", "0001"}},
        {{"hearth-session", hex}, {"hearth-session", hex}},
        {{"hearth-tenant", "not hex"}},
        {{"hearth-tenant", tenant}},
        {{"hearth-deadline", "-1"}},
        {{"hearth-epoch", "-1"}},
        {{"hearth-epoch", "1x"}},
        {{"hearth-deadline", "soon"}},
        {{"hearth-deadline", "1.5"}},
        {{"hearth-deadline", "86400001"}},
        {{"hearth-deadline", "99999999999999999999999"}},
    };
    for (const auto& fields : table) {
        TurnHeaders out;
        const auto error = read_turn_headers(head_of(fields), out);
        ASSERT_TRUE(error.has_value()) << fields[0].name << ": " << fields[0].value;
        EXPECT_EQ(error->status, 400);
        EXPECT_EQ(error->param, fields[0].name);
    }
}

}  // namespace
}  // namespace hearth
