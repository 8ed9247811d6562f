#!/usr/bin/env python3
"""How fast one model is on N machines, from what was measured on one: tokens/s of an answer, efficiency, and where another
machine stops paying (docs/scale.md).

    scale_model.py --bench bench.json --shape 22,2048,32000 --ranks ranks.json [--network NAME=LATENCY_US,GBIT]...

bench.json   `hunch bench MODEL --json` on one machine: seconds for a token
--shape      layers, width, words of the vocabulary
ranks.json   `bench_ranks`: what processes on one machine, or in network namespaces, pay for a sum of some size. A network
             given by --network instead is latency (one way) and bandwidth.

The model, per token of one answer (Shoeybi et al. 2019 has two sums a layer; Thakur et al. 2005 the times of sums):
    tensors   compute / N + 2 layers * sum(N, 4 width) + broadcast(N, 512 B) + the logits that others have
    layers    compute + (N - 1) * message(4 width) + message(4 words); a step of N answers takes as long
"""
import argparse
import json
import math


class Network:
    """A message of n bytes takes latency + n / bandwidth."""

    def __init__(self, name, latency_us, bytes_per_us):
        self.name, self.latency, self.bytes_per_us = name, latency_us, bytes_per_us

    def message(self, n_bytes):
        return self.latency + n_bytes / self.bytes_per_us

    def sum(self, n, n_bytes):
        """The better of doubling (log N rounds of everything) and a ring (2 (N - 1) rounds of an N-th)."""
        rounds = math.ceil(math.log2(n))
        return min(rounds * self.message(n_bytes), 2 * (n - 1) * self.message(n_bytes / n))

    def broadcast(self, n, n_bytes):
        return math.ceil(math.log2(n)) * self.message(n_bytes)


class Measured(Network):
    """What bench_ranks measured: of two ranks a sum is one exchange, of more as many as their number doubles. Between the sizes
    that were measured, and beyond them, in straight lines."""

    def __init__(self, ranks):
        rounds = math.ceil(math.log2(ranks["n_ranks"]))
        self.points = [(row["bytes"], row["sum_us"] / rounds) for row in ranks["rows"]]
        (n0, t0), (n1, t1) = self.points[0], self.points[-1]
        super().__init__("measured", t0, (n1 - n0) / max(1e-9, t1 - t0))

    def message(self, n_bytes):
        pairs = list(zip(self.points, self.points[1:]))
        for (n0, t0), (n1, t1) in pairs:
            if n_bytes <= n1 or n1 == self.points[-1][0]:
                return max(self.latency, t0 + (t1 - t0) * (n_bytes - n0) / (n1 - n0))
        return self.latency


def tensor_us(network, n, compute_us, n_layer, width, n_words):
    if n == 1:
        return compute_us
    gather = network.message(4 * n_words * (n - 1) / n)
    return compute_us / n + 2 * n_layer * network.sum(n, 4 * width) + network.broadcast(n, 512) + gather


def layers_us(network, n, compute_us, width, n_words):
    if n == 1:
        return compute_us
    return compute_us + (n - 1) * network.message(4 * width) + network.message(4 * n_words) + network.broadcast(n, 512)


def table(network, compute_us, n_layer, width, n_words, counts):
    """Rows of (N, tensor tokens/s, efficiency, layers tokens/s of one answer, of N answers together)."""
    rows = []
    for n in counts:
        tensors = tensor_us(network, n, compute_us, n_layer, width, n_words)
        layers = layers_us(network, n, compute_us, width, n_words)
        # A step of few answers reads as many weights as a step of one.
        by_layers = (1e6 / layers, n * 1e6 / layers) if n <= n_layer else (None, None)
        rows.append((n, 1e6 / tensors, compute_us / tensors / n, *by_layers))
    return rows


def pays_up_to(rows, least_gain=1.2):
    """The most machines where doubling them still makes an answer at least so much faster."""
    best = 1
    for (_, before, *_), (n, after, *_) in zip(rows, rows[1:]):
        if after < least_gain * before:
            break
        best = n
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", help="of one machine")
    parser.add_argument("--token-us", type=float, help="instead: microseconds of a token on one machine")
    parser.add_argument("--shape", required=True, help="LAYERS,WIDTH,WORDS")
    parser.add_argument("--ranks", help="of bench_ranks")
    parser.add_argument("--network", action="append", default=[], help="NAME=LATENCY_US,GBIT")
    parser.add_argument("--nodes", default="1,2,4,8,16,32,64")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if (args.bench is None) == (args.token_us is None):
        parser.error("give either --bench or --token-us")
    compute_us = args.token_us
    if args.bench:
        with open(args.bench, encoding="utf-8") as f:
            rows = json.load(f)["rows"]
        decode = [row for row in rows if row["name"].startswith("tg")]
        if not decode:
            parser.error(f"{args.bench} has no row of generation: expected one whose name begins with tg")
        compute_us = 1e6 / decode[0]["tokens_per_s"]
    n_layer, width, n_words = (int(x) for x in args.shape.split(","))
    networks = []
    if args.ranks:
        with open(args.ranks, encoding="utf-8") as f:
            networks.append(Measured(json.load(f)))
    for text in args.network:
        name, numbers = text.split("=")
        latency, gbit = (float(x) for x in numbers.split(","))
        networks.append(Network(name, latency, gbit * 1e9 / 8 / 1e6))
    if not networks:
        parser.error("give --ranks, --network or both")
    counts = [int(n) for n in args.nodes.split(",")]
    out = []
    for network in networks:
        rows = table(network, compute_us, n_layer, width, n_words, counts)
        out.append({"network": network.name, "latency_us": network.latency, "gbit_per_s": network.bytes_per_us * 8e-3,
                    "pays_up_to": pays_up_to(rows),
                    "rows": [dict(zip(("n", "tensor_tokens_per_s", "efficiency", "layers_tokens_per_s", "layers_together_tokens_per_s"), row)) for row in rows]})
    if args.json:
        print(json.dumps(out))
        return
    for one in out:
        print(f"{one['network']}: {one['latency_us']:.1f} us, {one['gbit_per_s']:.1f} Gbit/s; tensors pay up to {one['pays_up_to']} machines")
        print("| machines | tensors, tokens/s | efficiency | layers, one answer | layers, as many answers as machines |")
        print("|---|---|---|---|---|")
        for row in one["rows"]:
            layers = [f"{row[key]:.1f}" if row[key] else "" for key in ("layers_tokens_per_s", "layers_together_tokens_per_s")]
            print(f"| {row['n']} | {row['tensor_tokens_per_s']:.1f} | {100 * row['efficiency']:.0f} % | {layers[0]} | {layers[1]} |")
        print()


if __name__ == "__main__":
    main()
