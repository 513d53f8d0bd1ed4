"""The cipher, and the two parts of a stream: before its keystream has run into a
cycle, and on it."""

from measure import medians, note

PART_MIB = 256


def cipher(bench):
    """MiB per second on one core."""
    words = bench.words({}, "cipher")
    return dict(zip(("loop", "ours", "generator", "recurrence", "ours on the cycle"), words))


def measure(bench):
    """MiB per second of transfers, and of the cipher alone."""
    note("streams: the first 256 MiB, and on the cycle")
    bench.words({}, "keys")
    size = bench.scaled(PART_MIB, 32)
    bench.file(size, "part")
    measures = {"cipher": lambda: cipher(bench)}
    for part in ("first", "cycle"):
        for flow in ("PUT", "GET", "SNDFILE", "RCVFILE"):
            measures[f"{part} {flow}"] = lambda part=part, flow=flow: bench.transfer(
                bench.plain, flow, "part", part
            )
    for flow in ("PUT", "GET"):
        measures[f"alone {flow}"] = lambda flow=flow: bench.alone(flow, "part")
        measures[f"in place {flow}"] = lambda flow=flow: bench.alone_in_place(flow, "part")
    measures["new memory"] = lambda: bench.new_memory(size)
    return {"size": size, **medians(bench.rounds, measures)}
