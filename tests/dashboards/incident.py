"""Six hours of a fleet's life as OpenMetrics text, over the series that live.py found.

Hours:  0:00  three nodes, two routers, an evening that gets busier
        1:30  node-2 is drained, upgraded and comes back (planned)
        3:00  node-3 dies in mid-stream, for 12 minutes
        4:00  a campaign: 1.8 times the chats; KV memory is too small for the users who come back
        4:45  node-4 joins; from 5:00 on all is well again
An hour before the first is there for rules that look back. Every family that is driven here must be
exported, with the labels that are driven: a misspelt name raises, and never draws an empty panel.
"""

import numpy as np

from openmetrics import Writer
from story import (
    BACK,
    DRAIN,
    GPUS,
    HOUR,
    JOINED,
    LOST,
    NODES,
    RETURNED,
    ROUTERS,
    SECONDS,
    STEP,
    Story,
    bump,
    decay,
)


class Node:
    """One cache node: rates per second and values of its series."""

    def __init__(self, story, name):
        self.story, self.name, self.t = story, name, story.t
        self.up = story.up(name)
        s = story
        self.turns = s.turns * s.share[name] * self.up
        self.follow = self.turns * (1 - s.first)
        self.prompt = self.turns * 940 * s.noise(0.02)
        self.reusable = self.follow * 900 * s.noise(0.02)
        self.miss = {reason: share * self.reusable for reason, share in s.missed(name).items()}
        self.reused = self.reusable - sum(self.miss.values())
        self.strain = np.clip(self.turns / 15 - 0.9, 0, 3) + 0.8 * s.pressure
        self.full = self.follow * np.clip(
            1 - 2.2 * (1 - self.reused / np.maximum(self.reusable, 1)), 0.05, 1
        )

    def counters(self):
        t, s, turns = self.t, self.story, self.turns
        disk = self.reused * (0.06 + 0.2 * s.pressure)
        if self.name == "node-3":
            disk = disk + 0.6 * self.reused * decay(t, RETURNED, 500)
        peer = self.reused * (
            0.08 * decay(t, DRAIN, 400) + (self.name == "node-4") * 0.5 * decay(t, JOINED, 900)
        )
        found = self.reused + self.turns * s.first * 210  # a persona's shared opening
        kv = 12240 * peer
        sent = 12240 * s.turns * 60 * bump(t, DRAIN, DRAIN + 120, 30, 60) * (self.name == "node-2")
        slow = 0.02 * s.pressure
        out = {("hearth_engine_missed_tokens_total", "reason", r): v for r, v in self.miss.items()}

        def put(name, label, **by):
            out.update({(name, label, value): rate for value, rate in by.items()})

        put(
            "hearth_engine_prompt_tokens_total",
            "source",
            device=found - disk - peer,
            disk=disk,
            peer=peer,
            computed=self.prompt - found,
        )
        put(
            "hearth_engine_turns_total",
            "outcome",
            first_turn=turns * s.first,
            full_hit=self.full,
            partial_hit=(self.follow - self.full) * 0.7,
            miss=(self.follow - self.full) * 0.3,
        )
        put(
            "hearth_engine_requests_finished_total",
            "reason",
            stop=turns * 0.83,
            length=turns * 0.13,
            abort=turns * (0.03 + slow),
            error=0.002 * turns * self.strain,
        )
        put(
            "hearth_cache_evicted_blocks_total",
            "reason",
            lru=self.prompt / 64 * (0.3 + s.pressure),
            ttl=turns * 0.4,
        )
        put("hearth_cache_written_blocks_total", "tier", disk=self.prompt / 64 * 0.35)
        put("hearth_cache_loaded_blocks_total", "tier", disk=disk / 64)
        put("hearth_cache_skipped_blocks_total", "tier", disk=self.prompt / 64 * 0.1 * s.pressure)
        put(
            "hearth_directory_operations_total",
            ("op", "result"),
            **{
                "heartbeat/ok": np.full(len(t), 1.0),
                "publish/ok": turns * 0.99,
                "publish/timeout": turns * slow * 0.1,
                "lookup/ok": turns * 0.1,
            },
        )
        put("hearth_kv_event_batches_total", "result", ok=turns * 2.5, lagging=slow * turns)
        put("hearth_transfer_bytes_total", "direction", **{"in": kv, "out": sent + kv * 0.1})
        put(
            "hearth_transfer_sessions_total",
            ("kind", "result"),
            **{
                "pull/ok": peer / 900,
                "served/ok": peer / 900,
                "pull/not_held": peer / 9000,
                "hand_off/ok": sent / 12240 / 900,
                "hand_off/full": sent / 12240 / 30000,
            },
        )
        for name, rate in {
            "hearth_engine_reusable_tokens_total": self.reusable,
            "hearth_engine_reused_tokens_total": self.reused,
            "hearth_engine_ceiling_tokens_total": self.prompt - self.turns * 55,
            "hearth_engine_ceiling_full_hits_total": self.follow * 0.985,
            "hearth_engine_generation_tokens_total": turns * 88,
            "hearth_engine_canonical_tokens_total": turns * 1.2,
            "hearth_engine_truncated_turns_total": turns * 0.004,
            "hearth_engine_truncated_tokens_total": turns * 0.004 * 2048,
            "hearth_ghost_prompt_tokens_total": self.prompt * 0.01,
            "hearth_ghost_hit_tokens_total": (self.prompt - self.turns * 55) * 0.01,
            "hearth_ghost_real_hit_tokens_total": found * 0.01 * s.noise(0.05),
            "process_cpu_seconds_total": np.clip(0.45 + 0.3 * self.strain, 0, 1) * 8,
        }.items():
            out[name, None, None] = rate
        return out

    def gauges(self):
        t, s = self.t, self.story
        capacity = 48 * 2**30
        fill = np.clip(
            0.55 + 0.42 * np.clip((t + HOUR) / (3 * HOUR), 0, 1) + 0.02 * s.pressure, 0, 0.995
        )
        begin = {"node-3": RETURNED, "node-4": JOINED}.get(self.name)
        if begin:
            fill = np.where(t >= begin, np.clip((t - begin) / (1.3 * HOUR), 0.02, 0.9), fill)
        disk = np.clip(0.3 + 0.06 * (t + HOUR) / HOUR + 0.1 * s.pressure, 0, 0.95) * (
            0.5 if self.name == "node-4" else 1
        )
        blocks = capacity / (12240 * 64)
        draining = (self.name == "node-2") & (t >= DRAIN) & (t < BACK - 120) & self.up
        running = self.turns * (1.1 + self.strain)
        out = {
            ("hearth_cache_tier_bytes", "tier", "device"): fill * capacity,
            ("hearth_cache_tier_bytes", "tier", "disk"): disk * 8 * capacity,
            ("hearth_cache_tier_capacity_bytes", "tier", "device"): np.full(len(t), capacity),
            ("hearth_cache_tier_capacity_bytes", "tier", "disk"): np.full(len(t), 8 * capacity),
            ("hearth_cache_kept_blocks", "tier", "device"): 40 + 60 * s.pressure,
            ("hearth_cache_sessions", "tier", "device"): fill * blocks / 16,
            ("hearth_cache_residence_seconds", "tier", "device"): (
                3.2 * HOUR * (1 - s.pressure) + 420 * s.pressure
            )
            * s.noise(0.05),
            ("hearth_cache_load_bytes_per_second", "tier", "disk"): 1.9e9 * s.noise(0.05),
            ("hearth_engine_requests_running", None, None): np.round(running),
            ("hearth_engine_requests_waiting", None, None): np.round(
                np.clip(self.strain - 0.5, 0, 9) * 9
            ),
            ("hearth_node_drain_remaining_sessions", None, None): np.round(
                np.clip(1 - (t - DRAIN) / 240, 0, 1) * 2600
            )
            * draining,
            ("hearth_node_state", "state", "draining"): draining * 1.0,
            ("hearth_node_state", "state", "ready"): (~draining) * 1.0,
            ("hearth_node_state", "state", "starting"): np.zeros(len(t)),
            ("hearth_directory_up", None, None): np.ones(len(t)),
            ("process_resident_memory_bytes", None, None): fill * capacity + 1.1 * 2**30,
        }
        states = {"active": 0.12 + 0.2 * s.pressure, "free": np.clip(1 - fill, 0, 1)}
        states["idle"] = np.clip(fill - states["active"], 0, 1)
        for state, share in states.items():
            out["hearth_cache_tier_blocks", ("state", "tier"), f"{state}/device"] = share * blocks
        out["hearth_cache_tier_blocks", ("state", "tier"), "idle/disk"] = disk * 8 * blocks
        out["hearth_cache_tier_blocks", ("state", "tier"), "pending/disk"] = 30 + 900 * s.pressure
        return out

    def histograms(self):
        """(family, label, value): (events per second, median, spread of the logarithm)."""
        turns, strain = self.turns, self.strain
        queue = 0.002 + 0.12 * strain**2
        out = {
            ("hearth_engine_queue_duration_seconds", None, None): (turns, queue, 0.9),
            ("hearth_engine_prefill_duration_seconds", None, None): (
                turns,
                0.05 + 0.06 * strain,
                0.7,
            ),
            ("hearth_engine_request_duration_seconds", None, None): (turns, 2.1 + strain, 0.6),
            ("hearth_engine_request_prompt_tokens", None, None): (turns, 820, 0.6),
            ("hearth_engine_request_generation_tokens", None, None): (turns, 78, 0.6),
            ("hearth_engine_inter_token_latency_seconds", None, None): (
                turns * 88,
                0.019 + 0.008 * strain,
                0.35,
            ),
            ("hearth_engine_prefix_shortfall_tokens", None, None): (self.follow, 1.2, 0.5),
            ("hearth_engine_step_batch_tokens", None, None): (
                40 + 0 * turns,
                30 + 40 * strain,
                0.6,
            ),
        }
        for phase, rate, median in (
            ("decode", 42, 0.016),
            ("mixed", 9, 0.04),
            ("prefill", 2, 0.03),
        ):
            out["hearth_engine_step_duration_seconds", "phase", phase] = (
                rate + 0 * turns,
                median * (1 + 0.5 * strain),
                0.4,
            )
        missed = self.follow - self.full
        for cache, rate, median in (
            ("warm", self.full, 0.06),
            ("partial", missed * 0.7, 0.16),
            ("cold", turns * self.story.first + missed * 0.3, 0.38),
        ):
            out["hearth_engine_time_to_first_token_seconds", "cache", cache] = (
                rate,
                median + queue,
                0.5,
            )
        return out


