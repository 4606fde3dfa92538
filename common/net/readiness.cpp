// Readiness: one epoll_wait() a turn for all that is ready, and who goes on after it.
#include "common/net/readiness.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "common/base/check.h"

namespace hearth {
namespace {

constexpr std::size_t kEventsMax = 256;  // More are heard in the next turn.

}  // namespace

asio::io_context::id Readiness::id;

Readiness::Readiness(asio::io_context& io)
    : asio::io_context::service(io), io_(io), epoll_(::epoll_create1(EPOLL_CLOEXEC)), set_(io) {
    CHECK_MSG(epoll_ >= 0, "no epoll");
    set_.assign(epoll_);
}

Readiness::~Readiness() = default;

void Readiness::shutdown() noexcept {
    while (!members_.empty()) members_.back()->drop();
}

bool Readiness::add(int fd, ReadySocket& socket) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &socket;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) return false;
    socket.member_at_ = members_.size();
    members_.push_back(&socket);
    return true;
}

void Readiness::remove(int fd, ReadySocket& socket) {
    if (socket.due_at_ != ReadySocket::kNone) due_[socket.due_at_] = nullptr;
    socket.due_at_ = ReadySocket::kNone;
    if (socket.member_at_ == ReadySocket::kNone) return;
    // Asked for, since the socket may live on in a child process.
    epoll_event unused{};
    ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, &unused);
    members_.back()->member_at_ = socket.member_at_;
    members_[socket.member_at_] = members_.back();
    members_.pop_back();
    socket.member_at_ = ReadySocket::kNone;
}

void Readiness::call(ReadySocket& socket) {
    if (socket.due_at_ != ReadySocket::kNone) return;
    socket.due_at_ = due_.size();
    due_.push_back(&socket);
    if (in_turn_ || std::exchange(posted_, true)) return;
    asio::post(io_, [this] {
        posted_ = false;
        go_on();
    });
}

void Readiness::begin_wait() {
    ++waits_;
    if (!armed_ && !in_turn_) arm();
}

void Readiness::arm() {
    armed_ = true;
    set_.async_wait(asio::posix::stream_descriptor::wait_read,
                    [this](const boost::system::error_code&) {
                        armed_ = false;
                        if (waits_ > 0) turn();
                    });
}

void Readiness::turn() {
    std::array<epoll_event, kEventsMax> events;
    const int count = ::epoll_wait(epoll_, events.data(), kEventsMax, 0);
    in_turn_ = true;
    for (int i = 0; i < count; ++i) {
        auto* const socket =
            static_cast<ReadySocket*>(events[static_cast<std::size_t>(i)].data.ptr);
        if (socket->hear(events[static_cast<std::size_t>(i)].events)) call(*socket);
    }
    go_on();
    in_turn_ = false;
    if (waits_ > 0 && !armed_) arm();
}

void Readiness::go_on() {
    const std::size_t count = due_.size();
    for (std::size_t i = 0; i < count; ++i) {
        ReadySocket* const socket = std::exchange(due_[i], nullptr);
        if (socket == nullptr) continue;
        socket->due_at_ = ReadySocket::kNone;
        socket->go_on();
    }
    due_.erase(due_.begin(), due_.begin() + static_cast<std::ptrdiff_t>(count));
    for (std::size_t i = 0; i < due_.size(); ++i)
        if (due_[i] != nullptr) due_[i]->due_at_ = i;
    if (!due_.empty() && !std::exchange(posted_, true)) {
        asio::post(io_, [this] {
            posted_ = false;
            go_on();
        });
    }
    // A loop without work is to end.
    if (waits_ == 0 && armed_) set_.cancel();
}

}  // namespace hearth
