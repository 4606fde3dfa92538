"""What the dashboards show: one entry a panel. make.py turns them into Grafana's JSON."""

from dataclasses import dataclass

C = 'cluster=~"$cluster"'
M = 'cluster=~"$cluster",model=~"$model"'
I = 'cluster=~"$cluster",instance=~"$instance"'
RATE = "[$__rate_interval]"
STORE = 'job="hearth-router",' + I  # What nodes export, too.
NODE_STORE = 'job="hearth-cachenode",' + I
GOOD_HIT = [(None, "red"), (0.9, "orange"), (0.95, "green")]


def values(**shown):
    """Value mappings: values(up=(1, "green")) shows 1 as a green "up"."""
    return ({"type": "value", "options": {
        str(value): {"text": text, "color": color, "index": index}
        for index, (text, (value, color)) in enumerate(shown.items())}},)


UP = values(up=(1, "green"), down=(0, "red"))


@dataclass
class Panel:
    title: str
    unit: str
    queries: list  # [(PromQL, legend), ...]
    description: str  # What it is, and what to do when it looks bad.
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    stack: bool = False
    thresholds: list = None
    low: float = None
    high: float = None
    mappings: tuple = ()
    events: bool = False  # Rare things: bars, and the word "none" where nothing happened.


@dataclass
class Board:
    name: str
    uid: str
    title: str
    description: str
    variables: list  # [(name, query, label), ...]
    rows: list  # [(title, [Panel, ...]), ...]


def quantile(q, metric, selector, by=""):
    labels = f"le, {by}" if by else "le"
    return (f"histogram_quantile({q}, sum by ({labels}) "
            f"(rate({metric}_bucket{{{selector}}}{RATE})))")


def quantiles(metric, selector, which=(0.5, 0.95, 0.99)):
    return [(quantile(q, metric, selector), f"p{round(q * 100)}") for q in which]


def per_second(metric, selector, by):
    return f"sum by ({by}) (rate({metric}{{{selector}}}{RATE}))"


def hit_rate(selector, by=""):
    group = f"by ({by}) " if by else ""
    reused = f"sum {group}(rate(hearth_engine_reused_tokens_total{{{selector}}}{RATE}))"
    return f"{reused} / (sum {group}(rate(hearth_engine_reusable_tokens_total{{{selector}}}{RATE})) > 0)"


HIT_RATE = "1 - model:hearth_engine_reuse_miss:ratio_rate1h{" + M + "}"

