// Test support: a certificate authority that writes PEM files into a folder of its own.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

namespace hearth {

// Of one test; the files go with it.
class CertificateAuthority {
  public:
    struct Files {
        std::string cert, key;
    };

    explicit CertificateAuthority(const std::string& name = "Hearth test CA")
        : folder_(make_folder()), key_(EVP_EC_gen("P-256"), EVP_PKEY_free) {
        certificate_ = make(name, key_, "", 3600, true);
        write(ca_file(), [this](FILE* f) { return PEM_write_X509(f, certificate_.get()); });
    }
    ~CertificateAuthority() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    CertificateAuthority(const CertificateAuthority&) = delete;
    CertificateAuthority& operator=(const CertificateAuthority&) = delete;

    std::string ca_file() const { return folder_ + "/ca.pem"; }
    std::string path(const std::string& name) const { return folder_ + "/" + name; }

    // A certificate for `names` ("DNS:a.test,IP:127.0.0.1"), which ends in so many seconds; those
    // of an earlier call with the same file name are replaced.
    Files issue(const std::string& file, const std::string& names, long valid_seconds = 3600) {
        const KeyPtr key(EVP_EC_gen("P-256"), EVP_PKEY_free);
        const CertPtr made = make(file, key, names, valid_seconds, false);
        const Files files{path(file + ".pem"), path(file + ".key")};
        write(files.cert, [&](FILE* f) { return PEM_write_X509(f, made.get()); });
        write(files.key, [&](FILE* f) {
            return PEM_write_PrivateKey(f, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
        });
        return files;
    }

  private:
    using KeyPtr = std::shared_ptr<EVP_PKEY>;
    using CertPtr = std::shared_ptr<X509>;

    static std::string make_folder() {
        std::string name = std::filesystem::temp_directory_path() / "hearth-certificates.XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        return name;
    }

    template <typename Write>
    static void write(const std::string& path, Write write_pem) {
        FILE* const file = std::fopen(path.c_str(), "w");
        const bool written = file != nullptr && write_pem(file) == 1;
        if (file == nullptr || std::fclose(file) != 0 || !written)
            throw std::runtime_error("cannot write " + path);
    }

    static void extend(X509* certificate, X509* issuer, int kind, const std::string& value) {
        X509V3_CTX context;
        X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
        X509_EXTENSION* const made = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
        if (made == nullptr) throw std::runtime_error("bad extension " + value);
        X509_add_ext(certificate, made, -1);
        X509_EXTENSION_free(made);
    }

    CertPtr make(const std::string& name, const KeyPtr& key, const std::string& names,
                 long valid_seconds, bool authority) {
        const CertPtr made(X509_new(), X509_free);
        X509_set_version(made.get(), X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(made.get()), ++serial_);
        X509_gmtime_adj(X509_getm_notBefore(made.get()), -7200);
        X509_gmtime_adj(X509_getm_notAfter(made.get()), valid_seconds);
        X509_set_pubkey(made.get(), key.get());
        X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
        X509* const issuer = authority ? made.get() : certificate_.get();
        X509_set_issuer_name(made.get(), X509_get_subject_name(issuer));
        extend(made.get(), issuer, NID_basic_constraints,
               authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
        if (!names.empty()) extend(made.get(), issuer, NID_subject_alt_name, names);
        if (X509_sign(made.get(), key_.get(), EVP_sha256()) == 0)
            throw std::runtime_error("cannot sign");
        return made;
    }

    std::string folder_;
    KeyPtr key_;
    CertPtr certificate_;
    long serial_ = 0;
};

}  // namespace hearth
