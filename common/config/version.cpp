// The version that CMake passed in; this file alone is rebuilt when it changes.
#include "common/config/version.h"

namespace hearth {

std::string version() {
    return HEARTH_VERSION;
}
std::string revision() {
    return HEARTH_REVISION;
}

}  // namespace hearth
