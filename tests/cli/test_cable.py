"""bench/cable.py between two network namespaces: packets arrive late, not all of them, and no more than the rate allows."""
import json
import os
import shutil
import subprocess
import sys
import unittest

from fixtures import SOURCE

CABLE = os.path.join(SOURCE, "bench", "cable.py")
# The other end: sends back what it gets.
ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 7))
print("up", flush=True)
while True:
    packet, sender = s.recvfrom(2000)
    s.sendto(packet, sender)
"""
# This one: the seconds of each packet's way there and back; -1: it did not come.
ASK = """
import json, socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.25)
seconds = []
for i in range(int(sys.argv[2])):
    begin = time.monotonic()
    s.sendto(bytes(1000), (sys.argv[1], 7))
    try:
        s.recv(2000)
        seconds.append(time.monotonic() - begin)
    except TimeoutError:
        seconds.append(-1)
print(json.dumps(seconds))
"""


def may_lay_cables():
    return os.getuid() == 0 and shutil.which("ip") and os.path.exists("/dev/net/tun")


@unittest.skipUnless(may_lay_cables(), "a cable is for root, who has iproute2 and TUN devices")
class Cable(unittest.TestCase):
    def setUp(self):
        self.ends = [f"hunch-test-{side}-{os.getpid()}" for side in "ab"]
        for end in self.ends:
            if subprocess.run(["ip", "netns", "add", end], stderr=subprocess.DEVNULL, check=False).returncode != 0:
                self.skipTest("network namespaces are not allowed here")
            self.addCleanup(subprocess.run, ["ip", "netns", "del", end], check=False)

    def started(self, command, first_line):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        if process.stdout.readline().strip() != first_line:
            error = process.communicate()[1]
            if "setns" in error or "cannot be entered" in error or "Operation not permitted" in error:
                self.skipTest(error.splitlines()[-1])
            self.fail(error)
        return process

    def seconds_of(self, n, *options):
        """Of n packets, one after the other, there and back."""
        self.started([sys.executable, CABLE, self.ends[0], "10.99.1.1/24", self.ends[1], "10.99.1.2/24", *options], "ready")
        self.started(["ip", "netns", "exec", self.ends[1], sys.executable, "-c", ECHO], "up")
        asked = subprocess.run(["ip", "netns", "exec", self.ends[0], sys.executable, "-c", ASK, "10.99.1.2", str(n)], stdout=subprocess.PIPE, check=True)
        return json.loads(asked.stdout)

    def test_delay(self):
        seconds = self.seconds_of(10, "--delay", "20ms")
        self.assertGreater(min(seconds), 0.04)

    def test_rate(self):
        # 1,028 bytes of a packet with its headers, by 1 Mbit/s, there and back.
        self.assertGreater(min(self.seconds_of(5, "--rate", "1mbit")), 2 * 8 * 1028 / 1e6)

    def test_loss(self):
        seconds = self.seconds_of(40, "--loss", "30%")
        n_lost = seconds.count(-1)  # one of two: of 40, between 5 and 36 with all but certainty
        self.assertTrue(5 < n_lost < 36, seconds)

    def test_words_that_are_not_understood(self):
        for option, value in (("--delay", "5"), ("--loss", "half"), ("--rate", "1kbit")):
            result = subprocess.run([sys.executable, CABLE, "a", "1/24", "b", "2/24", option, value], stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(result.returncode, 2)
            self.assertIn(f"found '{value}'", result.stderr)


if __name__ == "__main__":
    unittest.main()
