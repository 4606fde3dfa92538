// nvml.h: temperature and utilisation of a GPU, where NVIDIA's management library is.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/base/result.h"

namespace hearth::engine::cuda {

struct DeviceSensors {
    double temperature_celsius = 0.0;
    double busy_share = 0.0;         // Of the last sample period, some kernel ran.
    double memory_busy_share = 0.0;  // Of it, device memory was read or written.
};

// libnvidia-ml by dlopen (NVML API reference: nvmlInit_v2, nvmlDeviceGetHandleByPciBusId_v2,
// nvmlDeviceGetTemperature, nvmlDeviceGetUtilizationRates). Any thread; a read takes well under a
// millisecond.
class Nvml {
  public:
    // kUnsupported: no such library, or it knows no device there.
    static Result<std::unique_ptr<Nvml>> open(const std::string& bus_id,
                                              const char* library = "libnvidia-ml.so.1");
    ~Nvml();
    Nvml(const Nvml&) = delete;
    Nvml& operator=(const Nvml&) = delete;

    std::optional<DeviceSensors> read() const;  // Nothing while the driver does not answer.

  private:
    struct Library;
    explicit Nvml(std::unique_ptr<Library> library);
    const std::unique_ptr<Library> library_;
};

}  // namespace hearth::engine::cuda