class Router:
    """One of two routers, each with half of the traffic."""

    def __init__(self, story, name):
        self.story, self.name, self.t = story, name, story.t
        self.up = np.ones(len(story.t), bool)
        self.turns = story.turns / 2
        self.dead = decay(self.t, LOST, 40)  # what a dying node leaves behind
        self.away = ((self.t >= LOST) & (self.t < RETURNED)) * 1.0

    def counters(self):
        t, s, turns = self.t, self.story, self.turns
        out = {}

        def put(name, label, **by):
            out.update({(name, label, value): rate for value, rate in by.items()})

        refused = turns * 0.05 * s.pressure
        put(
            "hearth_router_requests_total",
            ("code", "route", "stream"),
            **{
                "200/chat_completions/true": turns * 0.9 - refused,
                "200/chat_completions/false": turns * 0.1,
                "400/chat_completions/false": turns * 0.002,
                "401/chat_completions/false": turns * 0.001,
                "404/chat_completions/false": turns * 0.0005,
            },
        )
        heir = 0.25 * bump(t, LOST, RETURNED, 30, 120) + 0.01 + 0.2 * bump(t, DRAIN, BACK, 60, 300)
        bound = 0.12 + 0.15 * decay(t, BACK, 1500) + 0.15 * decay(t, RETURNED, 1500)
        put(
            "hearth_router_route_decisions_total",
            ("key_source", "outcome"),
            **{
                "header/home": turns * (0.95 - heir - bound),
                "header/heir": turns * heir,
                "header/bound": turns * bound,
                "anchor/home": turns * 0.015,
                "prompt_cache_key/home": turns * 0.03,
            },
        )
        put(
            "hearth_router_sessions_rerouted_total",
            "reason",
            node_down=turns * 0.3 * decay(t, LOST, 200),
            planned_drain=turns * 0.3 * decay(t, DRAIN, 120),
            scale_out=turns * 0.1 * decay(t, JOINED, 900),
            overload_spill=turns * 0.012 * s.pressure,
            moved=turns * 0.001 + 0 * t,
        )
        put(
            "hearth_router_aborted_requests_total",
            ("reason", "route"),
            **{
                "client_gone/chat_completions": turns * 0.02,
                "deadline/chat_completions": turns * 0.004 * s.pressure,
                "node_lost/chat_completions": 0.05 * self.dead,
            },
        )
        put(
            "hearth_router_admission_rejected_total",
            "reason",
            queue_full=refused * 0.7,
            queue_timeout=refused * 0.3,
            unauthorized=turns * 0.001,
            rate_limit=turns * 0.0004,
        )
        put(
            "hearth_router_streams_continued_total",
            "cause",
            node_lost=0.8 * self.dead,
            stalled=0 * t,
        )
        put(
            "hearth_router_retries_total",
            "reason",
            connect=1.2 * self.dead,
            busy=turns * 0.01 * s.pressure,
            stale_connection=0.002 + 0 * t,
        )
        put(
            "hearth_router_node_ejections_total",
            ("node", "reason"),
            **{"node-3/died": 0.02 * self.dead},
        )
        put(
            "hearth_router_tenant_requests_total",
            ("outcome", "tenant"),
            **{"admitted/nova": turns - refused},
        )
        put("hearth_router_spans_total", "result", exported=turns * 0.1)
        put(
            "hearth_directory_operations_total",
            ("op", "result"),
            **{"lookup/ok": turns * 0.97, "lookup/timeout": turns * (0.001 + 0.01 * s.pressure)},
        )
        for node in NODES:
            put(
                "hearth_router_node_requests_total",
                ("code", "node"),
                **{f"200/{node}": turns * s.share[node]},
            )
        out["process_cpu_seconds_total", None, None] = 0.1 + turns * 0.004
        return out

    def gauges(self):
        t, s, turns = self.t, self.story, self.turns
        one = np.ones(len(t))
        joined = t >= JOINED
        draining = ((t >= DRAIN) & (t < BACK)) * 1.0
        changes = sum(
            (t >= at + (15 if self.name == "router-2" else 0)) * 1.0
            for at in (DRAIN, BACK, LOST, RETURNED, JOINED)
        )
        planned = np.where(
            joined, JOINED, np.where(t >= BACK, BACK, np.where(t >= DRAIN, DRAIN, -9 * HOUR))
        )
        running = turns * (2.3 + 1.5 * s.pressure)
        out = {
            ("hearth_router_ring_members", "state", "active"): 3 - draining - self.away + joined,
            ("hearth_router_ring_members", "state", "draining"): draining,
            ("hearth_router_ring_members", "state", "ejected"): self.away,
            ("hearth_router_ring_members", "state", "joining"): ((t >= JOINED - 90) & ~joined)
            * 1.0,
            ("hearth_router_ring_version", None, None): 176302277186084 + 7919 * changes,
            ("hearth_router_sessions_active", None, None): s.turns * 210,
            ("hearth_router_planned_change_timestamp_seconds", None, None): ("time", planned),
            ("hearth_router_member_source_success_timestamp_seconds", "source", "registry"): (
                "time",
                t - 1,
            ),
            ("hearth_config_last_reload_timestamp_seconds", None, None): (
                "time",
                -5 * HOUR + 0 * t,
            ),
            ("hearth_config_last_reload_successful", None, None): one,
            ("hearth_router_requests_in_flight", "route", "chat_completions"): np.round(running),
            ("hearth_router_queue_depth", "priority", "interactive"): np.round(
                30 * s.pressure * s.noise(0.2)
            ),
            ("hearth_directory_up", None, None): one,
            ("process_resident_memory_bytes", None, None): 6e7 + turns * 1e6,
        }
        for node in NODES:
            health = (self.away == 0) * 1.0 if node == "node-3" else one
            out["hearth_router_node_health", "node", node] = health
            share = np.where(joined, 0.25, 0 if node == "node-4" else 1 / 3)
            out["hearth_router_ring_ownership_ratio", "node", node] = share
            out["hearth_router_node_in_flight", "node", node] = np.round(running * s.share[node])
        return out

    def histograms(self):
        turns, s = self.turns, self.story
        queue = 0.001 + 0.5 * s.pressure**2
        route = ("route",)
        out = {
            ("hearth_router_overhead_seconds", route, "chat_completions"): (
                turns,
                0.00035 + 0.0005 * s.pressure,
                0.6,
            ),
            ("hearth_router_queue_duration_seconds", None, None): (
                turns * s.pressure * 0.4,
                queue,
                0.8,
            ),
            ("hearth_router_request_size_bytes", route, "chat_completions"): (turns, 4800, 0.8),
            ("hearth_directory_operation_duration_seconds", "op", "lookup"): (
                turns,
                0.0004 + 0.0004 * s.pressure,
                0.5,
            ),
        }
        for stream, share in (("true", 0.9), ("false", 0.1)):
            out[
                "hearth_router_request_duration_seconds",
                ("route", "stream"),
                f"chat_completions/{stream}",
            ] = (turns * share, 2.2 + s.pressure, 0.6)
        bad = 0.02 + self.dead + 0.02 * s.pressure
        for affinity, rate, median in (
            ("sticky", 0.8 - bad * 0.5, 0.07),
            ("moved", bad * 0.5, 0.3),
            ("new", 0.18, 0.42),
        ):
            out[
                "hearth_router_time_to_first_byte_seconds",
                ("affinity", "route"),
                f"{affinity}/chat_completions",
            ] = (turns * np.clip(rate, 0, 1), median + 0.3 * queue, 0.5)
        return out


