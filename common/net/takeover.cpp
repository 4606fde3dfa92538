// Takeover: sockets over a Unix socket, and one byte that says when.
#include "common/net/takeover.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "common/base/log.h"

namespace hearth {
namespace {

using boost::system::error_code;
using Unix = asio::local::stream_protocol;

constexpr std::size_t kListenersMax = 4;
constexpr std::chrono::seconds kAnswerWithin{5};
// A successor that has our sockets but does not serve yet: it may wait for its nodes.
constexpr std::chrono::seconds kReadyWithin{60};
constexpr char kTakeThese = 'L';
constexpr char kReady = 'R';

using Control = std::array<char, CMSG_SPACE(sizeof(int) * kListenersMax)>;

bool same_user(int link) {
    ucred peer{};
    socklen_t size = sizeof peer;
    return ::getsockopt(link, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           peer.uid == ::geteuid();
}

bool send_listeners(int link, const std::vector<int>& listeners) {
    char mark = kTakeThese;
    iovec bytes{&mark, 1};
    alignas(cmsghdr) Control control{};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(sizeof(int) * listeners.size());
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * listeners.size());
    std::memcpy(CMSG_DATA(head), listeners.data(), sizeof(int) * listeners.size());
    return ::sendmsg(link, &message, MSG_NOSIGNAL) == 1;
}

std::vector<int> receive_listeners(int link) {
    char mark = 0;
    iovec bytes{&mark, 1};
    alignas(cmsghdr) Control control{};
    msghdr message{};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    std::vector<int> listeners;
    if (::recvmsg(link, &message, MSG_CMSG_CLOEXEC) != 1) return listeners;
    const cmsghdr* const head = CMSG_FIRSTHDR(&message);
    if (head == nullptr || head->cmsg_type != SCM_RIGHTS) return listeners;
    listeners.resize((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(listeners.data(), CMSG_DATA(head), sizeof(int) * listeners.size());
    return listeners;
}

Error door_error(const std::string& path, const std::string& why) {
    return make_error(ErrorCode::kUnavailable, "takeover at " + path + ": " + why);
}

}  // namespace

Result<std::unique_ptr<Predecessor>> Predecessor::ask(const std::string& path) {
    sockaddr_un address{};
    if (path.size() >= sizeof address.sun_path) return door_error(path, "the path is too long");
    address.sun_family = AF_UNIX;
    std::copy(path.begin(), path.end(), address.sun_path);
    const int link = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link < 0) return door_error(path, std::strerror(errno));
    std::unique_ptr<Predecessor> made(new Predecessor(link));
    const timeval limit{kAnswerWithin.count(), 0};
    ::setsockopt(link, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(link, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (::connect(link, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        if (errno == ENOENT || errno == ECONNREFUSED) return std::unique_ptr<Predecessor>();
        return door_error(path, std::strerror(errno));
    }
    if (!same_user(link)) return door_error(path, "it is another user's");
    made->listeners_ = receive_listeners(link);
    if (made->listeners_.empty())
        return door_error(path, "the process there handed over no socket");
    return made;
}

Predecessor::~Predecessor() {
    ::close(link_);
}

void Predecessor::retire() {
    const char ready = kReady;
    if (::send(link_, &ready, 1, MSG_NOSIGNAL) != 1) log::warn("the predecessor has gone already");
}

struct TakeoverDoor::State {
    explicit State(asio::io_context& io) : acceptor(io), link(io), patience(io) {}
    Unix::acceptor acceptor;
    Unix::socket link;  // To the successor that has our sockets.
    asio::steady_timer patience;
    std::vector<int> listeners;
    std::function<void()> on_taken;
};

TakeoverDoor::TakeoverDoor(asio::io_context& io) : state_(std::make_shared<State>(io)) {}

TakeoverDoor::~TakeoverDoor() {
    close();
}

void TakeoverDoor::close() {
    error_code ignored;
    state_->acceptor.close(ignored);
    state_->link.close(ignored);
    state_->patience.cancel();
    state_->on_taken = nullptr;
    for (const int listener : state_->listeners) ::close(listener);
    state_->listeners.clear();
}

Result<void> TakeoverDoor::open(const std::string& path, std::vector<int> listeners,
                                std::function<void()> on_taken) {
    State& state = *state_;
    // Bound under another name and then renamed, so that there is a door at every moment.
    const std::string fresh = path + "." + std::to_string(::getpid());
    if (fresh.size() >= sizeof(sockaddr_un::sun_path))
        return door_error(path, "the path is too long");
    ::unlink(fresh.c_str());
    error_code ec;
    const mode_t before = ::umask(0177);  // Our user's alone.
    state.acceptor.open(Unix(), ec);
    if (!ec) state.acceptor.bind(Unix::endpoint(fresh), ec);
    ::umask(before);
    if (!ec) state.acceptor.listen(1, ec);
    std::error_code moved;
    if (!ec) std::filesystem::rename(fresh, path, moved);
    if (ec || moved) {
        const std::string why = ec ? ec.message() : moved.message();
        ::unlink(fresh.c_str());
        state.acceptor.close(ec);
        return door_error(path, why);
    }
    for (const int listener : listeners)
        if (const int copy = ::dup(listener); copy >= 0) state.listeners.push_back(copy);
    state.on_taken = std::move(on_taken);
    asio::co_spawn(state.acceptor.get_executor(), serve(state_), [](std::exception_ptr) {});
    return {};
}

Task<void> TakeoverDoor::serve(std::shared_ptr<State> state) {
    bool taken = false;
    while (!taken && state->acceptor.is_open()) {
        error_code ec;
        state->link =
            co_await state->acceptor.async_accept(asio::redirect_error(asio::use_awaitable, ec));
        if (ec == asio::error::operation_aborted || !state->acceptor.is_open()) break;
        if (ec) {  // Out of descriptors: not at once again.
            state->patience.expires_after(kAnswerWithin);
            co_await state->patience.async_wait(asio::redirect_error(asio::use_awaitable, ec));
            continue;
        }
        taken = co_await hand_over(state);
        state->link.close(ec);
    }
    if (taken && state->on_taken) std::exchange(state->on_taken, nullptr)();
}

// True when the successor serves.
Task<bool> TakeoverDoor::hand_over(std::shared_ptr<State> state) {
    if (!same_user(state->link.native_handle()) ||
        !send_listeners(state->link.native_handle(), state->listeners)) {
        log::warn("a takeover was refused: another user, or the link broke");
        co_return false;
    }
    log::info("a successor has the listening sockets");
    state->patience.expires_after(kReadyWithin);
    state->patience.async_wait([state](const error_code& stopped) {
        error_code ignored;
        if (!stopped) state->link.close(ignored);
    });
    char mark = 0;
    error_code ec;
    co_await state->link.async_read_some(asio::buffer(&mark, 1),
                                         asio::redirect_error(asio::use_awaitable, ec));
    state->patience.cancel();
    if (!ec && mark == kReady) co_return true;
    log::warn("the successor has gone before it served; this process goes on");
    co_return false;
}

}  // namespace hearth
