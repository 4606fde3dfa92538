// SHA-256 through OpenSSL's EVP interface.
#include "router/anchor_hash.h"

#include <openssl/evp.h>

#include "common/base/check.h"

namespace hearth {

void AnchorHash::Free::operator()(evp_md_ctx_st* context) const {
    EVP_MD_CTX_free(context);
}

void AnchorHash::add(std::string_view bytes) {
    if (!used_) {
        // Fetched once: EVP_sha256() would make every init search the providers.
        static EVP_MD* const kSha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
        if (!context_) context_.reset(EVP_MD_CTX_new());
        CHECK(kSha256 != nullptr && context_ != nullptr);
        CHECK(EVP_DigestInit_ex2(context_.get(), kSha256, nullptr) == 1);
        used_ = true;
    }
    CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

AnchorHash::Digest AnchorHash::digest() {
    Digest out{};
    if (!used_) return out;
    used_ = false;
    CHECK(EVP_DigestFinal_ex(context_.get(), out.data(), nullptr) == 1);
    return out;
}

std::string_view as_text(const AnchorHash::Digest& digest) {
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace hearth
