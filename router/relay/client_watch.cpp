// watch_client() for the length of a turn.
#include "router/relay/client_watch.h"

namespace hearth {

void ClientWatch::start() {
    if (running_) return;
    running_ = true;
    exchange_.watch_client([this] {
        gone_ = true;
        if (upstream_ != nullptr) upstream_->abort();
        if (const auto call = std::exchange(on_gone_, nullptr)) call();
    });
}

void ClientWatch::end() {
    if (running_) exchange_.unwatch_client();
    running_ = gone_ = false;
    upstream_ = nullptr;
    on_gone_ = nullptr;
}

}  // namespace hearth