class Gpu:
    """The GPU of a node of 8B parameters that gets as busy as the others; its figures are made up."""

    def __init__(self, story, name):
        self.story, self.t = story, story.t
        self.up = np.ones(len(story.t), bool)
        self.turns = story.turns / 2 * (1.1 if name == "gpu-1" else 0.9)
        self.busy = np.clip(self.turns / 40, 0, 0.97) * story.noise(0.04)

    def counters(self):
        s, turns = self.story, self.turns
        steps = self.busy / 0.012
        return {
            ("hearth_device_busy_seconds_total", None, None): self.busy,
            ("hearth_device_read_bytes_total", None, None): self.busy * 3.1e12 * s.noise(0.03),
            ("hearth_device_operations_total", None, None): self.busy
            * (1.6e14 + 2e14 * s.pressure),
            ("hearth_device_passes_total", "kind", "replayed"): steps * 0.9,
            ("hearth_device_passes_total", "kind", "launched"): steps * 0.1,
            ("hearth_device_moved_bytes_total", "direction", "to_host"): turns * 120 * 65536,
            ("hearth_device_moved_bytes_total", "direction", "to_device"): turns
            * 900
            * 65536
            * (0.02 + 0.5 * s.pressure),
        }

    def gauges(self):
        s = self.story
        hot = 48 + 30 * self.busy
        full = np.full(len(self.t), 1.0)
        return {
            ("hearth_device_memory_capacity_bytes", "chip", "H200"): 141e9 * full,
            ("hearth_device_memory_bytes", "use", "weights"): 8.1e9 * full,
            ("hearth_device_memory_bytes", "use", "pages"): 112e9 * full,
            ("hearth_device_memory_bytes", "use", "activations"): 1.2e9 * full,
            ("hearth_device_memory_bytes", "use", "tables"): 2e8 * full,
            ("hearth_device_copies_waiting", None, None): np.round(
                np.clip(40 * s.pressure * s.noise(0.4) - 2, 0, 99)
            ),
            ("hearth_device_temperature_celsius", None, None): hot,
            ("hearth_device_utilization_ratio", "part", "chip"): np.clip(self.busy * 1.03, 0, 1),
            ("hearth_device_utilization_ratio", "part", "memory"): np.clip(self.busy * 0.7, 0, 1),
        }

    def histograms(self):
        return {}


def write(path, templates, start, seed=7):
    """The whole story as OpenMetrics text; `start`: Unix time of the first hour shown."""
    t = np.arange(-HOUR, SECONDS + 1, STEP, dtype=float)
    story = Story(t, seed)
    with open(path, "w", encoding="utf-8") as out:
        for job, kind, names in (
            ("hearth-cachenode", Node, NODES),
            ("hearth-router", Router, ROUTERS),
        ):
            for name in names:
                model = kind(story, name)
                target = {"instance": name, "job": job, "cluster": "main"}
                writer = Writer(out, start, templates[job.removeprefix("hearth-")], model)
                writer.write(target)
                writer.up = t >= (
                    JOINED - 60 if name == "node-4" else -9e9
                )  # Prometheus tries in vain, too.
                writer.series("up", target, model.up * 1.0)
        for name in GPUS:
            target = {"instance": name, "job": "hearth-cachenode", "cluster": "main"}
            Writer(out, start, templates["gpu"], Gpu(story, name)).write(target)
        out.write("# EOF\n")
