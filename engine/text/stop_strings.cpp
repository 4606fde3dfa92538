// Streaming search for several stop strings (Knuth, Morris, Pratt 1977).
#include "engine/text/stop_strings.h"

#include <algorithm>
#include <utility>

namespace hearth::engine {
namespace {

std::size_t advance(const std::string& stop, const std::vector<std::size_t>& failure,
                    std::size_t seen, char c) {
    while (seen > 0 && stop[seen] != c) seen = failure[seen - 1];
    return stop[seen] == c ? seen + 1 : 0;
}

}  // namespace

StopMatcher::StopMatcher(const std::vector<std::string>& stops) {
    for (const std::string& stop : stops) {
        if (stop.empty()) continue;
        Automaton automaton;
        automaton.stop = stop;
        automaton.failure.assign(stop.size(), 0);
        for (std::size_t i = 1; i < stop.size(); ++i) {
            automaton.failure[i] =
                advance(stop, automaton.failure, automaton.failure[i - 1], stop[i]);
        }
        automata_.push_back(std::move(automaton));
    }
}

StopMatcher::Step StopMatcher::add(std::string_view text) {
    if (matched_) return {{}, true};
    for (const char c : text) {
        held_.push_back(c);
        std::size_t found = 0;
        for (Automaton& a : automata_) {
            a.seen = advance(a.stop, a.failure, a.seen, c);
            if (a.seen == a.stop.size()) found = std::max(found, a.seen);
        }
        if (found > 0) {
            matched_ = true;
            held_.resize(held_.size() - found);
            return {std::exchange(held_, {}), true};
        }
    }
    std::size_t keep = 0;
    for (const Automaton& a : automata_) keep = std::max(keep, a.seen);
    Step step;
    step.text = held_.substr(0, held_.size() - keep);
    held_.erase(0, held_.size() - keep);
    return step;
}

std::string StopMatcher::finish() {
    return std::exchange(held_, {});
}

}  // namespace hearth::engine
