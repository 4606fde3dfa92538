// Tenants: what an entry of the list may say, and errors that name the field.
#include "router/admission/tenants.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

const std::string kHash = format_key_hash(hash_api_key("a"));

TEST(Tenants, ReadsAnEntry) {
    const auto tenant = read_tenant({{"name", "acme"},
                                     {"keys", kHash + "\n" + format_key_hash(hash_api_key("b"))},
                                     {"requests_per_second", "2.5"},
                                     {"tokens_per_minute", "60000"},
                                     {"concurrency_max", "8"},
                                     {"priority", "batch"},
                                     {"may_choose_priority", "true"},
                                     {"follow_up_bonus_s", "90"},
                                     {"models", "small\nlarge one\n"}});
    ASSERT_TRUE(tenant.ok()) << tenant.error().message;
    EXPECT_EQ(tenant->name, "acme");
    EXPECT_EQ(tenant->keys, (std::vector<ApiKeyHash>{hash_api_key("a"), hash_api_key("b")}));
    EXPECT_EQ(tenant->requests_per_second, 2.5);
    EXPECT_EQ(tenant->tokens_per_minute, 60'000);
    EXPECT_EQ(tenant->concurrency_max, 8);
    EXPECT_EQ(tenant->priority, Priority::kBatch);
    EXPECT_TRUE(tenant->may_choose_priority);
    EXPECT_EQ(tenant->follow_up_bonus_s, "90");
    EXPECT_EQ(tenant->models, (std::vector<std::string>{"small", "large one"}));
}

TEST(Tenants, RefusesAndNamesTheField) {
    const std::pair<std::map<std::string, std::string>, const char*> cases[] = {
        {{{"keys", kHash}}, "name"},
        {{{"name", "a b"}, {"keys", kHash}}, "name"},
        {{{"name", "a"}}, "keys"},
        {{{"name", "a"}, {"keys", "secret"}}, "keys"},
        {{{"name", "a"}, {"keys", kHash.substr(1)}}, "keys"},
        {{{"name", "a"}, {"keys", kHash}, {"requests_per_second", "-1"}}, "requests_per_second"},
        {{{"name", "a"}, {"keys", kHash}, {"tokens_per_minute", "x"}}, "tokens_per_minute"},
        {{{"name", "a"}, {"keys", kHash}, {"concurrency_max", "-2"}}, "concurrency_max"},
        {{{"name", "a"}, {"keys", kHash}, {"priority", "high"}}, "priority"},
        {{{"name", "a"}, {"keys", kHash}, {"may_choose_priority", "?"}}, "may_choose_priority"},
        {{{"name", "a"}, {"keys", kHash}, {"follow_up_bonus_s", "86401"}}, "follow_up_bonus_s"},
        {{{"name", "a"}, {"keys", kHash}, {"limit", "1"}}, "limit"},
    };
    for (const auto& [fields, named] : cases) {
        const auto tenant = read_tenant(fields);
        ASSERT_FALSE(tenant.ok()) << named;
        EXPECT_NE(tenant.error().message.find(named), std::string::npos) << tenant.error().message;
        EXPECT_EQ(tenant.error().message.find("secret"), std::string::npos);
    }
}

TEST(Tenants, NamesAndKeysAreUsedOnce) {
    TenantSettings one, two;
    one.name = "one";
    one.keys = {hash_api_key("1")};
    two.name = "two";
    two.keys = {hash_api_key("2")};
    EXPECT_TRUE(check_tenants({one, two}).ok());
    EXPECT_FALSE(check_tenants({one, one}).ok());
    two.keys.push_back(one.keys[0]);
    EXPECT_FALSE(check_tenants({one, two}).ok());
}

}  // namespace
}  // namespace hearth
