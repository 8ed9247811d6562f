#!/usr/bin/env python3
"""Many clients at servers that speak OpenAI's API: time to the first token, time between tokens, tokens per second.

    hunch serve model.gguf --port 8081 --parallel 32 &
    bench/serve_load.py hunch=http://127.0.0.1:8081 other=http://127.0.0.1:8082 --clients 1,4,16,32 --seconds 20

Every client streams one completion after the other. Prompts are parts of a text, no two alike, the same for every server;
servers take turns, --rounds times, and of each figure the median of the rounds is printed.
"""
import argparse
import asyncio
import json
import pathlib
import random
import statistics
import time
import urllib.parse

BOOK = pathlib.Path(__file__).resolve().parent.parent / "models/demo/book.txt"


class Load:
    """One round at one server."""

    def __init__(self, url, prompts, extra):
        self.url, self.prompts, self.extra = urllib.parse.urlsplit(url), iter(prompts), extra
        self.first, self.between, self.n_tokens, self.n_answers, self.n_long = [], [], 0, 0, 0

    async def answer(self, end):
        """Streams one completion; of what comes after `end`, nothing counts."""
        body = json.dumps({"prompt": next(self.prompts), "stream": True, "temperature": 0, "ignore_eos": True, **self.extra}).encode()
        reader, writer = await asyncio.open_connection(self.url.hostname, self.url.port)
        begun = last = time.monotonic()
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body) + body)
        status = await reader.readline()
        if b" 200 " not in status:
            raise SystemExit(f"{self.url.netloc}: {status.decode().strip()}\n{(await reader.read(2000)).decode(errors='replace')}")
        n = 0
        async for line in reader:
            if not line.startswith(b"data: {") or b'"finish_reason":"' in line.replace(b" ", b""):
                continue
            now = time.monotonic()
            if now > end:
                break
            (self.between if n else self.first).append(now - (last if n else begun))
            last = now
            n += 1
        self.n_tokens += n
        self.n_answers += 1
        writer.close()

    async def client(self, end):
        while time.monotonic() < end:
            await self.answer(end)

    async def interrupt(self, end, prompts):
        """A client with long prompts, which is not counted."""
        other = Load(self.url.geturl(), prompts, {"max_tokens": 1, "cache_prompt": False})
        while time.monotonic() < end:
            await other.answer(end)
            self.n_long += 1
            await asyncio.sleep(1)

    async def run(self, n_clients, seconds, long_prompts=None):
        end = time.monotonic() + seconds
        others = [self.interrupt(end, long_prompts)] if long_prompts else []
        await asyncio.gather(*(self.client(end) for _ in range(n_clients)), *others)
        return {"tokens_per_s": self.n_tokens / seconds, "n_long": self.n_long, **spread("first", self.first), **spread("between", self.between)}


def spread(name, times):
    """Percentiles in ms."""
    if len(times) < 2:
        return {f"{name}_{p}": float("nan") for p in ("p50", "p95", "p99")}
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {f"{name}_p50": 1e3 * cuts[49], f"{name}_p95": 1e3 * cuts[94], f"{name}_p99": 1e3 * cuts[98]}


def prompts_of(text, n_words, seed):
    words = text.split()
    draw = random.Random(seed)
    while True:
        n = draw.choice(n_words)
        first = draw.randrange(len(words) - n)
        yield " ".join(words[first:first + n])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=URL")
    parser.add_argument("--clients", default="1,4,16", help="numbers of clients, one after the other")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--words", default="20,60,200", help="of prompts, drawn from these")
    parser.add_argument("--long", type=int, default=0, metavar="WORDS",
                        help="beside them a client that has a prompt of so many words read, again and again; its tokens do not count")
    parser.add_argument("--text", type=pathlib.Path, default=BOOK)
    parser.add_argument("--body", type=json.loads, default={}, metavar="JSON", help="more fields of every request")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    servers = dict(s.split("=", 1) for s in args.servers)
    text = args.text.read_text(encoding="utf-8", errors="replace")
    n_words = [int(n) for n in args.words.split(",")]
    results = {}
    for n_clients in (int(n) for n in args.clients.split(",")):
        for turn in range(args.rounds):
            for name, url in servers.items():
                load = Load(url, prompts_of(text, n_words, 1000 * n_clients + turn), {"max_tokens": args.tokens, **args.body})
                results.setdefault((n_clients, name), []).append(asyncio.run(load.run(n_clients, args.seconds, args.long and prompts_of(text, [args.long], turn))))
    rows = [{"clients": n, "server": name, **{k: statistics.median(r[k] for r in rounds) for k in rounds[0]}}
            for (n, name), rounds in results.items()]
    if args.json:
        print(json.dumps(rows))
        return
    print("| clients | server | tokens/s | first token p50 / p95 / p99 (ms) | between tokens p50 / p95 / p99 (ms) |\n|---|---|---|---|---|")
    for r in rows:
        times = [" / ".join(f"{r[f'{what}_{p}']:.0f}" for p in ("p50", "p95", "p99")) for what in ("first", "between")]
        print(f"| {r['clients']} | {r['server']} | {r['tokens_per_s']:.1f} | {times[0]} | {times[1]} |")


if __name__ == "__main__":
    main()
