// DeviceMetrics: the series that only nodes with a GPU have.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/metrics/metrics.h"
#include "engine/device_figures.h"
#include "engine/kernels/cuda/nvml.h"

namespace hearth {

// Made when the first figures come. One thread.
class DeviceMetrics {
  public:
    // `nvml` may be null: then there is neither temperature nor utilisation.
    DeviceMetrics(Metrics& metrics, const engine::DeviceFigures& first,
                  std::unique_ptr<engine::cuda::Nvml> nvml);
    void show(const engine::DeviceFigures& figures);

  private:
    struct Total {
        Counter counter;
        double seen = 0.0;
        void follow(double total) {
            if (total > seen) counter.add(total - seen);
            if (total > seen) seen = total;
        }
    };
    Total busy_, read_, operations_, passes_, replayed_, restored_, written_;
    Gauge waiting_, temperature_, busy_share_, memory_busy_share_;
    std::map<std::string, Gauge> memory_;  // By use.
    const std::unique_ptr<engine::cuda::Nvml> nvml_;
};

}  // namespace hearth
