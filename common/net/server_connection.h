// ServerConnection: one client's connection to an HttpServer, and the exchange that is running on
// it.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/net/head_text.h"
#include "common/net/http_server.h"
#include "common/net/tcp_stream.h"

namespace hearth {

// What all connections of a server share. Owned by the server and by each running connection.
struct ServerContext {
    ServerLimits limits;
    HttpHandler handler;
    std::shared_ptr<Deadlines> deadlines;
    std::shared_ptr<const TlsContext> tls;  // Of new connections; null: plain HTTP.
    bool draining = false;

    std::string_view date();  // The Date field value of this second.
    // At most one line a second, since anybody may cause them.
    void log_failed_handshake(const std::string& remote, const Error& error);

  private:
    MonotonicNs handshake_logged_ = 0;
    std::int64_t handshakes_unlogged_ = 0;
    std::time_t date_second_ = 0;
    std::string date_;
};

// Owned by the server's set and by its own coroutine, serve(). One io_context.
// Invariant: the head in the buffer stays in place until the exchange is over.
class ServerConnection final : public ServerExchange {
  public:
    ServerConnection(ServerContext& context, Tcp::socket socket);

    // Reads requests and runs the handler until either side closes. Returns with the socket closed.
    Task<void> serve();

    void close_if_idle();    // Between two requests: closes. One that brought none yet stays.
    void close_if_silent();  // Between two requests or before the first: closes.
    // Nothing was promised to the client yet: it is between two requests or in the middle of a
    // head.
    bool waits_for_request() const { return in_head_ && !evicted_; }
    // When the last answer, or the head that is not whole yet, came. While waits_for_request().
    MonotonicNs waiting_since() const;
    void evict() {
        evicted_ = true;
        stream_.close();
    }
    bool evicted() const { return evicted_; }
    void close() { stream_.close(); }  // Ends every operation.
    void cut();                        // The same, so that half an answer looks like one.
    bool open() const { return stream_.open(); }
    asio::cancellation_signal& cancellation() { return cancellation_; }

    const RequestHead& head() const override { return head_; }
    std::string remote_address() const override;
    Task<Result<std::size_t>> read_body_some(asio::mutable_buffer buffer) override;
    Task<Result<std::string>> read_body(std::size_t limit) override;
    std::string_view take_body() override;
    Task<Result<void>> respond(int status, HeaderList headers, std::string_view body) override;
    Task<Result<void>> respond(int status, const std::vector<HeaderField>& fields,
                               std::string_view body) override;
    bool respond_now(int status, const std::vector<HeaderField>& fields, std::string_view body,
                     Result<void>& sent) override;
    Task<Result<void>> write_rest() override;
    Task<Result<void>> start_stream(int status, HeaderList headers,
                                    std::optional<std::uint64_t> length) override;
    void start_stream(int status, const std::vector<HeaderField>& fields) override;
    Task<Result<void>> write(std::string_view bytes) override;
    bool write_now(std::string_view bytes, Result<void>& sent) override;
    Task<Result<void>> finish_stream() override;
    void abort() override;
    bool answered() const override { return answer_ != Answer::kNone; }
    Task<bool> wait_client_gone() override { return stream_.wait_closed(); }
    void watch_client(std::function<void()> gone) override { stream_.watch(std::move(gone)); }
    void unwatch_client() override { stream_.unwatch(); }

  private:
    enum class Answer { kNone, kStream, kComplete, kAborted };

    Task<bool> shake_hands();
    // What is known of the request whose head is being read.
    struct HeadReading {
        HeadOutcome outcome;
        std::size_t looked_at = 0;  // Bytes.
        MonotonicNs deadline = 0;   // 0 = not a byte has come.
    };
    bool parse_more(HeadReading& reading);
    bool begin_read(HeadReading& reading, Result<std::size_t>& read);
    bool end_read(HeadReading& reading, const Result<std::size_t>& read);
    std::chrono::milliseconds head_wait(MonotonicNs& head_deadline);
    void begin_exchange();
    Task<void> answer_for_handler(bool failed);
    bool may_follow();
    Task<bool> skip_body();
    Task<void> refuse(const HeadError& error);
    Task<void> linger();

    Task<Result<std::size_t>> wait_for_body(asio::mutable_buffer buffer);
    Task<Result<std::size_t>> read_chunked(asio::mutable_buffer buffer);
    Task<Result<void>> send_continue();
    bool body_can_be_skipped() const;
    bool bodiless(int status) const;
    template <typename Fields>
    void format_head(int status, const Fields& headers, std::optional<std::size_t> content_length);
    bool send_answer(std::string_view body, Result<void>& sent);
    bool send_now(const TcpStream::WriteParts& parts, Result<void>& sent);
    Task<Result<void>> sent_or_rest(bool over, Result<void> sent);

    ServerContext& context_;
    TcpStream stream_;
    asio::cancellation_signal cancellation_;
    RequestHead head_;
    ChunkedDecoder decoder_;
    std::uint64_t body_left_ = 0;  // With kLength.
    bool body_done_ = true;        // The request body was read to its end.
    bool continue_owed_ = false;   // The client waits for 100 Continue.
    Answer answer_ = Answer::kNone;
    bool close_after_ = false;  // This answer is the last one on the connection.
    bool linger_ = false;       // The client may still be sending: let it read the answer.
    bool no_body_out_ = false;  // HEAD, 204, 304: writes are dropped.
    bool fresh_ = true;         // No request has come yet.
    bool idle_ = false;         // Waiting for the first byte of a request.
    bool in_head_ = false;      // Waiting for a byte of a request's head.
    bool evicted_ = false;      // Closed to make room for another.
    std::optional<std::uint64_t> stream_left_;  // Of a stream whose length was told.
    MonotonicNs body_waited_ = 0;               // For the client, in the running window.
    std::size_t body_arrived_ = 0;              // Bytes, in the running window.
    TcpStream::WriteParts rest_;                // What write_rest() is to write.
    HeadText out_;                              // An answer's head until it is written; reused.
    std::string chunk_line_;                    // The size line of the chunk being written; reused.
};

}  // namespace hearth
