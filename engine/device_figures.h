// device_figures.h: what a backend with memory of its own says of itself, for metrics.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hearth::engine {

// Totals are of the engine's life.
struct DeviceFigures {
    struct Use {
        const char* name;  // weights, pages, activations, tables
        std::int64_t bytes;
    };
    std::string name;               // Of the chip.
    std::string bus_id;             // "0000:17:00.0"; empty = unknown.
    std::int64_t memory_bytes = 0;  // That the device has.
    std::vector<Use> memory;        // Of it, what this engine took.

    double busy_seconds = 0.0;        // In passes, by the device's clock.
    std::int64_t read_bytes = 0;      // Weights and KV that passes read from device memory.
    double operations = 0.0;          // Of tensor cores, two a product.
    std::int64_t passes = 0;          // All, and
    std::int64_t replayed = 0;        // those that replayed a graph.
    std::int64_t restored_bytes = 0;  // Pages that came from the host,
    std::int64_t written_bytes = 0;   // rows that were written behind to it.
    std::int64_t copies_waiting = 0;  // Pages that the last pass had to wait for.
};

}  // namespace hearth::engine