FLEET = [
    ("Hit rate: how high, how high it could be, and why tokens were missed", [
        Panel("Inter-turn hit rate (1 h)", "percentunit", [(HIT_RATE, "{{model}}")],
              "Reused of reusable tokens; the objective is 95 %. Below it: the panel on the right "
              "says why. Runbook: hit-rate.", "stat", 4, 5, thresholds=GOOD_HIT, low=0),
        Panel("Its ceiling (1 h)", "percentunit",
              [("model:hearth_engine_ceiling:ratio_rate1h{" + M + "}", "{{model}}")],
              "What a cache that never loses anything would have reused. If the ceiling itself is "
              "low, users change what they said before: no memory can help, look at `diverged`.",
              "stat", 4, 5, thresholds=GOOD_HIT, low=0),
        Panel("Error budget left (30 d)", "percentunit",
              [(f"1 - (1 - sum(increase(hearth_engine_reused_tokens_total{{{M}}}[30d])) / "
                f"sum(increase(hearth_engine_reusable_tokens_total{{{M}}}[30d]))) / 0.05", "left")],
              "Of the 5 % of reusable tokens that may be missed in 30 days. Below zero: hold back "
              "planned changes until it recovers.", "stat", 4, 5,
              thresholds=[(None, "red"), (0, "orange"), (0.25, "green")]),
        Panel("Why tokens were missed", "suffix:tok/s",
              [("model_reason:hearth_engine_missed_tokens:rate5m{" + M + "}", "{{reason}}")],
              "Reusable tokens computed again, by their one reason. rerouted: members changed or "
              "routers disagree. evicted: too little memory. node_lost: a node died or restarted. "
              "diverged: the product rewrites its history. Runbook: hit-rate.", width=12, height=9,
              stack=True, low=0),
        Panel("Hit rate and ceiling", "percentunit",
              [(hit_rate(M), "hit rate"),
               ("1 - sum(rate(hearth_engine_missed_tokens_total{" + M +
                ',reason=~"salt|declined"}' + RATE + ")) / "
                f"(sum(rate(hearth_engine_reusable_tokens_total{{{M}}}{RATE})) > 0)", "ceiling")],
              "The gap between the two lines is what more memory or steadier routing would give. "
              "The blue marks are changes of the members.", width=12, height=9, low=0, high=1,
              thresholds=[(None, "transparent"), (0.95, "green")]),
        Panel("Burn rate", "none",
              [("model:hearth_engine_reuse_miss:ratio_rate5m{" + M + "} / 0.05", "5m {{model}}"),
               ("model:hearth_engine_reuse_miss:ratio_rate1h{" + M + "} / 0.05", "1h {{model}}"),
               ("model:hearth_engine_reuse_miss:ratio_rate6h{" + M + "} / 0.05", "6h {{model}}"),
               ("model:hearth_engine_reuse_miss:ratio_rate3d{" + M + "} / 0.05", "3d {{model}}")],
              "1 spends the budget just in time, 20 means nothing is found again. 8 for an hour "
              "pages.", "timeseries", 12, 5, low=0),
    ]),
    ("What the misses cost", [
        Panel("Prompt tokens by source", "suffix:tok/s",
              [(per_second("hearth_engine_prompt_tokens_total", M, "source"), "{{source}}")],
              "Where the KV of prompts came from. More `computed` than new text needs is prefill "
              "work that a hit would have saved.", stack=True, low=0),
        Panel("Token hit rate and its ceiling", "percentunit",
              [(f'1 - sum(rate(hearth_engine_prompt_tokens_total{{{M},source="computed"}}{RATE})) / '
                f'(sum(rate(hearth_engine_prompt_tokens_total{{{M}}}{RATE})) > 0)', "found"),
               (f"sum(rate(hearth_engine_ceiling_tokens_total{{{M}}}{RATE})) / "
                f"(sum(rate(hearth_engine_prompt_tokens_total{{{M}}}{RATE})) > 0)", "ceiling")],
              "Of all prompt tokens, first turns and new text included: what other servers call "
              "their hit rate. Compare it with its ceiling, not with 95 %.", low=0, high=1),
        Panel("Turns by outcome", "ops",
              [(per_second("hearth_engine_turns_total", M, "outcome"), "{{outcome}}")],
              "Many first turns are new chats, or clients whose session key changes from turn to "
              "turn: compare with the key sources below.", stack=True, low=0),
        Panel("Follow-up turns that found everything", "percentunit",
              [(f'sum(rate(hearth_engine_turns_total{{{M},outcome="full_hit"}}{RATE})) / '
                f'(sum(rate(hearth_engine_turns_total{{{M},outcome!="first_turn"}}{RATE})) > 0)',
                "full hits"),
               (f'sum(rate(hearth_engine_ceiling_full_hits_total{{{M}}}{RATE})) / '
                f'(sum(rate(hearth_engine_turns_total{{{M},outcome!="first_turn"}}{RATE})) > 0)',
                "ceiling")],
              "Turns, not tokens: how many users waited for nothing but their own new message. "
              "Far below the token rate: many turns lose a little, look at `diverged`.",
              low=0, high=1),
        Panel("Hit rate by node", "percentunit",
              [(hit_rate(C, "instance"), "{{instance}}")],
              "One line fell: that node restarted, was ejected or is short of memory. All fell: "
              "the routing changed.", low=0, high=1),
        Panel("Hit rate of a sampled ghost cache", "percentunit",
              [(f"sum(rate(hearth_ghost_hit_tokens_total{{{M}}}{RATE})) / "
                f"(sum(rate(hearth_ghost_prompt_tokens_total{{{M}}}{RATE})) > 0)", "infinite cache"),
               (f"sum(rate(hearth_ghost_real_hit_tokens_total{{{M}}}{RATE})) / "
                f"(sum(rate(hearth_ghost_prompt_tokens_total{{{M}}}{RATE})) > 0)", "this one")],
              "1 % of the sessions, shared prefixes included: how much of all prompt tokens an "
              "infinite cache would find, and what was found.", low=0, high=1),
        Panel("Tokens that the next turn would not have found", "none",
              [(quantile(0.95, "hearth_engine_prefix_shortfall_tokens", M), "p95 shortfall"),
               (f"sum(rate(hearth_engine_canonical_tokens_total{{{M}}}{RATE})) / "
                f"(sum(rate(hearth_engine_turns_total{{{M}}}{RATE})) > 0)", "rendered anew a turn")],
              "Replies that the template renders differently next time. A shortfall of more than "
              "a few tokens: the template strips what the model wrote.", low=0),
        Panel("Truncated dialogues", "ops",
              [(f"sum(rate(hearth_engine_truncated_turns_total{{{M}}}{RATE}))", "turns")],
              "Turns whose oldest messages were dropped to fit the context. Rising: users outgrow "
              "the context, raise it or summarise.", low=0),
        Panel("Tokens dropped by truncation", "suffix:tok/s",
              [(f"sum(rate(hearth_engine_truncated_tokens_total{{{M}}}{RATE}))", "tokens")],
              "A step of truncation drops whole turns, so that the next turns keep their prefix.",
              low=0),
    ]),
    ("Affinity: does a session come back to its node", [
        Panel("Decisions by reason", "reqps",
              [(per_second("hearth_router_route_decisions_total", C, "outcome"), "{{outcome}}")],
              "home and bound are sticky. heir and moved follow a change of the members; a steady "
              "share of spill means that nodes are overloaded.", stack=True, low=0),
        Panel("Where session keys come from", "reqps",
              [(per_second("hearth_router_route_decisions_total", C, "key_source"),
                "{{key_source}}")],
              "anchor means that the client sent no key: it still sticks, but two chats with the "
              "same opening share a node. Ask for x-session-id.", stack=True, low=0),
        Panel("Turns sent away from their KV", "ops",
              [(per_second("hearth_router_sessions_rerouted_total", C, "reason") + " > 0", "{{reason}}")],
              "planned_drain and scale_out are yours. node_down or overload_spill without an "
              "incident: see Router, ejections. Runbook: reroute.", events=True, low=0),
        Panel("Members by state", "none",
              [(f"max by (state) (hearth_router_ring_members{{{C}}})", "{{state}}")],
              "ejected above 0: that node fails turns or probes. joining for long: it does not get "
              "ready, see its log.", low=0),
        Panel("Routers that disagree on the members", "none",
              [(f'count(count_values("digest", hearth_router_ring_version{{{C}}})) - 1', "extra")],
              "0 when all routers use the same nodes and weights. Above it for minutes: one does "
              "not reach Redis, or has another configuration. Runbook: ring.", "stat",
              thresholds=[(None, "green"), (1, "red")]),
        Panel("Active sessions", "short",
              [(f"max(hearth_router_sessions_active{{{C}}})", "a router's memory"),
               (f"sum by (tier) (hearth_cache_sessions{{{C}}})", "{{tier}} of the nodes")],
              "Sessions with KV on the nodes, by tier, beside those that a router has seen "
              "lately. More in use than held: memory is short.", low=0),
    ]),
    ("What users feel", [
        Panel("Requests by code", "reqps",
              [(per_second("hearth_router_requests_total", C, "code"), "{{code}}")],
              "5xx: see the router's log by request id. 499 is a client that left. 429: a limit "
              "or a full fleet.", stack=True, low=0),
        Panel("Time to first token", "s",
              quantiles("hearth_engine_time_to_first_token_seconds", M),
              "At the node. High with a good hit rate: queues (see Node). High with a bad one: "
              "the misses are prefilled again.", low=0),
        Panel("Time to first token p95, warm and cold", "s",
              [(quantile(0.95, "hearth_engine_time_to_first_token_seconds", M, "cache"),
                "{{cache}}")],
              "The distance between warm and cold is what a hit is worth.", low=0),
        Panel("Time between tokens", "s",
              quantiles("hearth_engine_inter_token_latency_seconds", M),
              "Rising with the batch: add nodes. Spikes: prefill chunks too large for decodes.",
              low=0),
        Panel("Time at the router, to the first byte", "s",
              [(quantile(0.95, "hearth_router_time_to_first_byte_seconds", C, "affinity"),
                "p95 {{affinity}}")],
              "As clients see it. sticky far below new is what this fleet is for.", low=0),
        Panel("Streams continued on another node", "ops",
              [("sum by (cause) (rate(hearth_router_streams_continued_total{" + C + "}" + RATE + ")) > 0",
                "{{cause}}")],
              "Each is a node lost in mid-stream that no user noticed. Steady: a node crashes, "
              "see its log.", events=True, low=0),
    ]),
    ("Capacity: is there memory for the users who come back", [
        Panel("Tiers: fill", "percentunit",
              [(f"sum by (tier) (hearth_cache_tier_bytes{{{C}}}) / "
                f"sum by (tier) (hearth_cache_tier_capacity_bytes{{{C}}})", "{{tier}}")],
              "A full device tier is normal: it is a cache. A full disk tier with `evicted` "
              "misses: give it more.", low=0, high=1),
        Panel("Evicted blocks", "ops",
              [("sum by (tier, reason) (rate(hearth_cache_evicted_blocks_total{" + C + "}" + RATE +
                "))", "{{tier}} {{reason}}")],
              "lru is pressure, ttl is age. Pressure with `evicted` misses: more memory, a disk "
              "tier, or more nodes. Runbook: capacity.", low=0),
        Panel("How long pages stay", "s",
              [(f"min by (tier) (hearth_cache_residence_seconds{{{C}}})", "{{tier}}")],
              "Age of the pages that go now, on the node where it is least. Below the time after "
              "which your users come back: memory is short.", low=0),
        Panel("Blocks written to and read from disk", "ops",
              [(f"sum(rate(hearth_cache_written_blocks_total{{{C}}}{RATE}))", "written"),
               (f"sum(rate(hearth_cache_loaded_blocks_total{{{C}}}{RATE}))", "loaded"),
               (f"sum(rate(hearth_cache_skipped_blocks_total{{{C}}}{RATE}))", "skipped")],
              "skipped: the disk is slower than the turns, those blocks are lost when memory "
              "needs their place.", low=0),
        Panel("Peers: bytes", "binBps",
              [(per_second("hearth_transfer_bytes_total", C, "direction"), "{{direction}}")],
              "KV that nodes hand to each other: drains, scale-outs, replicas.", low=0),
        Panel("Sessions moved between nodes", "ops",
              [("sum by (kind, result) (rate(hearth_transfer_sessions_total{" + C + "}" + RATE +
                ")) > 0", "{{kind}} {{result}}")],
              "Anything but ok and not_held: see the node's log; the session is computed again.",
              events=True, low=0),
    ]),
]

