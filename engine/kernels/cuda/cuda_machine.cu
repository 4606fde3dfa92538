// CudaMachine: device 0 by way of the CUDA runtime. The driver is opened at run time; without one
// programs start, and make_cuda_machine() says what is missing.
#include <cuda.h>
#include <cudaTypedefs.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/kernels/cuda/launch.h"

namespace hearth::engine::cuda {
namespace {

std::string words(cudaError_t error) {
    return std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error);
}

Result<Device> probe_device() {
    int driver = 0;
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
        return make_error(ErrorCode::kUnsupported, "no CUDA driver on this machine");
    int count = 0;
    if (const cudaError_t counted = cudaGetDeviceCount(&count); counted != cudaSuccess)
        return make_error(ErrorCode::kUnsupported, "no CUDA device: " + words(counted));
    if (count == 0) return make_error(ErrorCode::kUnsupported, "no CUDA device");
    cudaDeviceProp properties;
    if (const cudaError_t asked = cudaGetDeviceProperties(&properties, 0); asked != cudaSuccess)
        return make_error(ErrorCode::kUnsupported, "CUDA device 0: " + words(asked));
    if (properties.major < 8)
        return make_error(ErrorCode::kUnsupported,
                          std::string(properties.name) +
                              ": compute capability below 8.0 has no int8 tensor cores for us");
    char bus_id[32] = "";
    if (cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, 0) != cudaSuccess) bus_id[0] = 0;
    return Device{properties.name,
                  properties.major,
                  properties.minor,
                  properties.multiProcessorCount,
                  properties.totalGlobalMem,
                  properties.sharedMemPerBlockOptin,
                  bus_id};
}

class CudaMachine final : public Machine {
  public:
    static Result<std::unique_ptr<Machine>> make() {
        Result<Device> device = probe_device();
        if (!device) return device.error();
        std::unique_ptr<CudaMachine> machine(new CudaMachine(std::move(device).value()));
        machine->start();
        if (Result<void> ready = machine->finish(); !ready) return ready.error();
        return std::unique_ptr<Machine>(std::move(machine));
    }
    ~CudaMachine() override;

    const Device& device() const override { return device_; }
    Result<std::shared_ptr<std::byte>> allocate(std::size_t bytes, Use use) override;
    std::size_t bytes_used(Use use) const override { return used_[static_cast<std::size_t>(use)]; }
    std::size_t bytes_free() const override;
    Result<std::shared_ptr<std::byte>> allocate_pinned(std::size_t bytes) override;
    Result<void> pin(std::span<std::byte> memory) override;
    void copy(void* to, const void* from, std::size_t bytes, Stream stream) override {
        check("copy", cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, of(stream)));
    }
    void copy_batch(std::span<const Piece> pieces, Stream stream) override;
    void clear(void* at, std::size_t bytes, Stream stream) override {
        check("clear", cudaMemsetAsync(at, 0, bytes, of(stream)));
    }
    void launch_id(int id, const void* arguments, const Grid& grid, Stream stream) override;
    bool tensor_map(TensorMap& map, const std::int8_t* matrix, std::int32_t rows,
                    std::int32_t width, std::int32_t box_rows) override;
    int new_event() override;
    void record(int event, Stream stream) override {
        check("record", cudaEventRecord(events_[static_cast<std::size_t>(event)], of(stream)));
    }
    void wait(Stream stream, int event) override {
        check("wait", cudaStreamWaitEvent(of(stream), events_[static_cast<std::size_t>(event)]));
    }
    Result<void> wait_host(int event) override {
        check("wait", cudaEventSynchronize(events_[static_cast<std::size_t>(event)]));
        return failed_;
    }
    double milliseconds(int from, int to) override;
    void begin_graph() override {
        check("begin graph",
              cudaStreamBeginCapture(of(Stream::kCompute), cudaStreamCaptureModeThreadLocal));
    }
    int end_graph() override;
    void replay(int graph) override {
        check("replay",
              cudaGraphLaunch(graphs_[static_cast<std::size_t>(graph)], of(Stream::kCompute)));
    }
    void drop_graph(int graph) override {
        cudaGraphExec_t& exec = graphs_[static_cast<std::size_t>(graph)];
        check("drop graph", cudaGraphExecDestroy(std::exchange(exec, nullptr)));
    }
    Result<void> finish() override {
        for (const cudaStream_t stream : streams_) check("finish", cudaStreamSynchronize(stream));
        return failed_;
    }

  private:
    explicit CudaMachine(Device device) : device_(std::move(device)) {}
    void start();
    cudaStream_t of(Stream stream) const { return streams_[static_cast<std::size_t>(stream)]; }
    // Remembers what failed first.
    void check(const char* what, cudaError_t error) {
        if (error != cudaSuccess && failed_.ok())
            static_cast<void>(failed_ = make_error(ErrorCode::kUnavailable,
                                                   std::string(what) + ": " + words(error)));
    }

    Device device_;
    Result<void> failed_;
    std::array<cudaStream_t, kStreams> streams_ = {};
    std::array<std::size_t, kUseNames.size()> used_ = {};
    std::vector<cudaEvent_t> events_;
    std::vector<cudaGraphExec_t> graphs_;
    std::vector<LaunchEntry> entries_;
    std::vector<std::span<std::byte>> pinned_;
    PFN_cuTensorMapEncodeTiled_v12000 encode_ = nullptr;
};

