// Metrics over prometheus-cpp: a family per name, handles to its series, text exposition.
#include "common/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

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

namespace {

template <typename T>
struct Family {
    prometheus::Family<T>* family = nullptr;
    std::string help;
    std::vector<double> bounds;  // Of a histogram: the same for all its series, or sums go wrong.
};

}  // namespace

class Metrics::State {
  public:
    prometheus::Registry registry{prometheus::Registry::InsertBehavior::Throw};
    std::mutex mutex;
    std::map<std::string, Family<prometheus::Counter>> counters;
    std::map<std::string, Family<prometheus::Gauge>> gauges;
    std::map<std::string, Family<prometheus::Histogram>> histograms;

    // The family of a name, made on first use. Another type, help or buckets under one name is our
    // bug.
    template <typename T, typename Builder>
    prometheus::Family<T>& family(std::map<std::string, Family<T>>& known, Builder builder,
                                  const std::string& name, const std::string& help,
                                  const std::vector<double>& bounds = {}) {
        auto [place, is_new] = known.try_emplace(name);
        if (is_new) {
            const std::size_t kinds =
                counters.count(name) + gauges.count(name) + histograms.count(name);
            CHECK_MSG(kinds == 1, name);
            place->second = {&builder.Name(name).Help(help).Register(registry), help, bounds};
        }
        CHECK_MSG(place->second.help == help && place->second.bounds == bounds, name);
        return *place->second.family;
    }
};

void Counter::add(double by) const {
    static_cast<prometheus::Counter*>(counter_)->Increment(by);
}
void Gauge::set(double value) const {
    static_cast<prometheus::Gauge*>(gauge_)->Set(value);
}
void Gauge::add(double by) const {
    static_cast<prometheus::Gauge*>(gauge_)->Increment(by);
}
void Histogram::observe(double value) const {
    static_cast<prometheus::Histogram*>(histogram_)->Observe(value);
}

Metrics::Metrics() : state_(std::make_unique<State>()) {}
Metrics::~Metrics() = default;

Counter Metrics::counter(const std::string& name, const std::string& help, const Labels& labels) {
    const std::lock_guard lock(state_->mutex);
    Counter handle;
    handle.counter_ =
        &state_->family(state_->counters, prometheus::BuildCounter(), name, help).Add(labels);
    return handle;
}

Gauge Metrics::gauge(const std::string& name, const std::string& help, const Labels& labels) {
    const std::lock_guard lock(state_->mutex);
    Gauge handle;
    handle.gauge_ =
        &state_->family(state_->gauges, prometheus::BuildGauge(), name, help).Add(labels);
    return handle;
}

Histogram Metrics::histogram(const std::string& name, const std::string& help,
                             const std::vector<double>& bucket_bounds, const Labels& labels) {
    const std::lock_guard lock(state_->mutex);
    Histogram handle;
    handle.histogram_ =
        &state_->family(state_->histograms, prometheus::BuildHistogram(), name, help, bucket_bounds)
             .Add(labels, bucket_bounds);
    return handle;
}

std::string Metrics::expose() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, state_->registry.Collect());
    return out.str() + process_metrics();
}

}  // namespace hearth
