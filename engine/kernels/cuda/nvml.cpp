// Nvml: five functions of a library that only machines with a driver have.
#include "engine/kernels/cuda/nvml.h"

#include <dlfcn.h>

#include <utility>

namespace hearth::engine::cuda {
namespace {

constexpr int kTemperatureOfChip = 0;  // NVML_TEMPERATURE_GPU

struct Utilization {  // nvmlUtilization_t, in percent.
    unsigned gpu = 0, memory = 0;
};

}  // namespace

struct Nvml::Library {
    void* handle = nullptr;
    void* device = nullptr;
    int (*shutdown)() = nullptr;
    int (*temperature)(void* device, int sensor, unsigned* celsius) = nullptr;
    int (*utilization)(void* device, Utilization* rates) = nullptr;

    ~Library() {
        if (shutdown != nullptr) shutdown();
        if (handle != nullptr) dlclose(handle);
    }
    template <typename F>
    bool find(F& function, const char* name) const {
        function = reinterpret_cast<F>(dlsym(handle, name));
        return function != nullptr;
    }
};

Nvml::Nvml(std::unique_ptr<Library> library) : library_(std::move(library)) {}
Nvml::~Nvml() = default;

Result<std::unique_ptr<Nvml>> Nvml::open(const std::string& bus_id, const char* library) {
    const auto missing = [&](const std::string& what) {
        return make_error(ErrorCode::kUnsupported, std::string(library) + ": " + what);
    };
    auto found = std::make_unique<Library>();
    found->handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (found->handle == nullptr) return missing("cannot be opened");
    int (*init)() = nullptr;
    int (*by_bus_id)(const char* bus_id, void** device) = nullptr;
    int (*shutdown)() = nullptr;
    if (!found->find(init, "nvmlInit_v2") || !found->find(shutdown, "nvmlShutdown") ||
        !found->find(by_bus_id, "nvmlDeviceGetHandleByPciBusId_v2") ||
        !found->find(found->temperature, "nvmlDeviceGetTemperature") ||
        !found->find(found->utilization, "nvmlDeviceGetUtilizationRates"))
        return missing("lacks a function");
    if (const int error = init(); error != 0)
        return missing("does not start, error " + std::to_string(error));
    found->shutdown = shutdown;  // From here on it is owed.
    if (const int error = by_bus_id(bus_id.c_str(), &found->device); error != 0)
        return missing("knows no device '" + bus_id + "', error " + std::to_string(error));
    return std::unique_ptr<Nvml>(new Nvml(std::move(found)));
}

std::optional<DeviceSensors> Nvml::read() const {
    unsigned celsius = 0;
    Utilization rates;
    if (library_->temperature(library_->device, kTemperatureOfChip, &celsius) != 0) return {};
    if (library_->utilization(library_->device, &rates) != 0) return {};
    return DeviceSensors{static_cast<double>(celsius), rates.gpu / 100.0, rates.memory / 100.0};
}

}  // namespace hearth::engine::cuda
