// A turn's deadline: until when its client waits, from the request's own headers.
#pragma once

#include "common/base/clock.h"
#include "common/base/result.h"
#include "common/net/http_head.h"

namespace hearth {

// The deadline that `hearth-deadline` (milliseconds left) or `x-request-timeout` (seconds, with or
// without a fraction) sets for a request that came at `now`; the nearer one if both are there; 0 if
// there is none. kInvalidArgument names the header. At most a day; more counts as none.
Result<MonotonicNs> deadline_of(const RequestHead& head, MonotonicNs now);

}  // namespace hearth
