"""A terminal for the end-to-end tests: a pseudo-terminal with a person at it, and what its screen would show."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

PASTE_BEGIN, PASTE_END = "\x1b[200~", "\x1b[201~"


class Terminal:
    """Starts a program with these of its streams ("stdin", "stdout", "stderr") at a terminal; others are pipes."""

    def __init__(self, arguments, env, streams=("stdin", "stderr"), columns=80, rows=24):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        ends = {name: slave if name in streams else subprocess.PIPE for name in ("stdin", "stdout", "stderr")}

        def take_terminal():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(arguments, env={**env, "TERM": "xterm"}, preexec_fn=take_terminal, pass_fds=[slave], **ends)
        os.close(slave)
        self.seen = ""
        self.read_to = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        for stream in self.process.stdin, self.process.stdout, self.process.stderr:
            if stream:
                stream.close()
        self.process.wait()
        os.close(self.master)

    def read(self, seconds):
        """What comes within this time; False at the end."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 1 << 16)
        except OSError:  # nobody is at the other end any more
            return False
        self.pending = getattr(self, "pending", b"") + data
        text = self.pending.decode("utf-8", "ignore")
        self.pending = self.pending[len(text.encode("utf-8")):]
        self.seen += text
        return bool(data)

    def expect(self, text, seconds=60):
        """Waits until `text` is shown after what was expected before."""
        end = time.monotonic() + seconds
        while text not in self.seen[self.read_to:]:
            assert time.monotonic() < end, f"expected {text!r}, found {self.seen[self.read_to:]!r}"
            assert self.read(0.2) or text in self.seen[self.read_to:], f"it ended before {text!r}: {self.seen!r}"
        self.read_to = self.seen.index(text, self.read_to) + len(text)

    def type(self, text):
        os.write(self.master, text.encode("utf-8"))

    def finish(self, seconds=60):
        """Waits for the end; returns what came through the pipes: (stdout, stderr)."""
        end = time.monotonic() + seconds
        while self.read(0.2):
            assert time.monotonic() < end, f"it goes on: {self.seen!r}"
            if self.process.poll() is not None and not select.select([self.master], [], [], 0)[0]:
                break
        out, err = self.process.communicate(timeout=seconds)
        return (out or b"").decode("utf-8"), (err or b"").decode("utf-8")


def rows_of(text):
    """The rows of a wide enough screen after this text: line ends, "back n columns", "clear the rest of the line", styles."""
    rows, column = [""], 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", text):
        if part.startswith("\x1b["):
            if part[-1] == "D":
                column -= int(part[2:-1] or 1)
            elif part[-1] == "K":
                rows[-1] = rows[-1][:column]
            else:
                assert part[-1] in "mhl", f"an escape sequence that nobody sends: {part!r}"
        elif part == "\n":
            rows.append("")
            column = 0
        elif part == "\r":
            column = 0
        else:
            rows[-1] = rows[-1][:column].ljust(column) + part + rows[-1][column + 1:]
            column += 1
    return [row.rstrip() for row in rows]
