// Membership and health rules: who is a member, who takes turns, who is walked past.
#include "router/members/membership.h"

#include <gtest/gtest.h>

#include "router/members/health.h"

namespace hearth {
namespace {

NodeRecord record(const std::string& id, NodeState state = NodeState::kReady,
                  const std::string& generation = "1") {
    NodeRecord out;
    out.node_id = id;
    out.generation = generation;
    out.address = "127.0.0.1:1";
    out.state = state;
    return out;
}

std::string seated(const Membership& membership) {
    std::string out;
    const auto members = membership.now();
    for (std::size_t i = 0; i < members->seats.size(); ++i)
        out += (i > 0 ? " " : "") + members->members[i].record.node_id;
    return out;
}

TEST(Membership, OnlyReadyNodesTakeTurns) {
    Membership membership({});
    EXPECT_EQ(seated(membership), "");
    NodeRecord weightless = record("e");
    weightless.weight = 0;
    membership.apply({record("c"), record("a"), record("b", NodeState::kStarting),
                      record("d", NodeState::kDraining), weightless},
                     kSecond);
    EXPECT_EQ(seated(membership), "a c");
    const auto members = membership.now();
    EXPECT_EQ(members->members.size(), 5u);
    EXPECT_EQ(members->count(NodeState::kStarting), 1u);
    EXPECT_EQ(members->seat_of("c"), 1u);
    EXPECT_FALSE(members->seat_of("d"));
    EXPECT_NE(members->find("d"), nullptr);
    EXPECT_EQ(members->find("x"), nullptr);
    for (std::size_t i = 0; i < members->seats.size(); ++i)
        EXPECT_EQ(members->seats[i].node_hash, node_hash(members->members[i].record.node_id));
}

TEST(Membership, ASnapshotNeverChanges) {
    Membership membership({});
    membership.apply({record("a")}, kSecond);
    const auto before = membership.now();
    membership.apply({record("a"), record("b")}, kSecond);
    EXPECT_EQ(before->seats.size(), 1u);
    EXPECT_EQ(membership.now()->seats.size(), 2u);
    EXPECT_EQ(before->members[0].status, membership.now()->members[0].status);
}

// Its probes find nobody any more.
void bring_down(const Membership& membership, const std::string& id) {
    membership.now()->find(id)->status->health = NodeStatus::Health::kDown;
}

TEST(Membership, AnEmptyStoreIsNotBelievedAtOnce) {
    Membership membership({});
    membership.apply({record("a"), record("b")}, kSecond);
    bring_down(membership, "b");
    membership.apply({}, 2 * kSecond);
    EXPECT_EQ(seated(membership), "a b");
    membership.apply({record("a")}, 3 * kSecond);
    EXPECT_EQ(seated(membership), "a b");
    membership.apply({record("a")}, 2 * kSecond + Membership::kAbsenceGrace + 1);
    EXPECT_EQ(seated(membership), "a");
    // The grace begins anew with each absence, and an hour without an answer is none.
    membership.apply({record("a"), record("b")}, 10 * kSecond);
    membership.apply({}, 11 * kSecond);
    bring_down(membership, "b");
    membership.note_outage();
    membership.apply({}, 3'600 * kSecond);
    EXPECT_EQ(seated(membership), "a b");
    membership.apply({}, 3'600 * kSecond + Membership::kAbsenceGrace + 1);
    EXPECT_EQ(seated(membership), "a");  // Which answers still.
    membership.apply({}, 3'600 * kSecond + Membership::kAbsenceGraceUp + 1);
    EXPECT_EQ(seated(membership), "");
}

TEST(Membership, StaticNodesStay) {
    Membership membership({{"s", "127.0.0.1:2", 2.0}});
    EXPECT_EQ(seated(membership), "s");
    EXPECT_EQ(membership.now()->seats[0].weight, 2.0);
    EXPECT_EQ(membership.now()->members[0].status->health, NodeStatus::Health::kUnknown);
    membership.apply({record("a")}, kSecond);
    membership.apply({}, 100 * kSecond);
    membership.apply({}, 100 * kSecond + Membership::kAbsenceGraceUp + 1);
    EXPECT_EQ(seated(membership), "s");
}

TEST(Membership, ARestartedNodeIsUp) {
    Membership membership({});
    membership.apply({record("a")}, kSecond);
    const auto status = membership.now()->members[0].status;
    EXPECT_EQ(status->health, NodeStatus::Health::kUp);
    note_connect_failure(*status);
    membership.apply({record("a")}, kSecond);
    EXPECT_FALSE(status->usable());
    membership.apply({record("a", NodeState::kReady, "2")}, kSecond);
    EXPECT_TRUE(status->usable());
}

TEST(Membership, TwoNodesUnderOneIdAreNoticed) {
    Membership membership({});
    const auto publish = [&](const std::string& generation) {
        NodeRecord record;
        record.node_id = "a";
        record.generation = generation;
        record.state = NodeState::kReady;
        membership.apply({record}, kSecond);
        return membership.now()->find("a")->status->id_conflicts;
    };
    EXPECT_EQ(publish("1"), 0);
    EXPECT_EQ(publish("2"), 0) << "a restart";
    EXPECT_EQ(publish("2"), 0);
    EXPECT_EQ(publish("3"), 0) << "another one";
    EXPECT_EQ(publish("2"), 1);
    EXPECT_EQ(publish("3"), 2);
}

TEST(Membership, LoadCountsWhatWasPublishedAndWhatWeSent) {
    Membership membership({});
    NodeRecord busy = record("a");
    busy.running = 2;
    busy.waiting = 1;
    busy.weight = 2;
    membership.apply({busy}, kSecond);
    const Member& member = membership.now()->members[0];
    EXPECT_DOUBLE_EQ(member.load(), 1.5);
    member.status->in_flight = 3;
    EXPECT_DOUBLE_EQ(member.load(), 3.0);
}

TEST(Health, Rules) {
    NodeStatus status;
    EXPECT_TRUE(note_probe(status, Probe::kPassed));
    EXPECT_FALSE(note_probe(status, Probe::kFailed));
    EXPECT_FALSE(note_probe(status, Probe::kFailed));
    EXPECT_FALSE(note_probe(status, Probe::kPassed));
    for (int n = 1; n < HealthRules{}.probe_failures; ++n)
        EXPECT_FALSE(note_probe(status, Probe::kFailed));
    EXPECT_TRUE(status.usable()) << "slow is not down";
    EXPECT_TRUE(note_probe(status, Probe::kFailed));
    EXPECT_FALSE(status.usable());
    EXPECT_TRUE(note_probe(status, Probe::kPassed));
    EXPECT_TRUE(note_probe(status, Probe::kRefused));
    EXPECT_TRUE(note_probe(status, Probe::kPassed));
    EXPECT_TRUE(note_connect_failure(status));
    EXPECT_FALSE(note_connect_failure(status));
}

TEST(Health, Outcomes) {
    const auto answer = [](int status) {
        HttpClient::Answer out;
        out.status = status;
        return probe_outcome(out);
    };
    for (const int status : {200, 204, 401, 404, 405, 501})
        EXPECT_EQ(answer(status), Probe::kPassed);
    for (const int status : {500, 502, 503}) EXPECT_EQ(answer(status), Probe::kFailed);
    EXPECT_EQ(probe_outcome(make_error(ErrorCode::kUnavailable, "")), Probe::kRefused);
    EXPECT_EQ(probe_outcome(make_error(ErrorCode::kTimeout, "")), Probe::kFailed);
    EXPECT_EQ(probe_outcome(make_error(ErrorCode::kCorrupt, "")), Probe::kFailed);
}

}  // namespace
}  // namespace hearth
