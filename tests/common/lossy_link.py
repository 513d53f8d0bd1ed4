"""Joins two network namespaces by a link that is slow and loses packets, for kernels
without netem: lossy_link.py NAMESPACE NAMESPACE DEVICE SECONDS SHARE

Each packet takes SECONDS, and the SHARE of them does not arrive, always the same ones. The
device of that name is in both; it says so by a line, and ends with its standard input.
"""

import collections
import ctypes
import fcntl
import os
import random
import select
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
LIBC = ctypes.CDLL(None, use_errno=True)


def tun(namespace, device):
    """A device in a namespace, which this process stays in."""
    with open(f"/run/netns/{namespace}") as there:
        if LIBC.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    end = os.open("/dev/net/tun", os.O_RDWR)
    name = struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI)
    fcntl.ioctl(end, TUNSETIFF, name)
    return end


def deliver(end, packet):
    try:
        os.write(end, packet)
    except OSError:
        pass  # The device is down.


def carry(one, other, delay, share):
    chance = random.Random(1)
    opposite = {one: other, other: one}
    waiting = collections.deque()
    while True:
        pause = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select([0, one, other], [], [], pause)
        if 0 in ready:
            return
        for end in ready:
            packet = os.read(end, 65536)
            if chance.random() >= share:
                waiting.append((time.monotonic() + delay, opposite[end], packet))
        while waiting and waiting[0][0] <= time.monotonic():
            _, end, packet = waiting.popleft()
            deliver(end, packet)


def main():
    one, other, device, delay, share = sys.argv[1:]
    ends = tun(one, device), tun(other, device)
    print("ready", flush=True)
    carry(*ends, float(delay), float(share))


main()
