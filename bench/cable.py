#!/usr/bin/env python3
"""A cable between two network namespaces that delays, loses and limits packets, for kernels without netem: bench/netns.sh starts it.

    bench/cable.py NAMESPACE ADDRESS/BITS NAMESPACE ADDRESS/BITS [--delay 1ms] [--loss 0.5%] [--rate 1gbit] [--seed N]

Makes a TUN device named cable in either namespace, with its address, prints "ready" and passes packets on until it is killed. For root.
Packets come up to 0.3 ms later than they are told to; a queue has room for 1,000 packets of those that wait for the rate, as
Linux's own has.
"""
import argparse
import ctypes
import fcntl
import os
import random
import re
import selectors
import struct
import subprocess
import time
from collections import deque

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
LARGEST_PACKET, ROOM = 65536, 1000


def number_with(units):
    """Of an argument such as 1.5ms, with the units' factors."""

    def parse(text):
        match = re.fullmatch(r"([0-9.]+)([a-z%]+)", text)
        if not match or match[2] not in units:
            raise argparse.ArgumentTypeError(f"expected a number and one of {', '.join(units)}, found '{text}'")
        return float(match[1]) * units[match[2]]

    return parse


def end_of_cable(namespace, address):
    """The file of a TUN device in that namespace. This process is there afterwards."""
    with open(f"/run/netns/{namespace}", "rb") as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"the network namespace {namespace} cannot be entered")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"cable", IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "addr", "add", address, "dev", "cable"], check=True)
    subprocess.run(["ip", "link", "set", "cable", "up"], check=True)
    return tun


class Direction:
    """From one end to the other: packets leave one after the other by the rate, and arrive after the delay."""

    def __init__(self, source, target, options):
        self.source, self.target, self.options = source, target, options
        self.under_way = deque()  # (when it arrives, packet), in order
        self.free_at = 0.0  # when the rate lets the next one leave
        self.random = random.Random(options.seed + source)

    def take(self, now):
        while True:
            try:
                packet = os.read(self.source, LARGEST_PACKET)
            except BlockingIOError:
                return
            if len(self.under_way) >= ROOM or self.random.random() < self.options.loss:
                continue
            self.free_at = max(now, self.free_at) + (8 * len(packet) / self.options.rate if self.options.rate else 0)
            self.under_way.append((self.free_at + self.options.delay, packet))

    def give(self, now):
        while self.under_way and self.under_way[0][0] <= now:
            try:
                os.write(self.target, self.under_way.popleft()[1])
            except OSError:  # a full queue at the other end, as on any network: who sent it sends it again
                pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ends", nargs=4, metavar="NAMESPACE ADDRESS")
    parser.add_argument("--delay", type=number_with({"us": 1e-6, "ms": 1e-3, "s": 1.0}), default=0.0, help="one way")
    parser.add_argument("--loss", type=number_with({"%": 0.01}), default=0.0)
    parser.add_argument("--rate", type=number_with({"mbit": 1e6, "gbit": 1e9}), default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    one, other = (end_of_cable(*options.ends[i : i + 2]) for i in (0, 2))
    directions = [Direction(one, other, options), Direction(other, one, options)]
    selector = selectors.SelectSelector()  # which sleeps by microseconds; epoll by milliseconds
    for direction in directions:
        selector.register(direction.source, selectors.EVENT_READ, direction)
    print("ready", flush=True)
    while True:
        due = [d.under_way[0][0] for d in directions if d.under_way]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        for key, _ in selector.select(wait):
            key.data.take(time.monotonic())
        for direction in directions:
            direction.give(time.monotonic())


if __name__ == "__main__":
    main()