NODE = [
    ("State", [
        Panel("Lifecycle", "none",
              [(" or ".join(f'{number} * (max by (instance) (hearth_node_state{{{I},state="{state}"}}) == 1)'
                            for number, state in enumerate(("starting", "ready", "draining"))),
                "{{instance}}")],
              "A gap: the node is not scraped. draining that does not end: see the panel on the "
              "right.", "state-timeline",
              mappings=values(starting=(0, "blue"), ready=(1, "green"), draining=(2, "orange"))),
        Panel("Sessions still to hand over", "short",
              [(f"hearth_node_drain_remaining_sessions{{{I}}}", "{{instance}}")],
              "Falls to 0 during a drain. Flat: the heirs refuse, see transfers below. Runbook: "
              "drain.", low=0),
        Panel("Running and waiting sequences", "none",
              [(f"sum by (instance) (hearth_engine_requests_running{{{I}}})", "{{instance}} running"),
               (f"sum by (instance) (hearth_engine_requests_waiting{{{I}}})", "{{instance}} waiting")],
              "Waiting above 0 for long: this node has more work than it can do. Add nodes.",
              low=0),
    ]),
    ("Steps", [
        Panel("Step time p95 by phase", "s",
              [(quantile(0.95, "hearth_engine_step_duration_seconds", I, "phase"), "{{phase}}")],
              "decode is the floor of the time between tokens; mixed includes a prefill chunk.",
              low=0),
        Panel("Tokens per step", "short", quantiles("hearth_engine_step_batch_tokens", I),
              "Small batches with waiting sequences: the KV budget keeps turns out.", low=0),
        Panel("Generated tokens", "suffix:tok/s",
              [(per_second("hearth_engine_generation_tokens_total", I, "instance"), "{{instance}}")],
              "Throughput of replies.", low=0),
        Panel("Time in the queue", "s", quantiles("hearth_engine_queue_duration_seconds", I),
              "The first sign of too few nodes. Autoscaling reads this.", low=0),
        Panel("Time in prefill", "s", quantiles("hearth_engine_prefill_duration_seconds", I),
              "Rises with the tokens that were not found again.", low=0),
        Panel("Whole requests", "s", quantiles("hearth_engine_request_duration_seconds", I),
              "From arrival to the last token.", low=0),
        Panel("Prompt and reply lengths p95", "short",
              [(quantile(0.95, "hearth_engine_request_prompt_tokens", I), "prompt"),
               (quantile(0.95, "hearth_engine_request_generation_tokens", I), "reply")],
              "Tokens. Prompts that grow without end: see truncation.", low=0),
        Panel("Finished by reason", "ops",
              [(per_second("hearth_engine_requests_finished_total", I, "reason"), "{{reason}}")],
              "error is ours: see the log. abort is a client that left.", stack=True, low=0),
        Panel("Memory of the process", "bytes",
              [(f'process_resident_memory_bytes{{{I},job="hearth-cachenode"}}', "{{instance}}")],
              "Weights, KV budget and little else. Growing beyond that: a leak, report it.", low=0),
    ]),
    ("Tiers", [
        Panel("Bytes by tier", "bytes",
              [(f"sum by (instance, tier) (hearth_cache_tier_bytes{{{I}}})",
                "{{instance}} {{tier}}")],
              "Never above the budget of the configuration.", low=0),
        Panel("Blocks by state", "short",
              [(f"sum by (tier, state) (hearth_cache_tier_blocks{{{I}}})", "{{tier}} {{state}}"),
               (f"sum by (tier) (hearth_cache_kept_blocks{{{I}}})", "{{tier}} kept back")],
              "active cannot be evicted; pending waits for the disk. active near the whole: the "
              "budget is smaller than the running turns.", low=0),
        Panel("Disk reads", "binBps",
              [(f"hearth_cache_load_bytes_per_second{{{I}}}", "{{instance}} {{tier}}")],
              "Measured bandwidth, from which the node decides to load or to compute again.", low=0),
        Panel("Corrupt blocks and failed tiers", "ops",
              [("sum by (instance, tier) (rate(hearth_cache_corrupt_blocks_total{" + I + "}" + RATE +
                ")) > 0", "{{instance}} {{tier}} corrupt"),
               ("sum by (instance, tier) (rate(hearth_cache_tier_failures_total{" + I + "}" + RATE +
                ")) > 0", "{{instance}} {{tier}} failed")],
              "Must be 0. A corrupt block is computed again, never served; the medium is bad. "
              "Runbook: integrity.", events=True, low=0),
        Panel("Transfers by result", "ops",
              [("sum by (kind, result) (rate(hearth_transfer_sessions_total{" + I + "}" + RATE +
                ")) > 0", "{{kind}} {{result}}")],
              "refused or corrupt: versions, tenants or keys of the two nodes differ.", events=True,
              low=0),
        Panel("Metadata updates", "ops",
              [("sum by (op, result) (rate(hearth_directory_operations_total{" + NODE_STORE + "}" + RATE +
                ")) > 0", "{{op}} {{result}}"),
               (f"sum(rate(hearth_directory_dropped_updates_total{{{I}}}{RATE}))", "dropped")],
              "timeout or error: Redis is slow or away; chats go on. Runbook: redis.", low=0),
        Panel("KV events", "ops",
              [("sum by (result) (rate(hearth_kv_event_batches_total{" + I + "}" + RATE + "))",
                "{{result}}"),
               (f"sum(rate(hearth_kv_event_replayed_batches_total{{{I}}}{RATE}))", "replayed")],
              "Batches for those who index this node (kv_events). lagging: a subscriber is slow and "
              "must ask again. overflow: it was told to forget all. Empty: switched off.", low=0),
    ]),
]

