// Small blocking and non-blocking loopback sockets for the router's benchmark, and answers read
// from them. Made for speed of measuring, not for strangers' input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::bench {

// Descriptors, or the end of the program with a message: a benchmark that lacks one has no result.
int listen_on(std::uint16_t& port);  // Port 0 = any free one, which is then told.
int connect_to(std::uint16_t port);  // Blocking.
bool can_connect(std::uint16_t port);
bool send_all(int fd, std::string_view bytes);  // False when the peer has gone.
int make_epoll();
void watch(int epoll, int fd, std::uint64_t tag);

[[noreturn]] void die(const std::string& what);

// Follows one HTTP message: its head, then as many body bytes as it says. A chunked body ends where
// its last chunk does, which must come at the end of a read.
class Message {
  public:
    // Takes bytes; true once the message is whole. Nothing may follow it.
    bool take(std::string_view bytes);
    void reset();

    const std::string& head() const { return head_; }
    bool has_head() const { return has_head_; }
    std::uint64_t body_bytes() const { return body_bytes_; }
    std::uint64_t events() const { return events_; }  // Ends of events (an empty line) so far.

  private:
    void read_head();
    void count_events(std::string_view bytes);

    std::string head_;
    bool has_head_ = false;
    bool chunked_ = false;
    std::uint64_t length_ = 0;
    std::uint64_t body_bytes_ = 0;
    std::uint64_t events_ = 0;
    char before_ = 0;   // The last byte of the piece before, for an empty line across two.
    std::string tail_;  // The last bytes of a chunked body.
};

}  // namespace hearth::bench
