// SHA-256 through OpenSSL.
#include "common/wire/digest.h"

#include <openssl/evp.h>

#include <fstream>
#include <vector>

namespace hearth {

void Sha256::Free::operator()(evp_md_ctx_st* context) const {
    EVP_MD_CTX_free(context);
}

void Sha256::begin() {
    if (begun_) return;
    // Fetched once: EVP_sha256() would make every start search the providers.
    static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
    if (!context_) context_.reset(EVP_MD_CTX_new());
    CHECK(algorithm != nullptr && context_ != nullptr);
    CHECK(EVP_DigestInit_ex2(context_.get(), algorithm, nullptr) == 1);
    begun_ = true;
}

void Sha256::add(std::string_view bytes) {
    begin();
    CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

Sha256::Digest Sha256::digest() {
    begin();
    Digest out{};
    CHECK(EVP_DigestFinal_ex(context_.get(), out.data(), nullptr) == 1);
    begun_ = false;
    return out;
}

Result<std::string> sha256_of_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return make_error(ErrorCode::kNotFound, "cannot read " + path);
    Sha256 hash;
    std::vector<char> block(1 << 20);
    while (in) {
        in.read(block.data(), static_cast<std::streamsize>(block.size()));
        hash.add({block.data(), static_cast<std::size_t>(in.gcount())});
    }
    // A folder opens like a file and fails here.
    if (in.bad()) return make_error(ErrorCode::kUnavailable, "reading " + path + " failed");
    static const char kDigits[] = "0123456789abcdef";
    std::string hex;
    for (const unsigned char byte : hash.digest()) {
        hex += kDigits[byte >> 4];
        hex += kDigits[byte & 15];
    }
    return hex;
}

}  // namespace hearth