void CudaMachine::start() {
    check("device", cudaSetDevice(0));
    for (cudaStream_t& stream : streams_)
        check("stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    entries_.resize(AllKernels::kCount);
    LaunchEntry* to = entries_.data();
    row_entries(to);
    gemm_entries(to + RowKernels::kCount);
    attend_entries(to + RowKernels::kCount + GemmKernels::kCount);
    hopper_entries(to + AllKernels::kCount - HopperKernels::kCount);
    for (const LaunchEntry& entry : entries_) {
        // What a kernel asks for at most is checked when it is launched.
        const cudaError_t set =
            cudaFuncSetAttribute(entry.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(device_.shared_bytes) - 1024);
        check("shared memory", set);
    }
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t asked = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry,
                                                               12000, cudaEnableDefault, &found);
    if (asked == cudaSuccess && found == cudaDriverEntryPointSuccess)
        encode_ = reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(entry);
}

CudaMachine::~CudaMachine() {
    for (const cudaStream_t stream : streams_) cudaStreamSynchronize(stream);
    for (const std::span<std::byte> memory : pinned_) cudaHostUnregister(memory.data());
    for (const cudaGraphExec_t graph : graphs_)
        if (graph != nullptr) cudaGraphExecDestroy(graph);
    for (const cudaEvent_t event : events_) cudaEventDestroy(event);
    for (const cudaStream_t stream : streams_) cudaStreamDestroy(stream);
}

Result<std::shared_ptr<std::byte>> CudaMachine::allocate(std::size_t bytes, Use use) {
    const auto at = static_cast<std::size_t>(use);
    void* memory = nullptr;
    if (const cudaError_t error = cudaMalloc(&memory, bytes); error != cudaSuccess) {
        cudaGetLastError();  // Not sticky; the next launch must not be taken for the culprit.
        return make_error(ErrorCode::kExhausted, "CUDA: " + std::to_string(bytes) + " bytes of " +
                                                     kUseNames[at] + ": " + words(error));
    }
    used_[at] += bytes;
    check("clear", cudaMemsetAsync(memory, 0, bytes, of(Stream::kCompute)));
    return std::shared_ptr<std::byte>(static_cast<std::byte*>(memory), [=, this](std::byte* p) {
        used_[at] -= bytes;
        cudaFree(p);  // Waits for what the device is doing.
    });
}

std::size_t CudaMachine::bytes_free() const {
    std::size_t free = 0, all = 0;
    return cudaMemGetInfo(&free, &all) == cudaSuccess ? free : 0;
}

Result<std::shared_ptr<std::byte>> CudaMachine::allocate_pinned(std::size_t bytes) {
    void* memory = nullptr;
    if (const cudaError_t error = cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
        error != cudaSuccess) {
        cudaGetLastError();
        return make_error(ErrorCode::kExhausted,
                          "CUDA: " + std::to_string(bytes) + " bytes pinned: " + words(error));
    }
    return std::shared_ptr<std::byte>(static_cast<std::byte*>(memory),
                                      [](std::byte* p) { cudaFreeHost(p); });
}

