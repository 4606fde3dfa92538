"""What happens in the six hours: times, traffic and misses, as NumPy arrays over the scrapes."""

import math

import numpy as np

STEP = 15  # Seconds between two scrapes.
HOUR = 3600
SECONDS = 6 * HOUR
NODES = ("node-1", "node-2", "node-3", "node-4")
ROUTERS = ("router-1", "router-2")
GPUS = ("gpu-1", "gpu-2")  # Nodes of another pool.
DRAIN, UPGRADED, BACK = 1.5 * HOUR, 1.62 * HOUR, 1.68 * HOUR
LOST, RETURNED = 3 * HOUR, 3.2 * HOUR
CAMPAIGN, JOINED, CALM = 4 * HOUR, 4.75 * HOUR, 5 * HOUR
SHOWN = {"chat_completions"}  # Other routes have no traffic; their histograms would only be zeros.


def bump(t, start, end, rise=300, fall=600):
    """0 before start, 1 between, 0 after end, with ramps."""
    return np.clip((t - start) / rise, 0, 1) * np.clip(1 - (t - end) / fall, 0, 1)


def decay(t, start, seconds):
    left = np.exp(-np.maximum(t - start, 0) / seconds)
    return np.where((t >= start) & (left > 0.002), left, 0.0)


class Story:
    """What happens at each scrape of the time axis `t` (seconds from the first hour shown)."""

    def __init__(self, t, seed):
        self.t = t
        self.random = np.random.default_rng(seed)
        self.campaign = bump(t, CAMPAIGN, CALM, 900, 1500)
        self.pressure = bump(t, CAMPAIGN + 300, JOINED + 300, 1500, 900)
        self.turns = (
            (36 + 9 * np.sin(math.pi * t / SECONDS)) * (1 + 0.8 * self.campaign) * self.noise(0.04)
        )
        weights = {n: self.weight(n) for n in NODES}
        total = sum(weights.values())
        self.share = {n: w / total for n, w in weights.items()}
        self.first = 0.17 + 0.08 * self.campaign  # share of turns that open a chat

    def noise(self, width):
        raw = self.random.normal(1, width, len(self.t) + 3)
        return np.clip(np.convolve(raw, np.ones(4) / 4, "valid"), 0.5, 2)

    def up(self, node):
        """1 where the node's process lives and is scraped."""
        t = self.t
        return {
            "node-2": (t < UPGRADED) | (t >= UPGRADED + 60),
            "node-3": (t < LOST) | (t >= RETURNED),
            "node-4": t >= JOINED,
        }.get(node, np.ones(len(t), bool))

    def weight(self, node):
        t = self.t
        return {
            "node-1": np.full(len(t), 1.03),
            "node-2": 0.98 - 0.98 * bump(t, DRAIN, BACK, 60, 900),
            "node-3": np.where((t >= LOST) & (t < RETURNED), 0, 1.0)
            * (1 - 0.7 * decay(t, RETURNED, 500)),
            "node-4": np.where(t >= JOINED, 1 - np.exp(-np.maximum(t - JOINED, 0) / 900), 0),
        }[node]

    def missed(self, node):
        """Share of reusable tokens that is computed again, by reason."""
        t, noise = self.t, self.noise
        lost = np.zeros(len(t)) if node == "node-3" else 0.36 * decay(t, LOST, 420)
        return {
            "diverged": 0.006 * noise(0.3),
            "expired": 0.003 * noise(0.3),
            "evicted": 0.004 * noise(0.3) + 0.33 * self.pressure * noise(0.1),
            "node_lost": lost * noise(0.1),
            "salt": 0.0008 * noise(0.3),
            "rerouted": 0.0006 * noise(0.3)
            + 0.012 * decay(t, DRAIN, 300)
            + 0.01 * decay(t, JOINED, 600),
            "capacity": 0.012 * self.pressure,
            "declined": 0.0005 * noise(0.3),
            "corrupt": np.zeros(len(t)),
        }
