// Session keys: golden values from another implementation, separation of their parts, hex.
#include "common/wire/session_key.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace hearth {
namespace {

// Python made these, with no code of ours:
//   m = b"".join(struct.pack(">Q", len(p)) + p for p in (tenant, source, value))
//   hmac.new(secret, m, hashlib.sha256).hexdigest()[:32]
struct Golden {
    std::string secret, tenant;
    KeySource source;
    std::string value, hex;
};

const std::vector<Golden>& goldens() {
    static const std::vector<Golden> all = {
        {"", "", KeySource::kHeader, "a", "762917d129876c2eb2accbd5cc222f1f"},
        {"secret", "acme", KeySource::kHeader, "chat-1", "450d01ef4f2e2d24e1efc36d68be0114"},
        {"secret", "acme", KeySource::kCookie, "chat-1", "01f409ce689dab6bb04bb626861cb8fb"},
        {"secret", "acmeh", KeySource::kHeader, "chat-1", "3ff1d66c61f52de5d77f085debcce542"},
        {std::string(100, 'k'), "t", KeySource::kPromptCacheKey, "h\xc3\xa9llo",
         "bc18291b27afcab917d9427f575b746e"},
        {"secret", "acme", KeySource::kConversation, "resp_1", "8cce91e77f5462057ba673db44fef91a"},
        {"secret", "acme", KeySource::kSessionId, std::string("\x00\x01\xff", 3),
         "59e8c6bf6f8146c16b11799649f9c7a2"},
        {"secret", "acme", KeySource::kMetadata, std::string(256, 'x'),
         "5a44c8ec69cf1d9b425661f5ee20343d"},
        {"secret", "acme", KeySource::kUser, "u", "248a2589b5518a4ef2949cbbbb91fbcb"},
    };
    return all;
}

TEST(SessionKey, MatchesGoldenValues) {
    for (const Golden& g : goldens())
        EXPECT_EQ(derive_session_key(g.secret, g.tenant, g.source, g.value).hex(), g.hex)
            << to_string(g.source);
    std::string digest;
    for (int i = 0; i < 32; ++i) digest += static_cast<char>(i);
    EXPECT_EQ(derive_session_key("secret", "acme", KeySource::kAnchor, digest).hex(),
              "d3d68a8b6581a8a47ab06745467c8be4");
}

TEST(SessionKey, PartsDoNotRunIntoEachOther) {
    std::set<std::string> keys;
    keys.insert(derive_session_key("s", "ab", KeySource::kHeader, "c").hex());
    keys.insert(derive_session_key("s", "a", KeySource::kHeader, "bc").hex());
    keys.insert(derive_session_key("s", "", KeySource::kHeader, "abc").hex());
    keys.insert(derive_session_key("s", "abc", KeySource::kHeader, std::string(1, '\0')).hex());
    keys.insert(derive_session_key("t", "ab", KeySource::kHeader, "c").hex());
    EXPECT_EQ(keys.size(), 5u);
}

TEST(SessionKey, EverySourceIsAKeySpaceOfItsOwn) {
    std::set<SessionKey> keys;
    std::set<std::string> names;
    for (const KeySource source :
         {KeySource::kHeader, KeySource::kCookie, KeySource::kPromptCacheKey,
          KeySource::kConversation, KeySource::kSessionId, KeySource::kMetadata, KeySource::kUser,
          KeySource::kAnchor}) {
        keys.insert(derive_session_key("secret", "acme", source, "same"));
        names.insert(to_string(source));
    }
    EXPECT_EQ(keys.size(), 8u);
    EXPECT_EQ(names.size(), 8u);
    EXPECT_FALSE(names.count("unknown"));
}

TEST(SessionKey, HexGoesThereAndBack) {
    const SessionKey key{0x0123456789abcdefULL, 0xfedcba9876543210ULL};
    EXPECT_EQ(key.hex(), "0123456789abcdeffedcba9876543210");
    const auto back = SessionKey::from_hex(key.hex());
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, key);
    EXPECT_EQ(*SessionKey::from_hex("0123456789ABCDEFFEDCBA9876543210"), key);
    for (const char* bad :
         {"", "0123456789abcdeffedcba987654321", "x123456789abcdeffedcba9876543210",
          "0123456789abcdeffedcba98765432100", "0123456789abcdef fedcba987654321"})
        EXPECT_EQ(SessionKey::from_hex(bad).error().code, ErrorCode::kInvalidArgument) << bad;
}

TEST(SessionKeyDeathTest, RefusesWhatCallersMustHaveRefused) {
    EXPECT_DEATH(derive_session_key("s", "t", KeySource::kHeader, ""), "CHECK failed");
    EXPECT_DEATH(derive_session_key("s", "t", KeySource::kHeader, std::string(257, 'x')),
                 "CHECK failed");
}

}  // namespace
}  // namespace hearth
