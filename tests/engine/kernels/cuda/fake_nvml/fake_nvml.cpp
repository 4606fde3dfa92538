// fake_nvml: NVML of a machine with one GPU, at 0000:17:00.0, whose driver hangs once it is asked
// for the fourth time. For nvml_test.
#include <cstring>

namespace {

constexpr int kInvalidArgument = 2, kNotFound = 6, kUnknown = 999;  // As NVML numbers them.
int device, starts, reads;

}  // namespace

extern "C" {

int nvmlInit_v2() {
    ++starts;
    return 0;
}
int nvmlShutdown() {
    --starts;
    return 0;
}
int fake_nvml_starts() {
    return starts;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** handle) {
    if (std::strcmp(bus_id, "0000:17:00.0") != 0) return kNotFound;
    *handle = &device;
    return 0;
}

int nvmlDeviceGetTemperature(void* handle, int sensor, unsigned* celsius) {
    if (handle != &device || sensor != 0) return kInvalidArgument;
    *celsius = 61;
    return ++reads > 3 ? kUnknown : 0;
}

int nvmlDeviceGetUtilizationRates(void* handle, unsigned* rates) {
    if (handle != &device) return kInvalidArgument;
    rates[0] = 83;
    rates[1] = 40;
    return 0;
}

}  // extern "C"
