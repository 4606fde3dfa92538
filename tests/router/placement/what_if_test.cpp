// What-if: shares before and after, and what moves, beside the shares that weights promise.
#include "router/placement/what_if.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

using Kind = WhatIfChange::Kind;

const std::vector<WhatIfNode> kFour = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};

TEST(WhatIf, AddingRemovingAndReweighing) {
    const auto sample = what_if_sample();
    ASSERT_EQ(sample.size(), 100'000u);
    const auto added = what_if(kFour, {{Kind::kAdd, "e", 1}}, sample);
    ASSERT_TRUE(added.ok());
    EXPECT_EQ(added->sessions, sample.size());
    EXPECT_NEAR(added->sessions_moved, 0.2, 0.01);
    EXPECT_NEAR(added->kv_moved, 0.2, 0.01);
    ASSERT_EQ(added->nodes.size(), 5u);
    EXPECT_EQ(added->nodes[4].weight_before, 0);
    EXPECT_EQ(added->nodes[4].sessions_before, 0);
    EXPECT_NEAR(added->nodes[4].sessions_after, 0.2, 0.01);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(added->nodes[i].sessions_before, 0.25, 0.01);

    const auto removed = what_if(kFour, {{Kind::kRemove, "b", 0}}, sample);
    ASSERT_TRUE(removed.ok());
    EXPECT_NEAR(removed->sessions_moved, 0.25, 0.01);
    EXPECT_EQ(removed->nodes[1].weight_after, 0);
    EXPECT_EQ(removed->nodes[1].kv_after, 0);

    const auto reweighed = what_if(kFour, {{Kind::kReweigh, "c", 2}}, sample);
    ASSERT_TRUE(reweighed.ok());
    EXPECT_NEAR(reweighed->sessions_moved, 0.4 - 0.25, 0.01);
    EXPECT_NEAR(reweighed->nodes[2].sessions_after, 0.4, 0.01);

    const auto nothing = what_if(kFour, {}, sample);
    ASSERT_TRUE(nothing.ok());
    EXPECT_EQ(nothing->sessions_moved, 0);
}

TEST(WhatIf, RealSessionsStayWithTheirHolders) {
    // Whatever their homes are: those of a removed holder move, those held elsewhere stay.
    std::vector<WhatIfSession> sessions = what_if_sample(1'000);
    for (std::size_t i = 0; i < sessions.size(); ++i) {
        sessions[i].holder = i < 900 ? "a" : "b";
        sessions[i].tokens = i < 900 ? 10 : 1'000;
    }
    const auto removed = what_if(kFour, {{Kind::kRemove, "b", 0}}, sessions);
    ASSERT_TRUE(removed.ok());
    EXPECT_DOUBLE_EQ(removed->sessions_moved, 0.1);
    EXPECT_DOUBLE_EQ(removed->kv_moved, 100'000.0 / 109'000);
    EXPECT_DOUBLE_EQ(removed->nodes[0].sessions_before, 0.9);
    EXPECT_DOUBLE_EQ(removed->nodes[1].kv_before, 100'000.0 / 109'000);
    // A new node takes only sessions that are at their home.
    std::size_t at_home = 0;
    const auto added = what_if(kFour, {{Kind::kAdd, "e", 100}}, sessions);
    ASSERT_TRUE(added.ok());
    for (const WhatIfSession& session : sessions) {
        const auto one =
            what_if(kFour, {{Kind::kRemove, session.holder, 0}}, {{session.key, "", 1}});
        at_home += one->sessions_moved > 0;
    }
    EXPECT_NEAR(added->sessions_moved, static_cast<double>(at_home) / 1'000, 0.02);
}

TEST(WhatIf, SaysWhatIsWrong) {
    const auto sample = what_if_sample(10);
    EXPECT_FALSE(what_if(kFour, {{Kind::kAdd, "a", 1}}, sample).ok());
    EXPECT_FALSE(what_if(kFour, {{Kind::kRemove, "x", 1}}, sample).ok());
    EXPECT_FALSE(what_if(kFour, {{Kind::kReweigh, "x", 1}}, sample).ok());
    EXPECT_FALSE(what_if({}, {}, sample).ok());
    EXPECT_FALSE(what_if({{"a", 1}}, {{Kind::kRemove, "a", 1}}, sample).ok());
    const auto none = what_if(kFour, {}, {});
    ASSERT_TRUE(none.ok());
    EXPECT_EQ(none->sessions_moved, 0);
}

TEST(WhatIf, ChangesAreReadFromText) {
    const auto add = what_if_change("add", "node-9:2.5");
    ASSERT_TRUE(add.ok());
    EXPECT_EQ(add->kind, Kind::kAdd);
    EXPECT_EQ(add->node_id, "node-9");
    EXPECT_EQ(add->weight, 2.5);
    EXPECT_EQ(what_if_change("add", "n")->weight, 1);
    EXPECT_EQ(what_if_change("remove", "n")->kind, Kind::kRemove);
    EXPECT_EQ(what_if_change("reweigh", "n:0.5")->kind, Kind::kReweigh);
    for (const auto& [kind, text] : {std::pair<const char*, const char*>{"add", ""},
                                     {"add", ":1"},
                                     {"add", "n:"},
                                     {"add", "n:0"},
                                     {"add", "n:nan"},
                                     {"add", "n:1x"},
                                     {"remove", "n:1"},
                                     {"reweigh", "n"},
                                     {"drop", "n"}})
        EXPECT_FALSE(what_if_change(kind, text).ok()) << kind << " " << text;
}

}  // namespace
}  // namespace hearth
