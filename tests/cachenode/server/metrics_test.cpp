// NodeMetrics: counters follow lifetime totals, reports fill histograms, every label is there at 0.
#include "cachenode/metrics.h"

#include <gtest/gtest.h>

namespace hearth {
namespace {

double value(const std::string& page, const std::string& series) {
    const std::size_t at = ("\n" + page).find("\n" + series + " ");
    EXPECT_NE(at, std::string::npos) << series;
    return at == std::string::npos ? -1 : std::stod(page.substr(at + series.size() + 1));
}

NodeMetricsFacts facts() {
    return {"m", "fake", 160};
}

TEST(NodeMetrics, CountersFollowTotalsWhateverHowOftenTheyAreRead) {
    NodeMetrics metrics(facts());
    SchedulerStats stats;
    stats.prompt_tokens_device = 70;
    stats.prompt_tokens_computed = 30;
    stats.reusable_tokens = 80;
    stats.reused_tokens = 60;
    stats.missed_tokens = {{"evicted", 15}, {"declined", 5}};
    stats.turns_full_ceiling = 3;
    stats.ceiling_tokens = 90;
    for (int reads = 0; reads < 3; ++reads) metrics.expose(stats, NodeState::kReady, true);
    stats.prompt_tokens_device = 75;
    const std::string page = metrics.expose(stats, NodeState::kDraining, true);
    EXPECT_EQ(value(page, R"(hearth_engine_prompt_tokens_total{model="m",source="device"})"), 75);
    EXPECT_EQ(value(page, R"(hearth_engine_prompt_tokens_total{model="m",source="computed"})"), 30);
    EXPECT_EQ(value(page, R"(hearth_engine_missed_tokens_total{model="m",reason="evicted"})"), 15);
    EXPECT_EQ(value(page, R"(hearth_engine_missed_tokens_total{model="m",reason="corrupt"})"), 0);
    EXPECT_EQ(value(page, R"(hearth_engine_ceiling_tokens_total{model="m"})"), 90);
    EXPECT_EQ(value(page, R"(hearth_engine_ceiling_full_hits_total{model="m"})"), 3);
    EXPECT_EQ(value(page, R"(hearth_node_state{state="draining"})"), 1);
    EXPECT_EQ(value(page, R"(hearth_node_state{state="ready"})"), 0);
}

TEST(NodeMetrics, ReportsFillHistograms) {
    NodeMetrics metrics(facts());
    TurnReport report;
    report.usage.prompt_tokens = 100;
    report.usage.cached_tokens = 90;
    report.usage.reusable_tokens = report.usage.reused_tokens = 90;
    report.usage.completion_tokens = 3;
    report.ttft_s = 0.004;
    report.total_s = 0.5;
    report.inter_token_s = {0.002f, 0.003f};
    metrics.turn_done(report);
    report.usage.reused_tokens = 50;
    metrics.turn_done(report);
    TurnReport cut;  // Ended while it waited: no token, no usage.
    cut.finish = FinishReason::kCancelled;
    metrics.turn_done(cut);
    metrics.step_done(0.001, 64, "prefill");
    const std::string page = metrics.expose({}, NodeState::kReady, false);
    const std::string ttft = "hearth_engine_time_to_first_token_seconds_count";
    EXPECT_EQ(value(page, ttft + R"({cache="warm",model="m"})"), 1);
    EXPECT_EQ(value(page, ttft + R"({cache="partial",model="m"})"), 1);
    EXPECT_EQ(value(page, ttft + R"({cache="cold",model="m"})"), 0);
    EXPECT_EQ(value(page, R"(hearth_engine_inter_token_latency_seconds_count{model="m"})"), 4);
    EXPECT_EQ(value(page, R"(hearth_engine_requests_finished_total{model="m",reason="stop"})"), 2);
    EXPECT_EQ(value(page, R"(hearth_engine_requests_finished_total{model="m",reason="abort"})"), 1);
    EXPECT_EQ(value(page, R"(hearth_engine_request_prompt_tokens_count{model="m"})"), 2);
    EXPECT_EQ(value(page, R"(hearth_engine_step_batch_tokens_sum{model="m"})"), 64);
}

TEST(NodeMetrics, DirectoryOperationsByResult) {
    NodeMetrics metrics(facts());
    metrics.directory_done(DirectoryOperation::kLookup, {});
    metrics.directory_done(DirectoryOperation::kLookup, make_error(ErrorCode::kTimeout, "t"));
    metrics.directory_done(DirectoryOperation::kPublish, make_error(ErrorCode::kUnavailable, "u"));
    const std::string page = metrics.expose({}, NodeState::kReady, true);
    const std::string name = "hearth_directory_operations_total";
    EXPECT_EQ(value(page, name + R"({op="lookup",result="ok"})"), 1);
    EXPECT_EQ(value(page, name + R"({op="lookup",result="timeout"})"), 1);
    EXPECT_EQ(value(page, name + R"({op="publish",result="error"})"), 1);
    EXPECT_EQ(value(page, name + R"({op="heartbeat",result="ok"})"), 0);
}

}  // namespace
}  // namespace hearth
