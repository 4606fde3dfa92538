// Records: field lists there and back, and every kind of field that another program may have
// spoilt.
#include "common/wire/records.h"

#include <gtest/gtest.h>

#include "common/base/rng.h"

namespace hearth {
namespace {

NodeRecord some_node(Rng& rng) {
    const auto number = [&rng] { return static_cast<std::int64_t>(rng.below(1'000'000'000)); };
    NodeRecord r;
    r.node_id = "node-" + std::to_string(rng.below(100));
    r.generation = std::to_string(rng.next());
    r.address = "10.0.0.1:8101";
    r.state = static_cast<NodeState>(rng.below(3));
    r.model = std::string("a \"model\"\n\0name", 15);
    r.model_fingerprint = "00ff";
    r.weight = rng.uniform() * 10;
    r.queued_tokens = number();
    r.prefill_tokens_per_s = rng.uniform() * 1e6;
    r.running = number();
    r.waiting = number();
    r.sessions = number();
    r.is_drained = number() % 2 == 1;
    r.kv_bytes_used = number();
    r.kv_bytes_max = number();
    r.kv_disk_bytes_used = number();
    r.kv_disk_bytes_max = number();
    r.reused_tokens = number();
    r.reusable_tokens = number();
    r.prompt_tokens = number();
    for (std::int64_t& missed : r.missed_tokens) missed = number();
    return r;
}

TEST(Records, NodeGoesThereAndBack) {
    constexpr std::uint64_t kSeed = 20261122;
    SCOPED_TRACE("seed " + std::to_string(kSeed));
    Rng rng(kSeed);
    for (int i = 0; i < 200; ++i) {
        const NodeRecord r = some_node(rng);
        const auto back = node_record_from(to_fields(r));
        ASSERT_TRUE(back.ok());
        EXPECT_EQ(to_fields(*back), to_fields(r));
        EXPECT_EQ(back->weight, r.weight);  // Doubles keep every bit.
        EXPECT_EQ(back->prefill_tokens_per_s, r.prefill_tokens_per_s);
        EXPECT_EQ(back->state, r.state);
        EXPECT_EQ(back->prompt_tokens, r.prompt_tokens);
        EXPECT_EQ(back->missed_tokens, r.missed_tokens);
        EXPECT_EQ(back->kv_disk_bytes_used, r.kv_disk_bytes_used);
        EXPECT_EQ(back->kv_disk_bytes_max, r.kv_disk_bytes_max);
        EXPECT_EQ(back->sessions, r.sessions);
        EXPECT_EQ(back->is_drained, r.is_drained);
    }
}

TEST(Records, SessionGoesThereAndBack) {
    const SessionRecord r{"node-1", "g7", 3, 2048, 9, "device"};
    const auto back = session_record_from(to_fields(r));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(back->node_id, "node-1");
    EXPECT_EQ(back->generation, "g7");
    EXPECT_EQ(back->epoch, 3);
    EXPECT_EQ(back->tokens, 2048);
    EXPECT_EQ(back->turn, 9);
    EXPECT_EQ(back->tier, "device");
}

TEST(Records, AnOlderOrNewerProgramsFieldsAreNoError) {
    const auto sparse = node_record_from({{"node_id", "a"}, {"colour", "red"}});
    ASSERT_TRUE(sparse.ok());
    EXPECT_EQ(sparse->node_id, "a");
    EXPECT_EQ(sparse->weight, 1.0);
    EXPECT_EQ(sparse->state, NodeState::kStarting);
    EXPECT_TRUE(session_record_from({}).ok());
}

TEST(Records, SpoiltFieldsAreCorruptAndNamed) {
    const FieldList spoilt = {{"weight", "nan"},
                              {"weight", "inf"},
                              {"weight", "-1"},
                              {"weight", "1e300"},
                              {"weight", ""},
                              {"weight", "1.0x"},
                              {"queued_tokens", "-5"},
                              {"queued_tokens", " 5"},
                              {"queued_tokens", "5.5"},
                              {"running", "abc"},
                              {"running", "0x10"},
                              {"waiting", "99999999999999999999"},
                              {"kv_bytes_max", "1e3"},
                              {"kv_bytes_used", "5 "},
                              {"reused_tokens", "+5"},
                              {"state", "asleep"},
                              {"state", ""},
                              {"prefill_tokens_per_s", "-0.1"},
                              {"prompt_tokens", "9223372036854775807"}};
    for (const auto& [name, value] : spoilt) {
        const auto record = node_record_from({{"node_id", "a"}, {name, value}});
        ASSERT_FALSE(record.ok()) << name << "=" << value;
        EXPECT_EQ(record.error().code, ErrorCode::kCorrupt);
        EXPECT_NE(record.error().message.find(name), std::string::npos);
    }
    for (const char* name : {"epoch", "tokens", "turn"})
        EXPECT_EQ(session_record_from({{name, "-1"}}).error().code, ErrorCode::kCorrupt) << name;
}

}  // namespace
}  // namespace hearth
