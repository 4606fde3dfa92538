// Where two requests diverge: message, byte, and what both have before it.
#include "cli/prompt_diff.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace hearth::cli {
namespace {

ChatRequest request(const std::vector<std::pair<engine::Role, std::string>>& messages) {
    ChatRequest out;
    for (const auto& [role, text] : messages) out.messages.push_back({role, text});
    return out;
}

using engine::Role;

TEST(PromptDiff, AnotherTurnGoesOn) {
    const ChatRequest a = request({{Role::kSystem, "S"}, {Role::kUser, "hi"}});
    const ChatRequest b = request({{Role::kSystem, "S"},
                                   {Role::kUser, "hi"},
                                   {Role::kAssistant, "hello"},
                                   {Role::kUser, "more"}});
    EXPECT_EQ(diff_prompts(a, a).relation, PromptRelation::kSame);
    EXPECT_EQ(diff_prompts(a, b).relation, PromptRelation::kGoesOn);
    EXPECT_EQ(diff_prompts(b, a).relation, PromptRelation::kCutShort);
}

TEST(PromptDiff, NamesMessageAndByte) {
    const std::string long_start(500, 'x');
    const PromptDiff diff =
        diff_prompts(request({{Role::kSystem, long_start + "It is 10:03."}, {Role::kUser, "hi"}}),
                     request({{Role::kSystem, long_start + "It is 10:04."}, {Role::kUser, "hi"}}));
    EXPECT_EQ(diff.relation, PromptRelation::kDiverges);
    EXPECT_EQ(diff.field, "messages[0].content");
    EXPECT_EQ(diff.byte, 500 + 10u);
    EXPECT_TRUE(diff.before.ends_with("It is 10:0")) << diff.before;
    EXPECT_LT(diff.before.size(), 60u);
    EXPECT_EQ(diff.a, "3.");
    EXPECT_EQ(diff.b, "4.");
    const PromptDiff role =
        diff_prompts(request({{Role::kUser, "hi"}}), request({{Role::kSystem, "hi"}}));
    EXPECT_EQ(role.field, "messages[0].role");
}

TEST(PromptDiff, NeverCutsACharacter) {
    // U+00E4 and U+00F6 share their first byte.
    const PromptDiff diff = diff_prompts(request({{Role::kUser, "sch\xC3\xB6n"}}),
                                         request({{Role::kUser, "sch\xC3\xA4n"}}));
    EXPECT_EQ(diff.byte, 3u);
    EXPECT_EQ(diff.a, "\xC3\xB6n");
    EXPECT_EQ(diff.b, "\xC3\xA4n");
}

TEST(PromptDiff, ATextThatIsTheOthersStartDivergesAtItsEnd) {
    const PromptDiff diff =
        diff_prompts(request({{Role::kUser, "hi"}}), request({{Role::kUser, "hi you"}}));
    EXPECT_EQ(diff.relation, PromptRelation::kDiverges);
    EXPECT_EQ(diff.byte, 2u);
    EXPECT_EQ(diff.a, "");
    EXPECT_EQ(diff.b, " you");
}

TEST(PromptDiff, ToolsStandBeforeTheMessages) {
    ChatRequest a = request({{Role::kUser, "hi"}}), b = a;
    b.tools.functions.push_back(boost::json::parse(R"({"type":"function"})"));
    EXPECT_EQ(diff_prompts(a, b).field, "tools");
}

}  // namespace
}  // namespace hearth::cli
