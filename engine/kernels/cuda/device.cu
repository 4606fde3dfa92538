// device: the CUDA runtime's answers as Results.
#include "engine/kernels/cuda/device.h"

#include <cuda_runtime.h>

#include <utility>

namespace hearth::engine::cuda {
namespace {

std::string words(cudaError_t error) {
    return std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error);
}

}  // namespace

Result<Device> probe_device() {
    int driver = 0;
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
        return make_error(ErrorCode::kUnsupported, "CUDA driver not found");
    int count = 0;
    const cudaError_t counted = cudaGetDeviceCount(&count);
    if (counted != cudaSuccess) return make_error(ErrorCode::kUnsupported, words(counted));
    if (count == 0) return make_error(ErrorCode::kUnsupported, "the driver finds no device");
    cudaDeviceProp properties;
    const cudaError_t asked = cudaGetDeviceProperties(&properties, 0);
    if (asked != cudaSuccess) return make_error(ErrorCode::kUnsupported, words(asked));
    return Device{properties.name, properties.major, properties.minor, properties.totalGlobalMem};
}

Result<void> synchronize() {
    cudaError_t error = cudaGetLastError();
    if (error == cudaSuccess) error = cudaDeviceSynchronize();
    if (error == cudaSuccess) return {};
    return make_error(ErrorCode::kUnavailable, words(error));
}

Result<Memory> Memory::allocate(std::size_t bytes) {
    void* data = nullptr;
    cudaError_t error = cudaMalloc(&data, bytes);
    if (error != cudaSuccess) return make_error(ErrorCode::kExhausted, words(error));
    Memory memory(data, bytes);
    error = cudaMemset(data, 0, bytes);
    if (error != cudaSuccess) return make_error(ErrorCode::kUnavailable, words(error));
    return Result<Memory>(std::move(memory));
}

Memory::~Memory() {
    if (data_ != nullptr) cudaFree(data_);
}

void Memory::upload(const void* from, std::size_t bytes) {
    CHECK(bytes <= bytes_);
    CHECK(cudaMemcpy(data_, from, bytes, cudaMemcpyHostToDevice) == cudaSuccess);
}

void Memory::download(void* to, std::size_t bytes) const {
    CHECK(bytes <= bytes_);
    CHECK(cudaMemcpy(to, data_, bytes, cudaMemcpyDeviceToHost) == cudaSuccess);
}

}  // namespace hearth::engine::cuda
