"""Writes a target's series as OpenMetrics text, under the names and labels that programs export."""

import math

import numpy as np

from story import JOINED, SHOWN, STEP, UPGRADED


def normal_cdf(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


class Writer:
    """Writes one target's series; one that is driven and no program exports raises KeyError."""

    def __init__(self, out, start, templates, model):
        self.out, self.start, self.templates = out, start, templates
        self.model, self.t, self.up = model, model.t, model.up
        self.driven = set()

    def key(self, name, label, value, **more):
        """The one exported series (two with tier= etc.: the wanted one) of a driven name."""
        names = (label,) if isinstance(label, str) else label or ()
        want = dict(zip(names, value.split("/"))) if label else {}
        want.update(more)
        found = [
            k
            for k in self.templates
            if k[0] == name and all(dict(k[1]).get(n) == v for n, v in want.items())
        ]
        if not found:
            raise KeyError(f"no program exports {name}{want}")
        return found

    def series(self, name, labels, values):
        labels = dict(labels)
        head = name + "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "} "
        since = {"node": JOINED} if labels.get("node") == "node-4" else {}
        alive = self.up & (self.t >= since.get("node", -9e9))
        times = self.start + self.t
        values = np.broadcast_to(values, self.t.shape)
        self.out.write(
            "".join(
                f"{head}{float(v)!r} {int(at)}\n"
                for v, at, lives in zip(values, times, alive)
                if lives
            )
        )

    def counter(self, rate):
        """Rates to a count that begins anew where the process does."""
        step = np.where(self.up, np.maximum(np.broadcast_to(rate, self.t.shape), 0) * STEP, 0)
        total = np.cumsum(step)
        for at in np.flatnonzero(self.up[1:] & ~self.up[:-1]) + 1:
            total[at:] -= total[at - 1]
        return total

    def write(self, target):
        for (name, label, value), rate in self.model.counters().items():
            for number, key in enumerate(self.key(name, label, value)):
                self.driven.add(key)
                self.series(
                    *self.labelled(key, target), self.counter(rate if number == 0 else 0 * rate)
                )
        for (name, label, value), amount in self.model.gauges().items():
            if isinstance(amount, tuple):
                amount = self.start + amount[1]
            for key in self.key(name, label, value):
                self.driven.add(key)
                self.series(*self.labelled(key, target), amount)
        for (name, label, value), (rate, median, spread) in self.model.histograms().items():
            self.histogram(name, label, value, (rate, median, spread), target)
        self.rest(target)

    def histogram(self, name, label, value, shape, target):
        rate, median, spread = shape
        for key in self.key(name + "_bucket", label, value):
            bound = float(dict(key[1])["le"].replace("+Inf", "inf"))
            below = 1.0 if math.isinf(bound) else normal_cdf(np.log(bound / median) / spread)
            self.driven.add(key)
            self.series(*self.labelled(key, target), self.counter(rate * below))
        for suffix, factor in (("_count", 1), ("_sum", median * math.exp(spread**2 / 2))):
            for key in self.key(name + suffix, label, value):
                self.driven.add(key)
                self.series(*self.labelled(key, target), self.counter(rate * factor))

    def rest(self, target):
        """What nothing drives: as it was found, or 0 if it counts events."""
        hashes = 0
        for key in sorted(self.templates):
            name, labels = key
            if key in self.driven or dict(labels).get("route", "chat_completions") not in SHOWN:
                continue
            hashes += name == "hearth_config_hash_info"
            if name == "hearth_config_hash_info" and hashes > 1:
                continue  # Every router of the story has the same settings.
            if name == "hearth_build_info" and target["instance"] == "node-2":
                self.upgraded(key, target)
                continue
            counts = name.endswith(("_total", "_bucket", "_count", "_sum"))
            self.series(*self.labelled(key, target), 0 if counts else self.templates[key])

    def upgraded(self, key, target):
        up = self.up
        for version, lives in (("0.1.1", self.t >= UPGRADED), (None, self.t < UPGRADED)):
            name, labels = self.labelled(key, target)
            self.up = up & lives
            self.series(name, {**labels, **({"version": version} if version else {})}, 1)
        self.up = up

    @staticmethod
    def labelled(key, target):
        name, labels = key
        return name, {**dict(labels), **target}