ROUTER = [
    ("Traffic", [
        Panel("Requests in flight", "none",
              [(f"sum by (route) (hearth_router_requests_in_flight{{{I}}})",
                "{{route}}")],
              "Rises with slow nodes as much as with traffic.", low=0),
        Panel("Time spent in the router", "s", quantiles("hearth_router_overhead_seconds", I),
              "Until the request was written to a node, queues included. Above some ms: the "
              "router's core is full, run another one.", low=0),
        Panel("Requests that ended early", "reqps",
              [(per_second("hearth_router_aborted_requests_total", I, "reason") + " > 0", "{{reason}}")],
              "node_lost is a node's fault, client_gone the user's, deadline either's.",
              events=True, low=0),
        Panel("Request bodies p95", "bytes",
              [(quantile(0.95, "hearth_router_request_size_bytes", I), "p95")],
              "Near the limit body_bytes_max: chats outgrow it.", low=0),
        Panel("Whole requests", "s", quantiles("hearth_router_request_duration_seconds", I),
              "From the head to the last byte.", low=0),
        Panel("Core of the router", "percentunit",
              [(f'rate(process_cpu_seconds_total{{{I},job="hearth-router"}}{RATE})', "{{instance}}")],
              "One thread each. Near 1: run another router.", low=0, high=1),
    ]),
    ("Balance and health", [
        Panel("Requests by node", "reqps",
              [(per_second("hearth_router_node_requests_total", I, "node"), "{{node}}")],
              "Uneven with even weights: some sessions are much busier than others, or a node was "
              "away.", low=0),
        Panel("Load imbalance (max / mean)", "none",
              [(f"max(sum by (node) (rate(hearth_router_node_requests_total{{{I}}}{RATE}))) / "
                f"avg(sum by (node) (rate(hearth_router_node_requests_total{{{I}}}{RATE})))",
                "max / mean")],
              "1.05 is usual, above 1.5 a node is short of work while another queues. Runbook: "
              "skew.", "stat", thresholds=[(None, "green"), (1.3, "orange"), (1.5, "red")]),
        Panel("Share of sessions whose home it is", "percentunit",
              [(f"max by (node) (hearth_router_ring_ownership_ratio{{{I}}})", "{{node}}")],
              "As the weights say. Does not change when a node is ejected: it keeps its place.",
              "bargauge", low=0, high=1),
        Panel("Healthy", "none",
              [(f"min by (node) (hearth_router_node_health{{{I}}})", "{{node}}")],
              "Down: probes fail or nobody listens. Its sessions are at their heirs meanwhile.",
              "state-timeline", mappings=UP),
        Panel("Open requests by node", "none",
              [(f"sum by (node) (hearth_router_node_in_flight{{{I}}})", "{{node}}")],
              "Must return to 0 when traffic ends.", low=0),
        Panel("Ejections, retries, panics", "ops",
              [("sum by (node, reason) (rate(hearth_router_node_ejections_total{" + I + "}" + RATE +
                ")) > 0", "ejected {{node}} {{reason}}"),
               (per_second("hearth_router_retries_total", I, "reason") + " > 0", "retried {{reason}}"),
               (f"sum(rate(hearth_router_panics_total{{{I}}}{RATE})) > 0", "panics")],
              "Ejections of one node: look at it. Panics: most of the pool looks sick, so opinions "
              "are ignored; suspect the network.", events=True, low=0),
    ]),
    ("Admission", [
        Panel("Refused requests", "reqps",
              [(per_second("hearth_router_admission_rejected_total", I, "reason") + " > 0", "{{reason}}")],
              "rate_limit is a tenant's own; queue_full and node_full ask for more nodes.",
              width=6, events=True, low=0),
        Panel("Queue", "none",
              [(f"sum by (priority) (hearth_router_queue_depth{{{I}}})", "{{priority}}")],
              "Requests that wait for a slot. batch waits for interactive.", width=6, low=0),
        Panel("Time in the queue", "s", quantiles("hearth_router_queue_duration_seconds", I),
              "Above a second: users wait before any node sees them.", width=6, low=0),
        Panel("Tenants", "reqps",
              [("sum by (tenant, outcome) (rate(hearth_router_tenant_requests_total{" + I + "}" +
                RATE + "))", "{{tenant}} {{outcome}}")],
              "Who asks, and who is refused.", width=6, low=0),
    ]),
    ("Metadata store and members", [
        Panel("Store answers", "none", [(f"min by (instance) (hearth_directory_up{{{STORE}}})",
                                         "{{instance}}")],
              "Down: routing goes on by hashing and by what routers remember; exceptions are not "
              "shared. Runbook: redis.", "state-timeline", mappings=UP),
        Panel("Look-ups", "s",
              quantiles("hearth_directory_operation_duration_seconds", STORE, (0.5, 0.99)),
              "The budget is 2 ms; a late answer is not waited for.", low=0),
        Panel("Look-ups by result", "ops",
              [("sum by (result) (rate(hearth_directory_operations_total{" + STORE +
                ',op="lookup"}' + RATE + "))", "{{result}}"),
               (f"sum(rate(hearth_directory_memory_losses_total{{{I}}}{RATE}))", "memory lost")],
              "timeout: Redis is slow. memory lost: it was flushed or came back empty; routers "
              "tell it again.", low=0),
        Panel("Sources of members", "none",
              [(f"min by (source) (hearth_router_member_source_up{{{I}}})", "{{source}}")],
              "Down: this list cannot be read, the last one stands.", "state-timeline", mappings=UP),
        Panel("Age of the list of members", "s",
              [(f"time() - min by (source) "
                f"(hearth_router_member_source_success_timestamp_seconds{{{I}}})", "{{source}}")],
              "Grows while a source is away.", low=0),
        Panel("Two nodes under one id", "none",
              [(f"max by (node) (hearth_router_node_id_conflicts{{{I}}}) > 0", "{{node}}")],
              "Above 0: two processes publish under one node_id and take each other's sessions. "
              "Give each its own.", events=True, low=0),
    ]),
    ("Configuration and traces", [
        Panel("Configuration accepted", "none",
              [(f"min by (instance) (hearth_config_last_reload_successful{{{I}}})", "{{instance}}")],
              "No: the last reload was refused, the settings before it serve. Runbook: config.",
              "state-timeline", 6, mappings=values(yes=(1, "green"), no=(0, "red"))),
        Panel("Since the last reload", "s",
              [(f"time() - max by (instance) "
                f"(hearth_config_last_reload_timestamp_seconds{{{I}}})", "{{instance}}")],
              "Attempts count, good or bad. Instances of one rollout have about the same age.",
              width=6, low=0),
        Panel("Different configurations", "none",
              [(f"count(count by (hash) (hearth_config_hash_info{{{I}}}))", "hashes")],
              "More than 1 outside a rollout: routers differ.", "stat", 6,
              thresholds=[(None, "green"), (2, "orange")]),
        Panel("Trace spans", "ops",
              [(per_second("hearth_router_spans_total", I, "result"), "{{result}}")],
              "dropped or refused: the OTLP collector is away or slow.", width=6, low=0),
    ]),
]

