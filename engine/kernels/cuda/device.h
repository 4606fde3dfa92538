// device.h: is there a CUDA device, and memory on it. No CUDA header is needed to include this.
#pragma once

#include <cstddef>
#include <string>

#include "common/base/result.h"

namespace hearth::engine::cuda {

struct Device {
    std::string name;
    int major = 0, minor = 0;  // Compute capability.
    std::size_t memory_bytes = 0;
};

// Device 0. kUnsupported with the driver's own words when there is no driver or no device.
Result<Device> probe_device();

// Waits for all work given to the device; the first error since the last call, if there was one.
Result<void> synchronize();

// Memory on device 0, zeroed. One owner. Running out of it is kExhausted.
class Memory {
  public:
    static Result<Memory> allocate(std::size_t bytes);
    Memory(Memory&& other) noexcept : data_(other.data_), bytes_(other.bytes_) {
        other.data_ = nullptr;
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory();

    template <typename T>
    T* as() const {
        return static_cast<T*>(data_);
    }
    // Blocking copies of the first `bytes` bytes.
    void upload(const void* from, std::size_t bytes);
    void download(void* to, std::size_t bytes) const;

  private:
    Memory(void* data, std::size_t bytes) : data_(data), bytes_(bytes) {}
    void* data_;
    std::size_t bytes_;
};

}  // namespace hearth::engine::cuda
