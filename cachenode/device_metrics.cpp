// DeviceMetrics: names and helps. Rates over busy seconds are what the device achieved in steps.
#include "cachenode/device_metrics.h"

#include <utility>

namespace hearth {

DeviceMetrics::DeviceMetrics(Metrics& metrics, const engine::DeviceFigures& first,
                             std::unique_ptr<engine::cuda::Nvml> nvml)
    : nvml_(std::move(nvml)) {
    metrics
        .gauge("hearth_device_memory_capacity_bytes", "Memory of the GPU that this node uses.",
               {{"chip", first.name}})
        .set(static_cast<double>(first.memory_bytes));
    for (const engine::DeviceFigures::Use& use : first.memory)
        memory_[use.name] = metrics.gauge("hearth_device_memory_bytes",
                                          "GPU memory that this node took, by what it is for.",
                                          {{"use", use.name}});
    busy_.counter = metrics.counter("hearth_device_busy_seconds_total",
                                    "Time in the engine's passes, by the GPU's clock.");
    read_.counter =
        metrics.counter("hearth_device_read_bytes_total",
                        "Weights and KV that passes read from GPU memory; over busy seconds this "
                        "is the bandwidth reached.");
    operations_.counter = metrics.counter(
        "hearth_device_operations_total",
        "Operations of tensor cores, two a product; over busy seconds this is the rate reached.");
    constexpr const char* kPasses = "hearth_device_passes_total";
    constexpr const char* kPassesHelp = "Passes through the model: replayed graphs, or launches.";
    passes_.counter = metrics.counter(kPasses, kPassesHelp, {{"kind", "launched"}});
    replayed_.counter = metrics.counter(kPasses, kPassesHelp, {{"kind", "replayed"}});
    constexpr const char* kMoved = "hearth_device_moved_bytes_total";
    constexpr const char* kMovedHelp = "KV between host and GPU memory, by direction.";
    restored_.counter = metrics.counter(kMoved, kMovedHelp, {{"direction", "to_device"}});
    written_.counter = metrics.counter(kMoved, kMovedHelp, {{"direction", "to_host"}});
    waiting_ = metrics.gauge("hearth_device_copies_waiting",
                             "Pages that the last pass had to wait for from the host.");
    if (nvml_ == nullptr) return;
    temperature_ = metrics.gauge("hearth_device_temperature_celsius", "Of the GPU's chip.");
    constexpr const char* kBusy = "hearth_device_utilization_ratio";
    constexpr const char* kBusyHelp =
        "Share of the last sample in which some kernel ran, or memory was used (NVML).";
    busy_share_ = metrics.gauge(kBusy, kBusyHelp, {{"part", "chip"}});
    memory_busy_share_ = metrics.gauge(kBusy, kBusyHelp, {{"part", "memory"}});
}

void DeviceMetrics::show(const engine::DeviceFigures& figures) {
    for (const engine::DeviceFigures::Use& use : figures.memory)
        memory_.at(use.name).set(static_cast<double>(use.bytes));
    busy_.follow(figures.busy_seconds);
    read_.follow(static_cast<double>(figures.read_bytes));
    operations_.follow(figures.operations);
    passes_.follow(static_cast<double>(figures.passes - figures.replayed));
    replayed_.follow(static_cast<double>(figures.replayed));
    restored_.follow(static_cast<double>(figures.restored_bytes));
    written_.follow(static_cast<double>(figures.written_bytes));
    waiting_.set(static_cast<double>(figures.copies_waiting));
    if (nvml_ == nullptr) return;
    const auto sensors = nvml_->read();
    if (!sensors) return;
    temperature_.set(sensors->temperature_celsius);
    busy_share_.set(sensors->busy_share);
    memory_busy_share_.set(sensors->memory_busy_share);
}

}  // namespace hearth
