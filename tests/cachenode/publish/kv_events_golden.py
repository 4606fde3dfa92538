"""Writes tests/cachenode/publish/kv_events_golden.txt: batches as msgspec encodes vLLM's event structs.

The structs have the names, fields and options of vLLM 0.26's distributed/kv_events.py (map), and of
0.20's (array: its events were array_like too). Run with a Python that has msgspec:

    python tests/cachenode/publish/kv_events_golden.py > tests/cachenode/publish/kv_events_golden.txt
"""

import msgspec


def schema(is_array):
    class EventBatch(msgspec.Struct, array_like=True, omit_defaults=True):
        ts: float
        events: list
        data_parallel_rank: int | None = None

    class Event(msgspec.Struct, array_like=is_array, omit_defaults=True, tag=True):
        pass

    class BlockStored(Event):
        block_hashes: list[int]
        parent_block_hash: int | None
        token_ids: list[int]
        block_size: int
        lora_id: int | None
        medium: str | None
        lora_name: str | None
        extra_keys: list | None = None

    class BlockRemoved(Event):
        block_hashes: list[int]
        medium: str | None

    class AllBlocksCleared(Event):
        pass

    return EventBatch, BlockStored, BlockRemoved, AllBlocksCleared


def batches(is_array):
    """The same events as tests/cachenode/publish/kv_event_codec_test.cpp makes."""
    batch, stored, removed, cleared = schema(is_array)
    yield batch(1.5, [cleared()], 0)
    yield batch(1_700_000_000.123, [
        stored([2**64 - 1, 2**32], None, [3 * n for n in range(128)], 64, None, "GPU", None),
        removed([7, 300, 70_000], "GPU"),
    ], 0)
    yield batch(0.0, [
        stored([1, 2, 3], None, [1000 * n for n in range(192)], 64, None, "GPU", None,
               [["0123456789abcdef"], None, None]),
        stored([4], 3, [5] * 64, 64, None, "GPU", None),
    ], 0)
    yield batch(2.0, [removed([n], "GPU") for n in range(70_000)], 0)


for is_array in (False, True):
    for made in batches(is_array):
        payload = msgspec.msgpack.encode(made)
        # The last is too long to keep: its size and a plain sum of its bytes stand for it.
        shown = payload.hex() if len(payload) < 4096 else f"{len(payload)} {sum(payload)}"
        print("array" if is_array else "map", shown)
