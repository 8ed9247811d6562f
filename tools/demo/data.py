"""Corpus files to token streams, and the stream of training batches.

Format of the text, kept exactly as the corpus has it: one paragraph per line and a blank line
("\\n\\n", two tokens) between paragraphs, so that raw files can be fed to the model unchanged. The line
`<|endoftext|>` after a book becomes `</s>` at the start of the next document; every document is
`</s>` + tokens of the stripped text.

Every training window is `</s>` followed by consecutive tokens of the stream: at inference, too, each
prompt begins with `</s>` at position 0. Half of the windows start at the start of a paragraph.
"""
import numpy as np

from . import bpe

SEPARATOR = "<|endoftext|>"


def documents(path):
    """The books of a corpus file, as stripped texts."""
    for part in path.read_text(encoding="utf-8").split("\n" + SEPARATOR):
        part = part.strip()
        if part:
            yield part


def corpus_files(corpus, split):
    """The files of 'train', 'val' or 'test'."""
    files = sorted(corpus.glob(f"{split}-*.txt")) or sorted(corpus.glob(f"{split}.txt"))
    if not files:
        raise SystemExit(f"no {split} text in {corpus}")
    return files


def encode_split(tokenizer, corpus, split, out):
    """Writes the uint16 token stream of one split to `out`; returns its length."""
    chunks = []
    for path in corpus_files(corpus, split):
        for doc in documents(path):
            chunks.append(np.array([bpe.BOS] + tokenizer.encode(doc), dtype=np.uint16))
    stream = np.concatenate(chunks)
    stream.tofile(out)
    return len(stream)


class Batches:
    """Endless shuffled training windows; its state can be saved and restored.

    An epoch cuts the stream, at a random phase, into windows of n_ctx tokens, moves half of them to the
    next paragraph start, and visits them in random order.
    """

    def __init__(self, stream, newline_id, n_ctx, batch, seed=1):
        self.stream, self.n_ctx, self.batch = stream, n_ctx, batch
        breaks = np.flatnonzero(stream == newline_id) + 1
        self.starts = breaks[(breaks < len(stream)) & (stream[np.minimum(breaks, len(stream) - 1)] != newline_id)]
        self.state = {"seed": seed, "epoch": 0, "next": 0}
        self._plan()

    def _plan(self):
        rng = np.random.default_rng((self.state["seed"], self.state["epoch"], self.n_ctx))
        first = rng.integers(0, self.n_ctx)
        at = np.arange(first, len(self.stream) - 2 * self.n_ctx, self.n_ctx)
        nxt = self.starts[np.minimum(np.searchsorted(self.starts, at), len(self.starts) - 1)]
        move = (rng.random(len(at)) < 0.5) & (nxt - at < self.n_ctx)
        at = np.where(move & (nxt > at), nxt, at)
        self.order = rng.permutation(at)

    def restore(self, state):
        """Continues where a saved state was."""
        self.state = dict(state)
        self._plan()

    def next(self):
        """(inputs, targets), both int64 of shape [batch, n_ctx]."""
        if self.state["next"] + self.batch > len(self.order):
            self.state["epoch"] += 1
            self.state["next"] = 0
            self._plan()
        at = self.order[self.state["next"] : self.state["next"] + self.batch]
        self.state["next"] += self.batch
        return windows(self.stream, at, self.n_ctx)


def windows(stream, at, n_ctx):
    """Windows that predict stream[a : a + n_ctx] for each a, with `</s>` put in front."""
    y = np.stack([stream[a : a + n_ctx] for a in at]).astype(np.int64)
    x = np.concatenate([np.full((len(y), 1), bpe.BOS, dtype=np.int64), y[:, :-1]], axis=1)
    return x, y
