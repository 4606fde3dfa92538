// A node's figures under vLLM's names: the same sums, no label of ours.
#include "cachenode/vllm_metrics.h"

#include <gtest/gtest.h>

#include "cachenode/metrics.h"

namespace hearth {
namespace {

double value(const std::string& page, const std::string& series) {
    const std::size_t at = page.find('\n' + series + ' ');
    return at == std::string::npos ? -1 : std::stod(page.substr(at + series.size() + 2));
}

std::string page_of(const std::string& model) {
    NodeMetrics metrics({model, "fake", 160});
    SchedulerStats stats;
    stats.running = 3;
    stats.waiting = 2;
    stats.prompt_tokens_device = 70;
    stats.prompt_tokens_disk = 20;
    stats.prompt_tokens_peer = 7;
    stats.prompt_tokens_computed = 3;
    stats.generated_tokens = 11;
    stats.kv_bytes_used = 25;
    stats.kv_bytes_max = 100;
    for (const FinishReason finish : {FinishReason::kStop, FinishReason::kCancelled}) {
        TurnReport report;
        report.finish = finish;
        report.ttft_s = 0.3;
        report.usage.prompt_tokens = 50;
        report.usage.cached_tokens = finish == FinishReason::kStop ? 40 : 0;
        metrics.turn_done(report);
    }
    return '\n' + vllm_metrics(metrics.expose(stats, NodeState::kReady, true), {model, 64, 12});
}

TEST(VllmMetrics, SaysTheSameInOtherNames) {
    const std::string page = page_of("m");
    const std::string labels = R"({model_name="m",engine="0"})";
    EXPECT_EQ(value(page, "vllm:num_requests_running" + labels), 3);
    EXPECT_EQ(value(page, "vllm:num_requests_waiting" + labels), 2);
    EXPECT_EQ(value(page, "vllm:prompt_tokens_total" + labels), 100);
    EXPECT_EQ(value(page, "vllm:prefix_cache_queries_total" + labels), 100);
    EXPECT_EQ(value(page, "vllm:prefix_cache_hits_total" + labels), 70);
    EXPECT_EQ(value(page, "vllm:external_prefix_cache_hits_total" + labels), 27);
    EXPECT_EQ(value(page, "vllm:generation_tokens_total" + labels), 11);
    EXPECT_EQ(value(page, "vllm:kv_cache_usage_perc" + labels), 0.25);
    EXPECT_EQ(value(page, R"(vllm:request_success_total{model_name="m",engine="0",)"
                          R"(finished_reason="abort"})"),
              1);
    EXPECT_EQ(value(page, R"(vllm:cache_config_info{model_name="m",engine="0",)"
                          R"(block_size="64",num_gpu_blocks="12"})"),
              1);
    // Of turns that found much and of those that found nothing together.
    EXPECT_EQ(value(page, "vllm:time_to_first_token_seconds_count" + labels), 2);
    EXPECT_EQ(value(page, R"(vllm:time_to_first_token_seconds_bucket{model_name="m",engine="0",)"
                          R"(le="+Inf"})"),
              2);
    EXPECT_EQ(page.find("hearth_"), std::string::npos);
    EXPECT_EQ(page.find("cache=\""), std::string::npos);
}

TEST(VllmMetrics, AModelsNameIsEscaped) {
    EXPECT_EQ(
        value(page_of("a\"b\\c"), R"(vllm:num_requests_running{model_name="a\"b\\c",engine="0"})"),
        3);
}

// Each metric once, with its head before its series.
TEST(VllmMetrics, EachFamilyStandsTogether) {
    const std::string page = page_of("m");
    std::size_t heads = 0;
    for (std::size_t at = page.find("# TYPE vllm:"); at != std::string::npos;
         at = page.find("# TYPE vllm:", at + 1)) {
        const std::size_t name = at + 7, end = page.find(' ', name);
        const std::string head = page.substr(at, end - at + 1);
        EXPECT_EQ(page.find(head, at + 1), std::string::npos) << head;
        ++heads;
    }
    EXPECT_EQ(heads, 18u);
}

}  // namespace
}  // namespace hearth
