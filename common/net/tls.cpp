// TLS: certificate files into contexts; a session's steps through OpenSSL over a BIO of our own.
#include "common/net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "common/base/check.h"

namespace hearth {
namespace {

constexpr std::size_t kRecordBytesMax = SSL3_RT_MAX_PLAIN_LENGTH;
constexpr std::array<unsigned char, 9> kAlpn = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
constexpr const char* kTls12Ciphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

using ContextPtr = std::shared_ptr<ssl_ctx_st>;

std::string reason_of(unsigned long code) {
    if (ERR_SYSTEM_ERROR(code)) return std::strerror(ERR_GET_REASON(code));
    const char* const text = ERR_reason_error_string(code);
    return text != nullptr ? text : "unknown failure";
}

Error file_error(std::string_view what, const std::string& file) {
    // The first error tells of the file; what follows are OpenSSL's layers above it.
    const std::string why = reason_of(ERR_peek_error());
    ERR_clear_error();
    return make_error(ErrorCode::kInvalidArgument,
                      "cannot use " + std::string(what) + " '" + file + "': " + why);
}

// A key with a passphrase would otherwise ask for it on the terminal.
int no_passphrase(char*, int, int, void*) {
    return 0;
}

// RFC 7301: http/1.1, or no connection with a client that insists on something else.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned int offered_size, void*) {
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, out_size, kAlpn.data(), kAlpn.size(), offered,
                              offered_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

// The socket's calls with MSG_NOSIGNAL: OpenSSL's own BIO raises SIGPIPE.
int wire_write(BIO* bio, const char* bytes, int size) {
    auto* const wire = static_cast<TlsSession::Wire*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const ssize_t n =
        ::send(wire->socket, bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) wire->sent += static_cast<std::uint64_t>(n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
    return static_cast<int>(n);
}

int wire_read(BIO* bio, char* bytes, int size) {
    auto* const wire = static_cast<TlsSession::Wire*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const ssize_t n = ::recv(wire->socket, bytes, static_cast<std::size_t>(size), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
    if (n == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return static_cast<int>(n);
}

long wire_control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* wire_method() {
    static const std::shared_ptr<BIO_METHOD> method = [] {
        BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "hearth wire");
        CHECK(made != nullptr);
        BIO_meth_set_write(made, wire_write);
        BIO_meth_set_read(made, wire_read);
        BIO_meth_set_ctrl(made, wire_control);
        return std::shared_ptr<BIO_METHOD>(made, BIO_meth_free);
    }();
    return method.get();
}

Result<ContextPtr> make_context(const SSL_METHOD* method) {
    ContextPtr context(SSL_CTX_new(method), SSL_CTX_free);
    if (!context)
        return make_error(ErrorCode::kExhausted, "OpenSSL: " + reason_of(ERR_peek_error()));
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_options(context.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                        SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context.get(), 1);  // One system call for several records.
    SSL_CTX_set_default_passwd_cb(context.get(), no_passphrase);
    CHECK(SSL_CTX_set_cipher_list(context.get(), kTls12Ciphers) == 1);
    return context;
}

Result<void> use_certificate(SSL_CTX* context, const std::string& cert, const std::string& key) {
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, cert.c_str()) != 1)
        return file_error("certificate file", cert);
    if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1)
        return file_error("key file", key);
    return {};
}

Result<void> trust(SSL_CTX* context, const std::string& ca_file) {
    ERR_clear_error();
    if (SSL_CTX_load_verify_file(context, ca_file.c_str()) != 1)
        return file_error("CA file", ca_file);
    return {};
}

bool is_address(const std::string& host) {
    boost::system::error_code ec;
    asio::ip::make_address(host, ec);
    return !ec;
}

}  // namespace

Result<TlsClientAuth> tls_client_auth_from(std::string_view name) {
    if (name == "none") return TlsClientAuth::kNone;
    if (name == "request") return TlsClientAuth::kRequest;
    if (name == "require") return TlsClientAuth::kRequire;
    return make_error(ErrorCode::kInvalidArgument,
                      "'" + std::string(name) + "' is not one of none, request, require");
}

Result<std::shared_ptr<const TlsContext>> TlsContext::server(const TlsServerOptions& options) {
    auto made = make_context(TLS_server_method());
    if (!made) return made.error();
    SSL_CTX* const context = made->get();
    if (auto used = use_certificate(context, options.cert_file, options.key_file); !used)
        return used.error();
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
    // Tickets resume sessions without a table of ours; they end with this context.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    constexpr std::string_view kTicketContext = "hearth";
    SSL_CTX_set_session_id_context(context,
                                   reinterpret_cast<const unsigned char*>(kTicketContext.data()),
                                   kTicketContext.size());
    if (options.client_auth != TlsClientAuth::kNone) {
        if (auto trusted = trust(context, options.client_ca_file); !trusted) return trusted.error();
        SSL_CTX_set_client_CA_list(context,
                                   SSL_load_client_CA_file(options.client_ca_file.c_str()));
        int mode = SSL_VERIFY_PEER;
        if (options.client_auth == TlsClientAuth::kRequire) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        SSL_CTX_set_verify(context, mode, nullptr);
    }
    return std::make_shared<const TlsContext>(std::move(*made), std::string());
}

Result<std::shared_ptr<const TlsContext>> TlsContext::client(const TlsClientOptions& options) {
    auto made = make_context(TLS_client_method());
    if (!made) return made.error();
    SSL_CTX* const context = made->get();
    if (!options.ca_file.empty()) {
        if (auto trusted = trust(context, options.ca_file); !trusted) return trusted.error();
    } else if (SSL_CTX_set_default_verify_paths(context) != 1) {
        return make_error(ErrorCode::kInvalidArgument, "the system's CA files cannot be read");
    }
    if (!options.cert_file.empty())
        if (auto used = use_certificate(context, options.cert_file, options.key_file); !used)
            return used.error();
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    CHECK(SSL_CTX_set_alpn_protos(context, kAlpn.data(), kAlpn.size()) == 0);
    return std::make_shared<const TlsContext>(std::move(*made), options.server_name);
}

