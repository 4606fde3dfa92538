// The sources of a request's head: their order, their spelling, and what is never a session key.
#include "router/session/session_key.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

std::optional<RawKey> key_of(const std::vector<HeaderField>& fields,
                             const SessionKeys::Options& options = {}) {
    RequestHead head;
    head.fields = fields;
    auto key = SessionKeys(options).from_head(head);
    EXPECT_TRUE(key.ok());
    return *key;
}

TEST(SessionKeys, EveryNameIsASource) {
    for (const char* name :
         {"x-session-id", "X-Session-Affinity", "x-claude-code-session-id", "session-id",
          "session_id", "Session_ID", "x_session_id", "x-smg-routing-key", "x-dynamo-session-id",
          "x-aibrix-session-key", "x-litellm-session-id"}) {
        const auto key = key_of({{"accept", "*/*"}, {name, "abc"}});
        ASSERT_TRUE(key) << name;
        EXPECT_EQ(key->source, KeySource::kHeader);
        EXPECT_EQ(key->value, "abc");
    }
}

TEST(SessionKeys, PerRequestNamesAreNoSource) {
    EXPECT_FALSE(key_of({{"x-request-id", "1"}, {"traceparent", "2"}, {"x-trace-id", "3"}}));
    EXPECT_TRUE(SessionKeys::is_per_request("X_Request_Id"));
    EXPECT_FALSE(SessionKeys::is_per_request("x-session-id"));
}

TEST(SessionKeys, OrderDoesNotDependOnTheClient) {
    const HeaderField a{"x-session-id", "a"}, b{"session_id", "b"}, c{"x-my-chat", "c"};
    EXPECT_EQ(key_of({a, b})->value, "a");
    EXPECT_EQ(key_of({b, a})->value, "a");
    const SessionKeys::Options options{{"X_My-Chat"}, "", ""};
    EXPECT_EQ(key_of({a, b, c}, options)->value, "c");
    EXPECT_EQ(key_of({c, b, a}, options)->value, "c");
}

TEST(SessionKeys, EmptyKeysAreIgnored) {
    EXPECT_FALSE(key_of({{"x-session-id", ""}}));
    EXPECT_EQ(key_of({{"x-session-id", ""}, {"session-id", "b"}})->value, "b");
    EXPECT_EQ(key_of({{"x-session-id", ""}, {"x-session-id", "second"}})->value, "second");
}

TEST(SessionKeys, Cookie) {
    const SessionKeys::Options options{{}, "chat", ""};
    const auto value = [&](std::string_view cookie) -> std::string {
        const auto key = key_of({{"Cookie", cookie}}, options);
        if (!key) return "-";
        EXPECT_EQ(key->source, KeySource::kCookie);
        return key->value;
    };
    EXPECT_EQ(value("chat=1"), "1");
    EXPECT_EQ(value("a=b; chat=x=y; chat=2"), "x=y");
    EXPECT_EQ(value("a=b;chat=\"quoted\""), "quoted");
    EXPECT_EQ(value("chat=; chat=2"), "2");
    EXPECT_EQ(value("chatter=1; Chat=2; chat"), "-");
    EXPECT_EQ(value(";;= ;"), "-");
    EXPECT_FALSE(key_of({{"cookie", "chat=1"}}));
    EXPECT_EQ(key_of({{"cookie", "chat=1"}, {"x-session-id", "h"}}, options)->value, "h");
}

TEST(SessionKeys, TooLongIsRefused) {
    const std::string longest(kRawKeyBytesMax, 'k');
    EXPECT_EQ(key_of({{"x-session-id", longest}})->value, longest);
    RequestHead head;
    const std::string longer = longest + "k";
    head.fields = {{"x-session-id", longer}};
    const auto key = SessionKeys({}).from_head(head);
    ASSERT_FALSE(key.ok());
    EXPECT_EQ(key.error().code, ErrorCode::kInvalidArgument);
}

TEST(SessionKeys, DerivedKeysDependOnEveryPart) {
    const SessionKeys a({{}, "", "secret"}), b({{}, "", "other"});
    const RawKey key{KeySource::kHeader, "abc"};
    EXPECT_EQ(a.derive(key, ""), a.derive(key, ""));
    EXPECT_NE(a.derive(key, ""), b.derive(key, ""));
    EXPECT_NE(a.derive(key, ""), a.derive(key, "tenant"));
    EXPECT_NE(a.derive(key, ""), a.derive({KeySource::kCookie, "abc"}, ""));
    // The id of a response says which session it is of, whatever named that first.
    const std::string id = response_id(a.derive(key, "tenant"), 5);
    EXPECT_EQ(a.derive({KeySource::kConversation, id}, "tenant"), a.derive(key, "tenant"));
    EXPECT_NE(a.derive({KeySource::kSessionId, id}, "tenant"), a.derive(key, "tenant"));
}

}  // namespace
}  // namespace hearth
