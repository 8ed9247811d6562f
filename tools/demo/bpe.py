"""Byte-level BPE: a trainer, an encoder and a decoder (the GPT-2 scheme, OPT's special tokens).

The pre-tokeniser is GPT-2's:
  's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+
Python's `re` has no \\p{..}, so the letter, number and white-space classes are spelled out
from `unicodedata` when the module is first used.
"""
import heapq
import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict
from functools import lru_cache

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]  # ids 0..3, as in OPT
BOS = EOS = 2
PAD = 1


@lru_cache(maxsize=None)
def byte_to_char():
    """GPT-2's reversible map from the 256 byte values to printable characters."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in keep}
    spare = 256
    for b in range(256):
        if b not in table:
            table[b] = chr(spare)
            spare += 1
    return table


@lru_cache(maxsize=None)
def char_to_byte():
    """The inverse of byte_to_char."""
    return {c: b for b, c in byte_to_char().items()}


def _char_class(is_member):
    """A regular-expression character class body for all code points with is_member(category)."""
    parts, start = [], None
    for cp in range(sys.maxunicode + 2):
        inside = cp <= sys.maxunicode and is_member(unicodedata.category(chr(cp)))
        if inside and start is None:
            start = cp
        elif not inside and start is not None:
            parts.append(f"\\U{start:08x}-\\U{cp - 1:08x}")
            start = None
    return "".join(parts)


@lru_cache(maxsize=None)
def splitter():
    """The compiled pre-tokeniser."""
    letter = _char_class(lambda c: c[0] == "L")
    number = _char_class(lambda c: c[0] == "N")
    space = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
    return re.compile(
        "'s|'t|'re|'ve|'m|'ll|'d"
        f"| ?[{letter}]+| ?[{number}]+| ?[^{space}{letter}{number}]+"
        f"|[{space}]+(?![^{space}])|[{space}]+"
    )


class Tokenizer:
    """Encodes text to ids and back, with a per-word cache."""

    def __init__(self, merges):
        """merges: list of (left, right) token strings in the order in which they were learned."""
        self.merges = merges
        tokens = SPECIALS + [byte_to_char()[b] for b in range(256)] + [a + b for a, b in merges]
        self.tokens = tokens
        self.ids = {t: i for i, t in enumerate(tokens)}
        assert len(self.ids) == len(tokens), "two merges make the same token"
        self.ranks = {m: i for i, m in enumerate(merges)}
        self.cache = {}

    def encode_word(self, word):
        """ids of one pre-token: merges the pair of lowest rank until none is left."""
        hit = self.cache.get(word)
        if hit is not None:
            return hit
        table = byte_to_char()
        parts = [table[b] for b in word.encode("utf-8")]
        while len(parts) > 1:
            rank, pair = min((self.ranks.get(p, 1 << 30), p) for p in zip(parts, parts[1:]))
            if rank == 1 << 30:
                break
            merged, i = [], 0
            while i < len(parts):
                if i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            parts = merged
        out = self.cache[word] = [self.ids[p] for p in parts]
        return out

    def encode(self, text):
        """ids of a text, without any special token."""
        out = []
        for word in splitter().findall(text):
            out.extend(self.encode_word(word))
        return out

    def decode(self, ids):
        """Text of ids; special tokens are shown by name."""
        table = char_to_byte()
        out = bytearray()
        for i in ids:
            t = self.tokens[i]
            out += t.encode() if i < len(SPECIALS) else bytes(table[c] for c in t)
        return out.decode("utf-8", errors="replace")

    def save(self, folder):
        """Writes vocab.json and merges.txt in Hugging Face's form."""
        with open(folder / "vocab.json", "w", encoding="utf-8") as f:
            json.dump(self.ids, f, ensure_ascii=False)
        with open(folder / "merges.txt", "w", encoding="utf-8") as f:
            f.write("#version: 0.2\n")
            f.writelines(f"{a} {b}\n" for a, b in self.merges)

    @staticmethod
    def load(folder):
        """Reads merges.txt (vocab.json follows from it: its ids are in merge order)."""
        lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:]
        return Tokenizer([tuple(line.split(" ")) for line in lines if line])


def count_words(texts):
    """How often each pre-token occurs in an iterable of texts."""
    counts = Counter()
    for text in texts:
        counts.update(splitter().findall(text))
    return counts


def train(texts, vocab_size):
    """Learns merges until the vocabulary (specials and 256 bytes included) has vocab_size tokens.

    Every distinct word is held once, as a list of token ids; the counts of adjacent pairs are kept
    up to date while words change, so a merge touches only the words that contain the pair. The
    most frequent pair comes from a heap whose stale entries are skipped (ties: the lower ids).
    """
    table = byte_to_char()
    base = len(SPECIALS)
    counts = {w: n for w, n in count_words(texts).items() if n > 1}
    words = [[base + b for b in w.encode("utf-8")] for w in counts]
    freq = list(counts.values())
    names = SPECIALS + [table[b] for b in range(256)]
    seen = set(names)

    pairs, where = defaultdict(int), defaultdict(set)
    for i, w in enumerate(words):
        for p in zip(w, w[1:]):
            pairs[p] += freq[i]
            where[p].add(i)
    heap = [(-n, p) for p, n in pairs.items()]
    heapq.heapify(heap)

    merges = []
    while len(names) < vocab_size and heap:
        n, best = heapq.heappop(heap)
        if pairs.get(best, 0) != -n or n == 0:
            continue  # stale
        name = names[best[0]] + names[best[1]]
        if name in seen:  # reachable by another path already: ids must stay unique
            pairs.pop(best)
            continue
        new = len(names)
        names.append(name)
        seen.add(name)
        merges.append((names[best[0]], names[best[1]]))
        touched = set()
        for i in where.pop(best):
            w, f = words[i], freq[i]
            out, k = [], 0
            while k < len(w):
                if k + 1 < len(w) and w[k] == best[0] and w[k + 1] == best[1]:
                    out.append(new)
                    k += 2
                else:
                    out.append(w[k])
                    k += 1
            if len(out) == len(w):
                continue
            for p in zip(w, w[1:]):
                pairs[p] -= f
                touched.add(p)
            for p in zip(out, out[1:]):
                pairs[p] += f
                where[p].add(i)
                touched.add(p)
            words[i] = out
        pairs.pop(best, None)
        for p in touched:
            if pairs.get(p, 0) > 0:
                heapq.heappush(heap, (-pairs[p], p))
    return Tokenizer(merges)
