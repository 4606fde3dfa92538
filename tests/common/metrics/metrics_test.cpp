// Metrics: what a scrape sees of counters, gauges and histograms, and the process's own figures.
#include "common/metrics/metrics.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "common/base/clock.h"

namespace hearth {
namespace {

// Samples by "name{labels}"; fails the test on a line that the text format does not allow.
std::map<std::string, double> samples_of(const std::string& text) {
    std::map<std::string, double> samples;
    std::set<std::string> typed;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string hash, kind, name;
        if (line.starts_with("# ")) {
            words >> hash >> kind >> name;
            if (kind == "TYPE") {
                EXPECT_TRUE(typed.insert(name).second) << "two TYPEs: " << name;
            }
            continue;
        }
        const auto space = line.rfind(' ');
        if (space == std::string::npos) {
            ADD_FAILURE() << "no value: " << line;
            continue;
        }
        std::string family = line.substr(0, line.find_first_of("{ "));
        for (const char* suffix : {"_bucket", "_sum", "_count"})
            if (!typed.count(family) && family.ends_with(suffix))
                family.resize(family.size() - std::string(suffix).size());
        EXPECT_TRUE(typed.count(family)) << "no TYPE before " << line;
        EXPECT_TRUE(samples.emplace(line.substr(0, space), std::stod(line.substr(space))).second)
            << "twice: " << line;
    }
    return samples;
}

TEST(Metrics, CountersAndGauges) {
    Metrics metrics;
    const Counter hits = metrics.counter("hearth_hits_total", "Hits.", {{"tier", "host"}});
    hits.add();
    hits.add(2.5);
    hits.add(-5);  // A counter never goes down.
    const Gauge depth = metrics.gauge("hearth_queue_depth", "Waiting.");
    depth.set(7);
    depth.add(-2);
    const std::string text = metrics.expose();
    const auto samples = samples_of(text);
    EXPECT_EQ(samples.at("hearth_hits_total{tier=\"host\"}"), 3.5);
    EXPECT_EQ(samples.at("hearth_queue_depth"), 5);
    EXPECT_NE(text.find("# HELP hearth_hits_total Hits.\n# TYPE hearth_hits_total counter\n"),
              std::string::npos);
}

TEST(Metrics, HistogramBucketsAddUp) {
    Metrics metrics;
    const Histogram h = metrics.histogram("hearth_wait_seconds", "Wait.", {0.1, 1, 10});
    for (const double value : {0.05, 0.1, 0.5, 5.0, 50.0}) h.observe(value);
    const auto samples = samples_of(metrics.expose());
    EXPECT_EQ(samples.at("hearth_wait_seconds_bucket{le=\"0.1\"}"), 2);  // le: the bound is inside.
    EXPECT_EQ(samples.at("hearth_wait_seconds_bucket{le=\"1\"}"), 3);
    EXPECT_EQ(samples.at("hearth_wait_seconds_bucket{le=\"10\"}"), 4);
    EXPECT_EQ(samples.at("hearth_wait_seconds_bucket{le=\"+Inf\"}"), 5);
    EXPECT_EQ(samples.at("hearth_wait_seconds_count"), 5);
    EXPECT_DOUBLE_EQ(samples.at("hearth_wait_seconds_sum"), 55.65);
}

TEST(Metrics, TheSameNameAndLabelsAreTheSameSeries) {
    Metrics metrics;
    metrics.counter("hearth_x_total", "X.", {{"a", "1"}}).add();
    metrics.counter("hearth_x_total", "X.", {{"a", "1"}}).add();
    metrics.counter("hearth_x_total", "X.", {{"a", "2"}}).add();
    const auto samples = samples_of(metrics.expose());
    EXPECT_EQ(samples.at("hearth_x_total{a=\"1\"}"), 2);
    EXPECT_EQ(samples.at("hearth_x_total{a=\"2\"}"), 1);
}

TEST(Metrics, TwoRegistriesDoNotMix) {
    Metrics a, b;
    a.counter("hearth_x_total", "X.").add();
    b.counter("hearth_x_total", "Another.").add(9);
    EXPECT_EQ(samples_of(a.expose()).at("hearth_x_total"), 1);
    EXPECT_EQ(samples_of(b.expose()).at("hearth_x_total"), 9);
}

TEST(Metrics, LabelValuesCannotBreakTheFormat) {
    Metrics metrics;
    metrics.gauge("hearth_y", "Y.", {{"model", "a\"b\\c\nhearth_fake 1"}}).set(1);
    const std::string text = metrics.expose();
    samples_of(text);
    EXPECT_NE(text.find(R"(hearth_y{model="a\"b\\c\nhearth_fake 1"} 1)"), std::string::npos);
    EXPECT_EQ(text.find("\nhearth_fake"), std::string::npos);
}

TEST(Metrics, HandlesAreSafeFromManyThreads) {
    Metrics metrics;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&metrics] {
            for (int i = 0; i < 1000; ++i) {
                metrics.counter("hearth_n_total", "N.", {{"t", std::to_string(i % 4)}}).add();
                metrics.histogram("hearth_h", "H.", buckets::kTokens).observe(i);
                if (i % 100 == 0) {
                    EXPECT_FALSE(metrics.expose().empty());
                }
            }
        });
    for (auto& thread : threads) thread.join();
    const auto samples = samples_of(metrics.expose());
    EXPECT_EQ(samples.at("hearth_n_total{t=\"0\"}"), 1000);
    EXPECT_EQ(samples.at("hearth_h_count"), 4000);
}

