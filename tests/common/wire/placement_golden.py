"""The golden vectors of placement_test.cpp, from the definition of rendezvous hashing alone."""

import math

MASK = (1 << 64) - 1


def mix64(x):
    """SplitMix64's finaliser (Steele, Lea, Flood 2014)."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def node_hash(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return mix64(h)


def order(high, low, names, weights):
    def score(i):
        name = node_hash(names[i])
        product = ((name + high) & MASK) * ((mix64(name) + low) & MASK)
        u = ((((product >> 64) ^ product) & MASK) >> 11) + 0.5
        return -weights[i] / math.log(u * 2.0**-53)

    return sorted(range(len(names)), key=score, reverse=True)


NODES = [f"node-{n}" for n in range(1, 6)]
for name in ("node-1", ""):
    print(f"node_hash({name!r}) = {node_hash(name):#x}")
for key in ((0, 0), (1, 0), (0, 1), (0x0123456789ABCDEF, 0xFEDCBA9876543210), (MASK, MASK)):
    print(f"{{{{{key[0]:#x}, {key[1]:#x}}}, {order(*key, NODES, [1] * 5)}}}")
print("node-3 with weight 8:", order(0, 0, NODES, [1, 1, 8, 1, 1]))
print("weights 0.5 to 2.5:", order(1, 2, NODES, [0.5, 1, 1.5, 2, 2.5]))
