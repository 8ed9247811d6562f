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
    layers    compute + (N - 1) * message(4 width) + message(4 words); N answers at once go side by side
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


def measured_network(ranks):
    """Latency and bandwidth of what bench_ranks measured: the line through its sums. Of two ranks a sum is one exchange."""
    rows = ranks["rows"]
    small, large = rows[0], rows[-1]
    rounds = math.ceil(math.log2(ranks["n_ranks"]))
    latency = small["sum_us"] / rounds
    return Network("measured", latency, large["bytes"] / max(1e-9, large["sum_us"] / rounds - latency))


def tensor_us(network, n, compute_us, n_layer, width, n_words):
    if n == 1:
        return compute_us
    gather = network.latency + 4 * n_words * (n - 1) / n / network.bytes_per_us
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
        stage = compute_us / n + (network.message(4 * width) if n > 1 else 0)
        together = min(n * 1e6 / layers, 1e6 / stage) if n > 1 else 1e6 / layers
        rows.append((n, 1e6 / tensors, compute_us / tensors / n, 1e6 / layers, together))
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
            networks.append(measured_network(json.load(f)))
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
        print("| machines | tensors, tokens/s | efficiency | layers, one answer | layers, an answer on each |")
        print("|---|---|---|---|---|")
        for row in one["rows"]:
            print(f"| {row['n']} | {row['tensor_tokens_per_s']:.1f} | {100 * row['efficiency']:.0f} % | {row['layers_tokens_per_s']:.1f} | {row['layers_together_tokens_per_s']:.1f} |")
        print()


if __name__ == "__main__":
    main()
