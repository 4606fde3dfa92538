// Series of nodes with a GPU: there with the first figures, absent without.
#include "cachenode/device_metrics.h"

#include <gtest/gtest.h>

#include "cachenode/metrics.h"

namespace hearth {
namespace {

double value(const std::string& page, const std::string& series) {
    const std::size_t at = ("\n" + page).find("\n" + series + " ");
    EXPECT_NE(at, std::string::npos) << series;
    return at == std::string::npos ? -1 : std::stod(page.substr(at + series.size() + 1));
}

engine::DeviceFigures figures() {
    engine::DeviceFigures f;
    f.name = "H200";
    f.bus_id = "0000:17:00.0";
    f.memory_bytes = 141'000'000'000;
    f.memory = {{"weights", 8'000'000'000}, {"pages", 100'000'000'000}};
    f.busy_seconds = 2.5;
    f.read_bytes = 10'000'000'000;
    f.operations = 5e14;
    f.passes = 100;
    f.replayed = 90;
    f.restored_bytes = 4096;
    f.written_bytes = 512;
    f.copies_waiting = 7;
    return f;
}

TEST(DeviceMetrics, AreAbsentWithoutADevice) {
    NodeMetrics metrics({"m", "cpu-avx2", 160});
    EXPECT_EQ(metrics.expose({}, NodeState::kReady, true).find("hearth_device_"),
              std::string::npos);
}

TEST(DeviceMetrics, FollowTheBackendsTotals) {
    NodeMetrics metrics({"m", "cuda-sm90", 160});
    SchedulerStats stats;
    stats.device = figures();
    metrics.expose(stats, NodeState::kReady, true);
    stats.device->busy_seconds = 4.0;
    stats.device->passes = 110;
    stats.device->memory[1].bytes = 1;
    stats.device->copies_waiting = 0;
    const std::string page = metrics.expose(stats, NodeState::kReady, true);
    EXPECT_EQ(value(page, R"(hearth_device_memory_capacity_bytes{chip="H200"})"), 141e9);
    EXPECT_EQ(value(page, R"(hearth_device_memory_bytes{use="weights"})"), 8e9);
    EXPECT_EQ(value(page, R"(hearth_device_memory_bytes{use="pages"})"), 1);
    EXPECT_EQ(value(page, "hearth_device_busy_seconds_total"), 4);
    EXPECT_EQ(value(page, "hearth_device_read_bytes_total"), 1e10);
    EXPECT_EQ(value(page, "hearth_device_operations_total"), 5e14);
    EXPECT_EQ(value(page, R"(hearth_device_passes_total{kind="launched"})"), 20);
    EXPECT_EQ(value(page, R"(hearth_device_passes_total{kind="replayed"})"), 90);
    EXPECT_EQ(value(page, R"(hearth_device_moved_bytes_total{direction="to_device"})"), 4096);
    EXPECT_EQ(value(page, R"(hearth_device_moved_bytes_total{direction="to_host"})"), 512);
    EXPECT_EQ(value(page, "hearth_device_copies_waiting"), 0);
}

}  // namespace
}  // namespace hearth
