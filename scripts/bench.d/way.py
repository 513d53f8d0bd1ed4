"""A long way between two network namespaces: packets arrive late, and some not at
all. Two tunnels and a process that carries packets from one to the other: not
every kernel has netem."""

import collections
import contextlib
import fcntl
import multiprocessing
import os
import random
import select
import struct
import time

from measure import run

# The addresses of its ends.
NEAR, FAR = "192.0.2.1", "192.0.2.2"

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
MTU = 1500


def tunnel(name):
    """A network device whose packets are read and written here."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22s", name.encode(), IFF_TUN_NO_PI, b""))
    return device


def carry(ends, delay, loss):
    """Carries packets both ways, for ever."""
    chance = random.Random(1)
    late = {end: collections.deque() for end in ends}
    other = dict(zip(ends, reversed(ends)))
    while True:
        due = [waiting[0][0] for waiting in late.values() if waiting]
        timeout = max(0, min(due) - time.monotonic()) if due else None
        for end in select.select(ends, [], [], timeout)[0]:
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet = os.read(end, MTU)
                    if chance.random() >= loss:
                        late[other[end]].append((time.monotonic() + delay, packet))
        now = time.monotonic()
        for end, waiting in late.items():
            while waiting and waiting[0][0] <= now:
                with contextlib.suppress(OSError):
                    os.write(end, waiting[0][1])
                waiting.popleft()


@contextlib.contextmanager
def long_way(round_trip, loss):
    """What a command begins with to be at the near end, and at the far one."""
    made, devices = [], []
    carrier = None
    try:
        for end, address in (("near", NEAR), ("far", FAR)):
            name, device = f"tfd-bench-{os.getpid()}-{end}", f"tfdb{end}"
            run("ip", "netns", "add", name)
            made.append(name)
            devices.append(tunnel(device))
            run(*f"ip link set {device} netns {name}".split())
            run(*f"ip -n {name} address add {address}/24 dev {device}".split())
            run(*f"ip -n {name} link set {device} up".split())
            run(*f"ip -n {name} link set lo up".split())
            # Losses slow it down, as on most machines; the system may have another.
            route = f"route replace 192.0.2.0/24 dev {device} src {address} congctl cubic"
            run(*f"ip -n {name} {route}".split())
        words = (devices, round_trip / 2, loss)
        carrier = multiprocessing.Process(target=carry, args=words, daemon=True)
        carrier.start()
        yield tuple(["ip", "netns", "exec", name] for name in made)
    finally:
        if carrier:
            carrier.terminate()
            carrier.join()
        for device in devices:
            os.close(device)
        for name in made:
            run("ip", "netns", "delete", name)
