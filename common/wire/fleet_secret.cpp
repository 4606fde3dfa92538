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
    if (address.starts_with('[')) address.remove_prefix(1);
    if (address.starts_with("::ffff:")) address.remove_prefix(7);
    if (address.starts_with("::1")) return address.size() == 3 || address[3] == ']';
    return address.starts_with("127.");
}

}  // namespace hearth
