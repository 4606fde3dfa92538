// machine.h: what the backend asks of a device: memory, copies, streams, graphs, launches. No CUDA
// header is needed to include this.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "common/base/result.h"
#include "engine/kernels/cuda/kv_kernels.h"

namespace hearth::engine::cuda {

struct Device {
    std::string name;
    int major = 0, minor = 0;  // Compute capability.
    int multiprocessors = 0;
    std::size_t memory_bytes = 0;
    std::size_t shared_bytes = 0;  // Most that one block may have.
    std::string bus_id = {};       // "0000:17:00.0"
};

// What device memory is used for.
enum class Use { kWeights, kPages, kActivations, kTables };
constexpr std::array<const char*, 4> kUseNames = {"weights", "pages", "activations", "tables"};

// Work on a stream is done in order; streams run beside each other unless one waits for an event.
enum class Stream { kCompute, kRestore, kWriteBehind };
constexpr int kStreams = 3;

// A tile of a row-major byte matrix as the copy engine (TMA) is told of it: 128 bytes by box_rows,
// swizzled as mma_layout.h says. Opaque; made by Machine::tensor_map().
struct alignas(64) TensorMap {
    std::array<std::uint64_t, 16> opaque = {};
};

// One owner thread. Calls that return nothing are remembered when they fail: the next finish() says
// what failed first, and from then on nothing is done. There are two: cuda_machine.cu, and one in
// the tests that runs the kernels' bodies by loops.
class Machine {
  public:
    virtual ~Machine() = default;
    virtual const Device& device() const = 0;

    // Zeros, on a multiple of 256 bytes. kExhausted says how much was wanted, and for what. The
    // machine outlives what it allocated.
    virtual Result<std::shared_ptr<std::byte>> allocate(std::size_t bytes, Use use) = 0;
    virtual std::size_t bytes_used(Use use) const = 0;
    virtual std::size_t bytes_free() const = 0;  // Of the device, for anybody.
    // Host memory that copies reach at full speed and kernels at all.
    virtual Result<std::shared_ptr<std::byte>> allocate_pinned(std::size_t bytes) = 0;
    // Makes memory of the caller's such memory, until the machine goes.
    virtual Result<void> pin(std::span<std::byte> memory) = 0;

    // Host memory must stay as it is until the copy is done.
    virtual void copy(void* to, const void* from, std::size_t bytes, Stream stream) = 0;
    // Copies from host to device or back in one call (cudaMemcpyBatchAsync where there is one).
    virtual void copy_batch(std::span<const Piece> pieces, Stream stream) = 0;
    virtual void clear(void* at, std::size_t bytes, Stream stream) = 0;

    // Runs kernel `id` of kernel_list.h with `arguments`; launch() there is the typed way.
    virtual void launch_id(int id, const void* arguments, const Grid& grid, Stream stream) = 0;
    virtual bool tensor_map(TensorMap& map, const std::int8_t* matrix, std::int32_t rows,
                            std::int32_t width, std::int32_t box_rows) = 0;

    virtual int new_event() = 0;
    virtual void record(int event, Stream stream) = 0;
    virtual void wait(Stream stream, int event) = 0;
    // Until the event has come; milliseconds between two that have.
    virtual Result<void> wait_host(int event) = 0;
    virtual double milliseconds(int from, int to) = 0;

    // Between the two calls work given to kCompute, and to streams that wait for it, is recorded
    // and not done. Returns the graph, or -1 if recording failed.
    virtual void begin_graph() = 0;
    virtual int end_graph() = 0;
    virtual void replay(int graph) = 0;
    virtual void drop_graph(int graph) = 0;

    // Until everything given so far is done, or what failed first.
    virtual Result<void> finish() = 0;
};

// The machine of CUDA device 0. kUnsupported where build, driver or device is missing; the message
// says which.
Result<std::unique_ptr<Machine>> make_cuda_machine();

}  // namespace hearth::engine::cuda
