// Settings without their secrets: which names are secret, and that the rest stays readable.
#include "common/config/redact.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

TEST(Redact, KnowsWhichNamesAreSecret) {
    for (const char* name : {"session_secret", "redis_password", "admin_token", "keys",
                             "upstream_api_key", "redis_sentinel_password"})
        EXPECT_TRUE(names_a_secret(name)) << name;
    for (const char* name : {"session_secret_file", "tls_key", "upstream_key", "tokens_per_minute",
                             "step_tokens_max", "listen", "session_headers"})
        EXPECT_FALSE(names_a_secret(name)) << name;
}

TEST(Redact, TakesValuesOutAtEveryDepth) {
    const auto clean = without_secrets(
        "# comment with hunter2\n"
        "listen: 0.0.0.0:8080\n"
        "session_secret: hunter2hunter2\n"
        "fleet_secret_file: /etc/fleet\n"
        "tenants:\n"
        "  - name: acme\n"
        "    keys: [one, two]\n"
        "    requests_per_second: 20\n");
    ASSERT_TRUE(clean) << clean.error().message;
    for (const char* gone : {"hunter2", "one", "two"})
        EXPECT_EQ(clean->text.find(gone), std::string::npos) << clean->text;
    for (const char* stays : {"listen: 0.0.0.0:8080", "/etc/fleet", "acme", "20", "<redacted>"})
        EXPECT_NE(clean->text.find(stays), std::string::npos) << clean->text;
    EXPECT_EQ(clean->secrets, (std::vector<std::string>{"hunter2hunter2", "one", "two"}));
    EXPECT_EQ(clean->secret_files, std::vector<std::string>{"/etc/fleet"});
}

TEST(Redact, RefusesWhatItCannotRead) {
    EXPECT_FALSE(without_secrets("a: [b"));
    EXPECT_TRUE(without_secrets(""));
    EXPECT_TRUE(without_secrets("just a word"));
}

}  // namespace
}  // namespace hearth
