// An epoll loop over the clients; requests leave in one call.
#include "tests/bench/router/load.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace hearth::bench {
namespace {

constexpr std::size_t kReadBytes = 256 * 1024;

MonotonicNs now() {
    return SystemClock::instance().now();
}

std::string prompt(std::size_t bytes) {
    std::string body = R"({"model":"bench","stream":false,"messages":[{"role":"user","content":")";
    while (body.size() + 4 < bytes) body += "all work and no play makes jack a dull boy ";
    body.resize(bytes - 4);
    return body + R"("}]})";
}

}  // namespace

Load::Load(Options options)
    : options_(std::move(options)), epoll_(make_epoll()), buffer_(kReadBytes) {
    before_session_ = "POST " + options_.path +
                      " HTTP/1.1\r\nHost: router.example\r\nUser-Agent: bench/1\r\n"
                      "Accept: application/json\r\nAuthorization: Bearer sk-0123456789abcdef\r\n"
                      "X-Session-Id: ";
    after_session_ = "\r\nContent-Type: application/json\r\nContent-Length: " +
                     std::to_string(options_.prompt_bytes) + "\r\n\r\n" +
                     prompt(options_.prompt_bytes);
    clients_.resize(options_.connections);
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        clients_[i].fd = connect_to(options_.port);
        clients_[i].session = "session-" + std::to_string(i);
        watch(epoll_, clients_[i].fd, i);
    }
}

Load::~Load() {
    for (const Client& client : clients_) ::close(client.fd);
    ::close(epoll_);
}

void Load::ask(Client& client) {
    std::string text = before_session_;
    text.append(client.session).append(after_session_);
    client.answer.reset();
    client.events_seen = 0;
    client.asked = now();
    if (!send_all(client.fd, text)) die("the router closed a connection");
}

bool Load::read_some(Client& client, Tally& tally) {
    const ssize_t n = ::recv(client.fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (n <= 0) die("the router closed a connection");
    const bool whole = client.answer.take({buffer_.data(), static_cast<std::size_t>(n)});
    tally.events += client.answer.events() - client.events_seen;
    client.events_seen = client.answer.events();
    if (!whole) return false;
    if (client.answer.head().compare(0, 12, "HTTP/1.1 200") != 0)
        die("unexpected answer: " + client.answer.head());
    ++tally.answers;
    tally.latencies_us.push_back(static_cast<double>(now() - client.asked) * 1e-3);
    return true;
}

Load::Tally Load::run(MonotonicNs duration) {
    Tally tally;
    if (!asking_)
        for (Client& client : clients_) ask(client);
    asking_ = true;
    std::vector<epoll_event> events(256);
    const MonotonicNs end = now() + duration;
    MonotonicNs heard = now();
    while (now() < end) {
        const int n = ::epoll_wait(epoll_, events.data(), 256, 100);
        if (n > 0) heard = now();
        if (now() - heard > 10 * kSecond) die("no answer for 10 s");
        for (int i = 0; i < n; ++i) {
            Client& client = clients_[events[static_cast<std::size_t>(i)].data.u64];
            if (read_some(client, tally)) ask(client);
        }
    }
    return tally;
}

void Load::ask_each_once() {
    Tally unused;
    for (Client& client : clients_) {
        ask(client);
        while (true) {
            // Blocks until something is there; read_some() takes it.
            char byte = 0;
            if (::recv(client.fd, &byte, 1, MSG_PEEK) <= 0) die("the router closed a connection");
            if (read_some(client, unused) || client.answer.events() > 0) break;
        }
    }
}

}  // namespace hearth::bench
