// The loops that keep the members as they are: each source's, the probes', and time itself.
#pragma once

#include <memory>

#include "router/core.h"
#include "router/members/health.h"

namespace hearth {

// Starts what the configuration asks for; all of it ends with core->background.
void start_members(std::shared_ptr<RouterCore> core);

// One turn on one node, from its start to the verdict. Owned by the turn; without a verdict (it was
// cancelled) its end says nothing of the node, but gives the trial of a half-open circuit back.
class Attempt {
  public:
    Attempt(RouterCore& core, const Member& member);
    ~Attempt() { end(Verdict::kNone); }
    Attempt(const Attempt&) = delete;
    Attempt& operator=(const Attempt&) = delete;
    void end(Verdict verdict);

  private:
    RouterCore& core_;
    const std::string node_id_;
    const std::shared_ptr<NodeStatus> status_;
    bool ended_ = false;
};

// The operator's override: here at once, and in the store if there is one, from which the other
// routers learn it. An error says that the others were not told; here it stands.
Task<Result<void>> set_drain(std::shared_ptr<RouterCore> core, std::string node_id, bool drained);

}  // namespace hearth
