// ClientConnection: one connection to an upstream and the exchange that is running on it.
#pragma once

#include <memory>
#include <string>

#include "common/net/head_text.h"
#include "common/net/http_client.h"
#include "common/net/tcp_stream.h"

namespace hearth {

// Owned by the exchange that runs on it, or by the pool while idle. One io_context.
class ClientConnection {
  public:
    ClientConnection(Tcp::socket socket, const std::shared_ptr<Deadlines>& deadlines)
        : stream_(std::move(socket), deadlines) {}

    // Forgets the last exchange. `host` is sent when the caller names none.
    void begin(const std::string& host, std::chrono::milliseconds write_timeout);
    const std::string& host() const { return host_; }

    Task<Result<void>> send_head(const ClientExchange::RequestOptions& options,
                                 const std::vector<HeaderField>& fields,
                                 std::string_view first_body);
    bool send_head_now(const ClientExchange::RequestOptions& options,
                       const std::vector<HeaderField>& fields, std::string_view first_body,
                       Result<void>& sent);
    Task<Result<void>> write_rest();
    Task<Result<void>> write_body(std::string_view bytes);
    Task<Result<void>> finish_body();
    Task<Result<const ResponseHead*>> read_head(std::chrono::milliseconds timeout);
    Task<Result<std::string_view>> read_body_some(std::chrono::milliseconds timeout);
    Task<Result<std::size_t>> read_body_into(asio::mutable_buffer buffer,
                                             std::chrono::milliseconds timeout);
    bool body_at_hand(Result<std::string_view>& body);

    // The exchange is over on both sides and the connection may carry another.
    bool reusable() const;

    TcpStream& stream() { return stream_; }

  private:
    void format_head(const ClientExchange::RequestOptions& options,
                     const std::vector<HeaderField>& fields);
    Result<void> account_for(std::size_t body_bytes);
    void add_body(TcpStream::WriteParts& parts, std::string_view bytes);
    Task<Result<void>> send(TcpStream::WriteParts parts);
    Result<bool> parse_head(std::size_t& looked_at);
    std::string_view unchunk();
    Error broken(std::string_view what);

    TcpStream stream_;
    std::string host_;
    std::chrono::milliseconds write_timeout_{0};
    std::string method_;
    BodyKind body_out_ = BodyKind::kNone;
    std::uint64_t body_out_left_ = 0;  // With kLength.
    bool sent_head_ = false;
    bool sent_all_ = false;
    ResponseHead head_;
    ChunkedDecoder decoder_;
    std::uint64_t body_in_left_ = 0;  // With kLength.
    bool got_head_ = false;
    bool got_all_ = false;
    bool failed_ = false;
    TcpStream::WriteParts rest_;  // What write_rest() is to write.
    HeadText out_;                // Request head, reused.
    std::string chunk_line_;      // Size line of the chunk being written, reused.
};

}  // namespace hearth