BUSY = f"rate(hearth_device_busy_seconds_total{{{I}}}{RATE})"

GPU = [
    ("What the chip reaches in the engine's passes", [
        Panel("Bandwidth reached", "Bps",
              [(f"rate(hearth_device_read_bytes_total{{{I}}}{RATE}) / ({BUSY} > 0)", "{{instance}}")],
              "Weights and KV read from GPU memory, over the time in passes. Decoding is bound by it: "
              "compare with the copy of docs/gpu/. Far below with small batches: nothing to mend.",
              low=0),
        Panel("Tensor cores reached", "ops",
              [(f"rate(hearth_device_operations_total{{{I}}}{RATE}) / ({BUSY} > 0)", "{{instance}}")],
              "Operations a second in passes, two a product. Long prompts are bound by it; decoding "
              "leaves it low.", low=0),
        Panel("Time in passes", "percentunit", [(BUSY, "{{instance}}")],
              "Near 1: the node computes without a pause, and more load waits. Low while turns wait: "
              "look at the scheduler's step time on the Node board.", low=0, high=1),
        Panel("Passes", "ops",
              [(f"sum by (instance, kind) (rate(hearth_device_passes_total{{{I}}}{RATE}))",
                "{{instance}} {{kind}}")],
              "Decoding should be replayed; launched are prompts, and sizes that were not there "
              "before.", stack=True, low=0),
        Panel("KV between host and GPU", "Bps",
              [(f"sum by (instance, direction) (rate(hearth_device_moved_bytes_total{{{I}}}{RATE}))",
                "{{instance}} {{direction}}")],
              "to_host follows what is computed. Much to_device: pages do not stay, the GPU's memory is "
              "too small for the chats that are under way.", low=0),
        Panel("Pages waited for", "none", [(f"hearth_device_copies_waiting{{{I}}}", "{{instance}}")],
              "Pages that the last pass had to bring from the host first. Seldom 0: first tokens wait "
              "for the bus.", low=0),
    ]),
    ("The chip", [
        Panel("Memory by use", "bytes",
              [(f"hearth_device_memory_bytes{{{I}}}", "{{instance}} {{use}}"),
               (f"hearth_device_memory_capacity_bytes{{{I}}}", "{{instance}} has")],
              "What this node took. pages is what weights leave: more of it keeps more chats near.",
              low=0),
        Panel("Utilisation (NVML)", "percentunit",
              [(f"hearth_device_utilization_ratio{{{I}}}", "{{instance}} {{part}}")],
              "Share of time in which any kernel ran, whoever's. Much above the time in passes: "
              "somebody else uses this GPU.", low=0, high=1),
        Panel("Temperature (NVML)", "celsius",
              [(f"hearth_device_temperature_celsius{{{I}}}", "{{instance}}")],
              "Chips slow themselves down somewhere above 85 degrees: look at cooling first."),
    ]),
]

CLUSTER = ("cluster", "label_values(hearth_build_info, cluster)", "Cluster")
BOARDS = [
    Board("fleet", "hearth-fleet", "Hearth / Fleet",
          "Is the hit rate where it should be, and if not, why.",
          [CLUSTER, ("model", 'label_values(hearth_engine_model_info{cluster=~"$cluster"}, model)',
                     "Model")], FLEET),
    Board("node", "hearth-node", "Hearth / Node", "One cache node, or some beside each other.",
          [CLUSTER, ("instance", 'label_values(hearth_node_state{cluster=~"$cluster"}, instance)',
                     "Node")], NODE),
    Board("router", "hearth-router", "Hearth / Router", "One router, or some beside each other.",
          [CLUSTER, ("instance",
                     'label_values(hearth_router_requests_in_flight{cluster=~"$cluster"}, instance)',
                     "Router")], ROUTER),
    Board("gpu", "hearth-gpu", "Hearth / GPU", "Nodes that compute on a GPU: what it reaches, and its memory.",
          [CLUSTER, ("instance",
                     'label_values(hearth_device_memory_capacity_bytes{cluster=~"$cluster"}, instance)',
                     "Node")], GPU),
]
