// The watched file, DNS answers by their bytes, how sources merge, and pools.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "common/base/rng.h"
#include "router/members/dns_source.h"
#include "router/members/file_source.h"
#include "router/members/membership.h"
#include "router/members/srv_answer.h"

namespace hearth {
namespace {

using namespace std::string_literals;

TEST(FileSource, YamlAndJson) {
    const auto yaml = nodes_from_text("nodes:\n  - {id: a, address: 'h:1', model: m}\n", "f");
    ASSERT_TRUE(yaml.ok());
    EXPECT_EQ((*yaml)[0].model, "m");
    const auto json = nodes_from_text(R"({"nodes":[{"id":"a","address":"h:1","weight":2}]})", "f");
    ASSERT_TRUE(json.ok()) << json.error().message;
    EXPECT_EQ((*json)[0].weight, 2.0);
}

TEST(FileSource, ErrorsNameTheLine) {
    const std::pair<const char*, const char*> bad[] = {
        {"nodes:\n  - {id: a, address: 'h:1'}\n  - {id: a, address: 'h:2'}\n", "f:3:"},
        {"nodes:\n  - {id: a}\n", "f:2:"},
        {"nodes:\n  - {id: a, address: [}\n", "f:2:"},
        {"", "f:1:1"},
        {"other: 1\n", "f:1:"},
    };
    for (const auto& [text, where] : bad) {
        const auto read = nodes_from_text(text, "f");
        ASSERT_FALSE(read.ok()) << text;
        EXPECT_NE(read.error().message.find(where), std::string::npos) << read.error().message;
    }
}

// Two answers for _h._tcp.x: priority 1 weight 3 port 80 a.x (compressed), priority 2 port 81.
std::string srv_message() {
    const std::string head = "\0\1\x81\x80\0\1\0\2\0\0\0\0"s;
    const std::string question = "\2_h\4_tcp\1x\0\0\x21\0\1"s;  // x is at 12 + 3 + 5 = 20.
    const std::string one = "\xc0\x0c\0\x21\0\1\0\0\0\x1e\0\x0a\0\1\0\3\0\x50\1A\xc0\x14"s;
    const std::string two = "\xc0\x0c\0\x21\0\1\0\0\0\x1e\0\x0a\0\2\0\1\0\x51\1b\xc0\x14"s;
    return head + question + one + two;
}

TEST(SrvAnswer, ReadsTheBestPriority) {
    const auto records = srv_records_from(srv_message());
    ASSERT_TRUE(records.ok()) << records.error().message;
    ASSERT_EQ(records->size(), 1u);
    EXPECT_EQ((*records)[0].target, "a.x");
    EXPECT_EQ((*records)[0].port, 80);
    EXPECT_EQ((*records)[0].weight, 3);
}

TEST(SrvAnswer, NoPrefixAndNoRandomChangeDoesHarm) {
    const std::string whole = srv_message();
    for (std::size_t n = 0; n < whole.size(); ++n)
        EXPECT_FALSE(srv_records_from(std::string_view(whole).substr(0, n)).ok()) << n;
    const std::uint64_t seed = 3;
    Rng rng(seed);
    for (int run = 0; run < 20'000; ++run) {
        std::string bytes = whole;
        for (int n = 0; n < 3; ++n)
            bytes[rng.next() % bytes.size()] = static_cast<char>(rng.next());
        const auto records = srv_records_from(bytes);
        if (!records.ok()) continue;
        for (const SrvRecord& record : *records)
            ASSERT_TRUE(!record.target.empty() && record.target.size() <= 255) << "seed " << seed;
    }
    std::string loop = whole;
    loop[12] = '\xc0';
    loop[13] = '\x0c';
    EXPECT_FALSE(srv_records_from(loop).ok());
}

TEST(DnsSource, AddressesBecomeNodes) {
    DnsSource dns({"localhost:8001"});
    dns.ask();
    const auto nodes = dns.take();
    ASSERT_TRUE(nodes.ok()) << nodes.error().message;
    bool found = false;
    for (const StaticNode& node : *nodes)
        found = found ||
                (node.address == "127.0.0.1:8001" && node.node_id == "localhost.127.0.0.1-8001");
    EXPECT_TRUE(found);
}

// The file as its writers leave it: replaced at once, cut short, gone, back.
TEST(FileSource, LooksWhenItChangesAndABadFileIsAnError) {
    const std::string path = testing::TempDir() + "hearth_members.yaml";
    const auto write = [&](const std::string& text) {
        std::ofstream(path + ".new") << text;
        std::filesystem::rename(path + ".new", path);
    };
    std::filesystem::remove(path);
    FileSource file(path);
    auto seen = file.look();
    ASSERT_TRUE(seen && !seen->ok());
    EXPECT_NE(seen->error().message.find(path), std::string::npos);
    EXPECT_FALSE(file.look()) << "an absent file is told once";
    write("nodes: [{id: a, address: 'h:1'}]\n");
    seen = file.look();
    ASSERT_TRUE(seen && seen->ok());
    EXPECT_EQ((**seen)[0].node_id, "a");
    EXPECT_FALSE(file.look());
    write("nodes: [{id: b, address: 'h:1'}]\n");  // As long as before, and perhaps as old.
    seen = file.look();
    ASSERT_TRUE(seen && seen->ok());
    EXPECT_EQ((**seen)[0].node_id, "b");
    write("nodes: [{id: b, addr");
    seen = file.look();
    ASSERT_TRUE(seen && !seen->ok());
    EXPECT_NE(seen->error().message.find(path + ":1:"), std::string::npos) << seen->error().message;
    EXPECT_FALSE(file.look()) << "not again and again";
    std::filesystem::remove(path);
    seen = file.look();
    ASSERT_TRUE(seen && !seen->ok());
}

TEST(Sources, TheBetterOneCountsWholeAndTheOtherTakesOver) {
    Membership membership({});
    membership.replace(Source::kDns, {{"a", "dns:1", 2.0}}, kSecond);
    membership.replace(Source::kFile, {{"a", "file:1", 3.0}}, kSecond);
    EXPECT_EQ(membership.now()->find("a")->record.address, "file:1");
    const auto status = membership.now()->find("a")->status;
    NodeRecord record;
    record.node_id = "a";
    record.address = "registry:1";
    record.state = NodeState::kReady;
    membership.apply({record}, kSecond);
    EXPECT_EQ(membership.now()->find("a")->record.address, "registry:1");
    membership.apply({}, 2 * kSecond);
    membership.apply({}, 2 * kSecond + Membership::kAbsenceGraceUp + 1);
    membership.replace(Source::kFile, {}, kSecond);
    EXPECT_EQ(membership.now()->seats[0].weight, 2.0);
    EXPECT_EQ(membership.now()->find("a")->status, status);
    membership.replace(Source::kDns, {}, kSecond);
    EXPECT_TRUE(membership.now()->members.empty());
}

TEST(Drain, OutlivesSnapshotsAndIsTakenBack) {
    Membership membership(std::vector<StaticNode>{{"a", "h:1"}, {"b", "h:2"}});
    EXPECT_TRUE(membership.set_drained("a", true));
    EXPECT_FALSE(membership.set_drained("a", true));
    membership.apply({}, kSecond);
    EXPECT_EQ(membership.now()->seats.size(), 1u);
    EXPECT_STREQ(membership.now()->find("a")->standing(), "draining");
    EXPECT_EQ(membership.now()->find("a")->standing_reason(), "operator");
    EXPECT_TRUE(membership.set_drained("a", false));
    EXPECT_EQ(membership.now()->seats.size(), 2u);
}

TEST(Drain, TheStoresWordCountsUnlessItHasForgottenOrWasNotTold) {
    using Drains = std::map<std::string, bool>;
    Membership membership(std::vector<StaticNode>{{"a", "h:1"}, {"b", "h:2"}});
    EXPECT_EQ(membership.merge_drains(Drains{{"a", true}}), Drains{});
    EXPECT_TRUE(membership.drained("a"));
    EXPECT_EQ(membership.merge_drains(Drains{}), (Drains{{"a", true}}));  // It was flushed.
    EXPECT_TRUE(membership.drained("a"));
    EXPECT_EQ(membership.merge_drains(Drains{{"a", false}}), Drains{});
    EXPECT_FALSE(membership.drained("a"));

    membership.set_drained("b", true);
    membership.note_told("b", false);  // The store was down.
    EXPECT_EQ(membership.merge_drains(Drains{{"a", false}, {"b", false}}), (Drains{{"b", true}}));
    EXPECT_TRUE(membership.drained("b"));
    membership.note_told("b", true);
    EXPECT_EQ(membership.merge_drains(Drains{{"a", false}, {"b", false}}), Drains{});
    EXPECT_FALSE(membership.drained("b"));
}

TEST(Pools, ByWhatNodesNameOrAsConfigured) {
    const std::vector<StaticNode> nodes = {
        {"a1", "h:1", 1, "m"}, {"a2", "h:2", 1, "m"}, {"b1", "h:3", 1, "n"}};
    const auto two = Membership(nodes).now();
    ASSERT_TRUE(two->needs_model());
    EXPECT_EQ(two->pool("m")->members->seats.size(), 2u);
    EXPECT_EQ(two->pool("n")->members->seats.size(), 1u);
    EXPECT_EQ(two->pool("x"), nullptr);
    const auto set =
        Membership(nodes, {{"p", {"m"}, {"alias"}, {}}, {"q", {"k"}, {}, {"b*"}}}).now();
    EXPECT_EQ(set->pool("alias"), set->pool("m"));
    EXPECT_EQ(set->pool("m")->members->seats.size(), 2u);
    EXPECT_EQ(set->pool("k")->members->members[0].record.node_id, "b1");
    const auto one = Membership(std::vector<StaticNode>{{"a", "h:1"}}).now();
    EXPECT_FALSE(one->needs_model());
    EXPECT_EQ(members_of(one, *one->pool("whatever")), one);
}

}  // namespace
}  // namespace hearth