Result<void> CudaMachine::pin(std::span<std::byte> memory) {
    if (memory.empty()) return {};
    const cudaError_t error =
        cudaHostRegister(memory.data(), memory.size(), cudaHostRegisterDefault);
    if (error != cudaSuccess) {
        cudaGetLastError();
        return make_error(ErrorCode::kExhausted, "CUDA: pinning " + std::to_string(memory.size()) +
                                                     " bytes: " + words(error));
    }
    pinned_.push_back(memory);
    return {};
}

void CudaMachine::copy_batch(std::span<const Piece> pieces, Stream stream) {
    if (pieces.empty()) return;
#if CUDART_VERSION >= 13000
    std::vector<void*> to;
    std::vector<const void*> from;
    std::vector<std::size_t> sizes;
    for (const Piece& piece : pieces) {
        to.push_back(piece.to);
        from.push_back(piece.from);
        sizes.push_back(piece.bytes);
    }
    cudaMemcpyAttributes attributes = {};
    attributes.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
    attributes.flags = cudaMemcpyFlagPreferOverlapWithCompute;
    std::size_t first = 0;
    check("batch of copies",
          cudaMemcpyBatchAsync(to.data(), from.data(), sizes.data(), pieces.size(), &attributes,
                               &first, 1, of(stream)));
#else
    for (const Piece& piece : pieces) copy(piece.to, piece.from, piece.bytes, stream);
#endif
}

void CudaMachine::launch_id(int id, const void* arguments, const Grid& grid, Stream stream) {
    const LaunchEntry& entry = entries_[static_cast<std::size_t>(id)];
    void* parameters[] = {const_cast<void*>(arguments)};
    check("launch",
          cudaLaunchKernel(entry.function,
                           dim3(static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                                static_cast<unsigned>(grid.z)),
                           dim3(static_cast<unsigned>(entry.threads)), parameters, grid.shared,
                           of(stream)));
}

bool CudaMachine::tensor_map(TensorMap& map, const std::int8_t* matrix, std::int32_t rows,
                             std::int32_t width, std::int32_t box_rows) {
    static_assert(sizeof(TensorMap) == sizeof(CUtensorMap));
    if (encode_ == nullptr || width % 16 != 0) return false;
    const cuuint64_t sizes[] = {static_cast<cuuint64_t>(width), static_cast<cuuint64_t>(rows)};
    const cuuint64_t strides[] = {static_cast<cuuint64_t>(width)};
    const cuuint32_t box[] = {kTileRowBytes, static_cast<cuuint32_t>(box_rows)};
    const cuuint32_t steps[] = {1, 1};
    // Bytes as they are: unsigned or signed is all one to a copy. Beyond the matrix come zeros.
    return encode_(reinterpret_cast<CUtensorMap*>(&map), CU_TENSOR_MAP_DATA_TYPE_UINT8, 2,
                   const_cast<std::int8_t*>(matrix), sizes, strides, box, steps,
                   CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                   CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

int CudaMachine::new_event() {
    cudaEvent_t event = nullptr;
    check("event", cudaEventCreate(&event));
    events_.push_back(event);
    return static_cast<int>(events_.size()) - 1;
}

double CudaMachine::milliseconds(int from, int to) {
    float ms = 0.0f;
    check("time", cudaEventElapsedTime(&ms, events_[static_cast<std::size_t>(from)],
                                       events_[static_cast<std::size_t>(to)]));
    return ms;
}

int CudaMachine::end_graph() {
    cudaGraph_t graph = nullptr;
    check("end graph", cudaStreamEndCapture(of(Stream::kCompute), &graph));
    if (graph == nullptr) return -1;
    cudaGraphExec_t exec = nullptr;
    check("make graph", cudaGraphInstantiate(&exec, graph, 0));
    check("drop graph", cudaGraphDestroy(graph));
    if (exec == nullptr) return -1;
    graphs_.push_back(exec);
    return static_cast<int>(graphs_.size()) - 1;
}

}  // namespace

Result<std::unique_ptr<Machine>> make_cuda_machine() {
    return CudaMachine::make();
}

}  // namespace hearth::engine::cuda
