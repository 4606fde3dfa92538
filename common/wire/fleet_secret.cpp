// Comparison of digests, so that neither length nor content shows in the time it takes.
#include "common/wire/fleet_secret.h"

#include <openssl/crypto.h>

#include "common/wire/digest.h"

namespace hearth {

bool same_secret(std::string_view a, std::string_view b) {
    Sha256 hash;
    hash.add(a);
    const Sha256::Digest first = hash.digest();
    hash.add(b);
    const Sha256::Digest second = hash.digest();
    return CRYPTO_memcmp(first.data(), second.data(), first.size()) == 0;
}

bool is_loopback(std::string_view address) {
    if (address.starts_with('[')) {
        const std::size_t end = address.find(']');
        if (end == address.npos || !(end + 1 == address.size() || address[end + 1] == ':'))
            return false;
        address = address.substr(1, end - 1);
    }
    if (address.starts_with("::ffff:")) address.remove_prefix(7);
    if (address == "::1") return true;
    address = address.substr(0, address.find(':'));
    return address == "localhost" || (address.starts_with("127.") &&
                                      address.find_first_not_of("0123456789.") == address.npos);
}

}  // namespace hearth
