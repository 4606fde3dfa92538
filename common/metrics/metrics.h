// Metrics: counters, gauges and histograms by name, and their text exposition. prometheus-cpp's
// home.
#pragma once

#include <atomic>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace hearth {

// Handles are cheap to copy, never dangle while their Metrics lives, and may be used by any thread.
// They are used several times a request: each is an atomic operation or two, inlined.
// (g++ 12 does not inline the fetch_add() of a floating type.)
inline void add_to(std::atomic<double>& value, double by) {
    double before = value.load(std::memory_order_relaxed);
    while (!value.compare_exchange_weak(before, before + by, std::memory_order_relaxed)) {
    }
}

class Counter {
  public:
    void add(double by = 1.0) const {  // A counter never goes down.
        if (by > 0) add_to(*value_, by);
    }

  private:
    friend class Metrics;
    std::atomic<double>* value_ = nullptr;
};

class Gauge {
  public:
    void set(double value) const { value_->store(value, std::memory_order_relaxed); }
    void add(double by) const { add_to(*value_, by); }

  private:
    friend class Metrics;
    std::atomic<double>* value_ = nullptr;
};

class Histogram {
  public:
    void observe(double value) const;

  private:
    friend class Metrics;
    struct Cell;
    Cell* cell_ = nullptr;
};

using Labels = std::map<std::string, std::string>;

// Bucket sets of the metric catalogue, in seconds unless the name says otherwise.
namespace buckets {
extern const std::vector<double> kTtft, kInterToken, kRequest, kQueue, kOverhead, kStep, kLookup,
    kTokens, kBytes;
}

// Registry of one program (in `hearth up`: of one node or router). A look-up by labels costs
// microseconds: keep the handle. The same name and labels give the same series; a name used with
// another type, help or buckets is our bug and aborts.
class Metrics {
  public:
    Metrics();
    ~Metrics();
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;

    Counter counter(const std::string& name, const std::string& help, const Labels& labels = {});
    Gauge gauge(const std::string& name, const std::string& help, const Labels& labels = {});
    Histogram histogram(const std::string& name, const std::string& help,
                        const std::vector<double>& bucket_bounds, const Labels& labels = {});

    std::string expose() const;  // Prometheus text format 0.0.4; also process_* of this process.

  private:
    class State;
    std::unique_ptr<State> state_;
};

}  // namespace hearth