Result<std::shared_ptr<const TlsContext>> TlsContext::listener(const TlsListenSettings& settings) {
    const auto bad = [](const std::string& what) {
        return make_error(ErrorCode::kInvalidArgument, what);
    };
    const auto auth = tls_client_auth_from(settings.client_auth);
    if (!auth) return bad("tls_client_auth: " + auth.error().message);
    if (settings.cert.empty() != settings.key.empty())
        return bad(settings.cert.empty() ? "tls_cert: is required with tls_key"
                                         : "tls_key: is required with tls_cert");
    if (*auth != TlsClientAuth::kNone && settings.client_ca.empty())
        return bad("tls_client_ca: is required with tls_client_auth " + settings.client_auth);
    if (*auth == TlsClientAuth::kNone && !settings.client_ca.empty())
        return bad("tls_client_auth: must be request or require with tls_client_ca");
    if (*auth != TlsClientAuth::kNone && settings.cert.empty())
        return bad("tls_cert: is required with tls_client_auth " + settings.client_auth);
    if (settings.cert.empty()) return std::shared_ptr<const TlsContext>();
    TlsServerOptions options;
    options.cert_file = settings.cert;
    options.key_file = settings.key;
    options.client_ca_file = settings.client_ca;
    options.client_auth = *auth;
    auto made = server(options);
    if (!made) return bad("tls_cert: " + made.error().message);
    return made;
}

std::string TlsContext::expires() const {
    const X509* const certificate = SSL_CTX_get0_certificate(context_.get());
    std::tm parts{};
    if (certificate == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts) != 1)
        return {};
    std::array<char, 32> text{};
    return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

TlsSession::TlsSession(const TlsContext& context, int socket)
    : session_(SSL_new(context.native()), SSL_free) {
    BIO* const bio = BIO_new(wire_method());
    CHECK(session_ != nullptr && bio != nullptr);
    wire_.socket = socket;
    BIO_set_data(bio, &wire_);
    BIO_set_init(bio, 1);
    SSL_set_bio(session_.get(), bio, bio);
    SSL_set_accept_state(session_.get());
}

TlsSession::TlsSession(const TlsContext& context, int socket, const std::string& host)
    : TlsSession(context, socket) {
    SSL* const session = session_.get();
    SSL_set_connect_state(session);
    const std::string& name = context.server_name().empty() ? host : context.server_name();
    if (is_address(name)) {
        CHECK(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name.c_str()) == 1);
        return;
    }
    SSL_set_hostflags(session, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    CHECK(SSL_set1_host(session, name.c_str()) == 1);
    CHECK(SSL_set_tlsext_host_name(session, name.c_str()) == 1);
}

TlsSession::Step TlsSession::handshake() {
    ERR_clear_error();
    errno = 0;
    return step(SSL_do_handshake(session_.get()), 0);
}

TlsSession::Step TlsSession::read(asio::mutable_buffer target) {
    if (failed_) return {Next::kFailed, 0};
    ERR_clear_error();
    errno = 0;
    std::size_t n = 0;
    const int done = SSL_read_ex(session_.get(), target.data(), target.size(), &n);
    return step(done, n);
}

TlsSession::Step TlsSession::write(const std::array<asio::const_buffer, 4>& parts) {
    if (failed_) return {Next::kFailed, 0};
    // What OpenSSL could not send yet it keeps encrypted, so the scratch may be used by others
    // until the call is repeated.
    thread_local std::array<char, kRecordBytesMax> scratch;
    std::size_t size = 0;
    for (const asio::const_buffer& part : parts) {
        const std::size_t step_bytes = std::min(part.size(), scratch.size() - size);
        if (step_bytes > 0) std::memcpy(scratch.data() + size, part.data(), step_bytes);
        size += step_bytes;
    }
    ERR_clear_error();
    errno = 0;
    std::size_t n = 0;
    const int done = SSL_write_ex(session_.get(), scratch.data(), size, &n);
    return step(done, n);
}

TlsSession::Step TlsSession::step(int returned, std::size_t bytes) {
    if (returned == 1) return {Next::kDone, bytes};
    const int system_error = errno;
    switch (SSL_get_error(session_.get(), returned)) {
        case SSL_ERROR_WANT_READ: return {Next::kWaitRead, 0};
        case SSL_ERROR_WANT_WRITE: return {Next::kWaitWrite, 0};
        case SSL_ERROR_ZERO_RETURN: why_ = "the peer closed"; return {Next::kEnd, 0};
        case SSL_ERROR_SYSCALL:
            why_ = system_error != 0 ? std::strerror(system_error) : "the peer closed";
            break;
        default:
            why_ = reason_of(ERR_peek_last_error());
            if (const long verified = SSL_get_verify_result(session_.get()); verified != X509_V_OK)
                why_ = std::string("the peer's certificate is refused: ") +
                       X509_verify_cert_error_string(verified);
            plain_http_ = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_HTTP_REQUEST;
    }
    failed_ = true;
    ERR_clear_error();
    return {Next::kFailed, 0};
}

void TlsSession::end_writes() {
    if (failed_ || wire_.socket < 0 || SSL_is_init_finished(session_.get()) != 1) return;
    ERR_clear_error();
    SSL_shutdown(session_.get());
    ERR_clear_error();
}

void TlsSession::detach() {
    wire_.socket = -1;
}

}  // namespace hearth