TEST(Metrics, BucketSetsAreSorted) {
    for (const auto* set :
         {&buckets::kTtft, &buckets::kInterToken, &buckets::kRequest, &buckets::kQueue,
          &buckets::kOverhead, &buckets::kStep, &buckets::kLookup, &buckets::kTokens}) {
        ASSERT_GT(set->size(), 9u);
        for (std::size_t i = 1; i < set->size(); ++i) EXPECT_LT((*set)[i - 1], (*set)[i]);
    }
    EXPECT_EQ(buckets::kTtft.size(), 19u);
    EXPECT_EQ(buckets::kTtft.front(), 0.001);
    EXPECT_EQ(buckets::kTtft.back(), 80);
}

TEST(MetricsDeathTest, OneNameMeansOneThing) {
    Metrics metrics;
    metrics.counter("hearth_x_total", "X.");
    EXPECT_DEATH(metrics.gauge("hearth_x_total", "X."), "hearth_x_total");
    EXPECT_DEATH(metrics.counter("hearth_x_total", "Y."), "hearth_x_total");
    metrics.histogram("hearth_h", "H.", {1, 2});
    EXPECT_DEATH(metrics.histogram("hearth_h", "H.", {1, 3}, {{"a", "b"}}), "hearth_h");
}

TEST(ProcessMetrics, AgreeWithTheKernel) {
    Metrics metrics;
    const auto before = samples_of(metrics.expose());
    const double now = static_cast<double>(SystemClock::instance().unix_now()) / 1000;
    EXPECT_GE(before.at("process_cpu_seconds_total"), 0);
    EXPECT_GE(before.at("process_threads"), 1);
    EXPECT_LT(before.at("process_start_time_seconds"), now + 2);
    EXPECT_GT(before.at("process_start_time_seconds"), now - 86'400);
    EXPECT_GT(before.at("process_resident_memory_bytes"), 1e6);
    EXPECT_GT(before.at("process_virtual_memory_bytes"),
              before.at("process_resident_memory_bytes"));

    EXPECT_EQ(before.at("process_max_fds"), static_cast<double>(sysconf(_SC_OPEN_MAX)));

    int files[10];
    for (int& file : files) file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    std::vector<char> memory(64 << 20, 'x');
    volatile unsigned work = 0;
    while (samples_of(metrics.expose()).at("process_cpu_seconds_total") <
           before.at("process_cpu_seconds_total") + 0.02)
        for (int i = 0; i < 1'000'000; ++i) work = work + static_cast<unsigned>(i);
    const auto after = samples_of(metrics.expose());
    EXPECT_EQ(after.at("process_open_fds"), before.at("process_open_fds") + 10);
    EXPECT_GT(after.at("process_resident_memory_bytes"),
              before.at("process_resident_memory_bytes") + (32 << 20));
    EXPECT_EQ(after.at("process_start_time_seconds"), before.at("process_start_time_seconds"));
    EXPECT_EQ(memory[memory.size() / 2], 'x');
    for (const int file : files) close(file);
}

}  // namespace
}  // namespace hearth
