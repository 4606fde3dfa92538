// Metrics: a family per name, its series as atomic cells, and prometheus-cpp for the text of them.
#include "common/metrics/metrics.h"

#include <prometheus/check_names.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <mutex>
#include <sstream>

#include "common/base/check.h"
#include "common/metrics/process_metrics.h"

namespace hearth {

namespace buckets {
const std::vector<double> kTtft = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5,
                                   0.75,  1,     2.5,  5,    7.5,  10,   20,   40,  80};
const std::vector<double> kInterToken = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                         0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1,     2.5};
const std::vector<double> kRequest = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10, 15,
                                      20,  30,  40,  50, 60,  120, 240, 480, 960};
const std::vector<double> kQueue = {0.001, 0.005, 0.01, 0.05, 0.1, 0.3, 0.5, 1, 2.5, 5, 10, 30, 60};
const std::vector<double> kOverhead = {50e-6, 100e-6, 200e-6, 500e-6, 1e-3,   2e-3,
                                       5e-3,  10e-3,  25e-3,  50e-3,  100e-3, 500e-3};
const std::vector<double> kStep = {0.5e-3, 1e-3,   2.5e-3, 5e-3,   10e-3, 25e-3,
                                   50e-3,  100e-3, 250e-3, 500e-3, 1,     2.5};
const std::vector<double> kLookup = {10e-6,  50e-6, 100e-6, 250e-6, 500e-6, 1e-3,
                                     2.5e-3, 5e-3,  10e-3,  50e-3,  100e-3};
const std::vector<double> kBytes = {256,       1 << 10, 4 << 10, 16 << 10, 64 << 10,
                                    256 << 10, 1 << 20, 4 << 20, 16 << 20};
const std::vector<double> kTokens = {1,   2,    5,    10,   20,    50,    100,   200,
                                     500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
}  // namespace buckets

struct Histogram::Cell {
    explicit Cell(const std::vector<double>& upper)
        : bounds(upper), counts(std::make_unique<std::atomic<std::uint64_t>[]>(upper.size() + 1)) {}
    const std::vector<double>& bounds;  // Of the family, which outlives its series.
    std::unique_ptr<std::atomic<std::uint64_t>[]> counts;  // A bucket each; the last is +Inf's.
    std::atomic<double> sum{0};
};

void Histogram::observe(double value) const {
    const std::vector<double>& bounds = cell_->bounds;
    const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), value) - bounds.begin();
    cell_->counts[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
    add_to(cell_->sum, value);
}

class Metrics::State {
  public:
    // All series of one name. Another type, help or bounds under one name is our bug: a scrape
    // would sum what does not belong together.
    template <typename Cell>
    struct Family {
        std::string help;
        std::vector<double> bounds;  // Of a histogram.
        std::map<Labels, std::unique_ptr<Cell>> series;
    };
    template <typename Cell>
    using Families = std::map<std::string, Family<Cell>>;

    template <typename Cell>
    Family<Cell>& family(Families<Cell>& known, const std::string& name, const std::string& help,
                         const std::vector<double>& bounds = {}) {
        auto [place, is_new] = known.try_emplace(name);
        if (is_new) {
            CHECK_MSG(prometheus::CheckMetricName(name), name);
            CHECK_MSG(counters.count(name) + gauges.count(name) + histograms.count(name) == 1,
                      name);
            CHECK_MSG(std::is_sorted(bounds.begin(), bounds.end()), name);
            place->second.help = help;
            place->second.bounds = bounds;
        }
        CHECK_MSG(place->second.help == help && place->second.bounds == bounds, name);
        return place->second;
    }

    template <typename Cell, typename... Args>
    static Cell* series(Family<Cell>& family, const Labels& labels, const Args&... args) {
        auto [place, is_new] = family.series.try_emplace(labels);
        if (is_new) {
            for (const auto& label : labels)
                CHECK_MSG(prometheus::CheckLabelName(label.first), label.first);
            place->second = std::make_unique<Cell>(args...);
        }
        return place->second.get();
    }

    std::mutex mutex;
    Families<std::atomic<double>> counters;
    Families<std::atomic<double>> gauges;
    Families<Histogram::Cell> histograms;
};

namespace {

template <typename Cell, typename Fill>
void collect(const std::map<std::string, Cell>& families, prometheus::MetricType type,
             std::vector<prometheus::MetricFamily>& out, const Fill& fill) {
    for (const auto& [name, family] : families) {
        prometheus::MetricFamily& told = out.emplace_back();
        told.name = name;
        told.help = family.help;
        told.type = type;
        for (const auto& [labels, cell] : family.series) {
            prometheus::ClientMetric& metric = told.metric.emplace_back();
            for (const auto& [label, value] : labels) metric.label.push_back({label, value});
            fill(*cell, metric);
        }
    }
}

}  // namespace

Metrics::Metrics() : state_(std::make_unique<State>()) {}
Metrics::~Metrics() = default;

Counter Metrics::counter(const std::string& name, const std::string& help, const Labels& labels) {
    const std::lock_guard lock(state_->mutex);
    Counter handle;
    handle.value_ = State::series(state_->family(state_->counters, name, help), labels, 0.0);
    return handle;
}

Gauge Metrics::gauge(const std::string& name, const std::string& help, const Labels& labels) {
    const std::lock_guard lock(state_->mutex);
    Gauge handle;
    handle.value_ = State::series(state_->family(state_->gauges, name, help), labels, 0.0);
    return handle;
}

Histogram Metrics::histogram(const std::string& name, const std::string& help,
                             const std::vector<double>& bucket_bounds, const Labels& labels) {
    const std::lock_guard lock(state_->mutex);
    auto& family = state_->family(state_->histograms, name, help, bucket_bounds);
    Histogram handle;
    handle.cell_ = State::series(family, labels, family.bounds);
    return handle;
}

std::string Metrics::expose() const {
    using prometheus::ClientMetric;
    using prometheus::MetricType;
    std::vector<prometheus::MetricFamily> families;
    {
        const std::lock_guard lock(state_->mutex);
        collect(state_->counters, MetricType::Counter, families,
                [](const auto& cell, ClientMetric& out) { out.counter.value = cell.load(); });
        collect(state_->gauges, MetricType::Gauge, families,
                [](const auto& cell, ClientMetric& out) { out.gauge.value = cell.load(); });
        collect(state_->histograms, MetricType::Histogram, families,
                [](const auto& cell, ClientMetric& out) {
                    ClientMetric::Histogram& told = out.histogram;
                    for (std::size_t i = 0; i <= cell.bounds.size(); ++i) {
                        told.sample_count += cell.counts[i].load();
                        const double bound = i < cell.bounds.size()
                                                 ? cell.bounds[i]
                                                 : std::numeric_limits<double>::infinity();
                        told.bucket.push_back({told.sample_count, bound});
                    }
                    told.sample_sum = cell.sum.load();
                });
    }
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families);
    return out.str() + process_metrics();
}

}  // namespace hearth
