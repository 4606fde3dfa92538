// TLS: contexts made from certificate files, and the session of one connection over its socket.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/net/asio.h"

struct ssl_st;  // OpenSSL's own names for SSL and SSL_CTX.
struct ssl_ctx_st;

namespace hearth {

enum class TlsClientAuth {
    kNone,
    kRequest,  // A client may show a certificate; a bad one is refused.
    kRequire,
};
// "none", "request" or "require"; kInvalidArgument otherwise.
Result<TlsClientAuth> tls_client_auth_from(std::string_view name);

struct TlsServerOptions {
    std::string cert_file;  // PEM: the server's certificate, then those between it and the root.
    std::string key_file;   // PEM, without a passphrase.
    std::string client_ca_file;
    TlsClientAuth client_auth = TlsClientAuth::kNone;
};

// As the settings of a program give it.
struct TlsListenSettings {
    std::string cert, key, client_ca;
    std::string client_auth = "none";
};

struct TlsClientOptions {
    std::string ca_file;              // PEM; empty = those that the system trusts.
    std::string cert_file, key_file;  // Shown to a server that asks; empty = none.
    std::string server_name;          // Expected of every server; empty = the host connected to.
};

// Immutable, so that a reload replaces it whole; sessions keep theirs. TLS 1.2 (forward secret
// AEAD suites) and 1.3, ALPN http/1.1. Errors name the file. Any thread.
class TlsContext {
  public:
    static Result<std::shared_ptr<const TlsContext>> server(const TlsServerOptions& options);
    static Result<std::shared_ptr<const TlsContext>> client(const TlsClientOptions& options);

    // From the settings tls_cert, tls_key, tls_client_ca and tls_client_auth, which errors name;
    // null when none is set: plain HTTP.
    static Result<std::shared_ptr<const TlsContext>> listener(const TlsListenSettings& settings);

    const std::string& server_name() const { return server_name_; }
    std::string expires() const;  // Our certificate's end, "2030-01-31T12:00:00Z"; empty = none.
    ssl_ctx_st* native() const { return context_.get(); }

    TlsContext(std::shared_ptr<ssl_ctx_st> context, std::string server_name)
        : context_(std::move(context)), server_name_(std::move(server_name)) {}

  private:
    std::shared_ptr<ssl_ctx_st> context_;
    std::string server_name_;
};

// One TLS connection over a socket that never blocks and that somebody else owns and waits for.
// Owned by a TcpStream. Invariant: no call touches the socket after detach().
class TlsSession {
  public:
    enum class Next {
        kDone,
        kWaitRead,   // Call again with the same bytes when the socket is readable,
        kWaitWrite,  // or writable.
        kEnd,        // The peer ended its side properly (close_notify).
        kFailed,     // why() says how. A FIN without close_notify is a failure: anyone can send it.
    };
    struct Step {
        Next next = Next::kDone;
        std::size_t bytes = 0;
    };

    TlsSession(const TlsContext& context, int socket);  // A server's side.
    // A client's side. The certificate must be `host`'s, unless the context names the server.
    TlsSession(const TlsContext& context, int socket, const std::string& host);

    TlsSession(const TlsSession&) = delete;
    TlsSession& operator=(const TlsSession&) = delete;

    Step handshake();
    Step read(asio::mutable_buffer target);
    Step write(const std::array<asio::const_buffer, 4>& parts);  // One record, 16 KiB at most.
    void end_writes();  // Sends close_notify if the socket takes it.
    void detach();

    const std::string& why() const { return why_; }
    bool plain_http() const { return plain_http_; }  // The handshake met a request without TLS.
    std::uint64_t bytes_sent() const { return wire_.sent; }

    // What the BIO works on.
    struct Wire {
        int socket = -1;
        std::uint64_t sent = 0;
    };

  private:
    Step step(int returned, std::size_t bytes);

    Wire wire_;
    std::shared_ptr<ssl_st> session_;
    bool failed_ = false;
    bool plain_http_ = false;
    std::string why_;
};

}  // namespace hearth
