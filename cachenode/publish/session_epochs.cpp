// SessionEpochs: a list in order of use and an index into it.
#include "cachenode/publish/session_epochs.h"

namespace hearth {

SessionEpoch& SessionEpochs::touch(const SessionKey& key) {
    const auto known = index_.find(key);
    if (known != index_.end()) {
        order_.splice(order_.begin(), order_, known->second);
        return order_.front().second;
    }
    order_.emplace_front(key, SessionEpoch{});
    index_[key] = order_.begin();
    if (order_.size() > capacity_) {
        index_.erase(order_.back().first);
        order_.pop_back();
    }
    return order_.front().second;
}

std::optional<SessionEpoch> SessionEpochs::find(const SessionKey& key) const {
    const auto known = index_.find(key);
    if (known == index_.end()) return std::nullopt;
    return known->second->second;
}

}  // namespace hearth
