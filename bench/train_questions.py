#!/usr/bin/env python3
"""A small classification task out of the shared data: is a sentence from a story or from an encyclopedia?

Writes kinds-train.jsonl (800 questions) and kinds-test.jsonl (400) in the form of ARC, for `hunch train --task arc_easy`
and `hunch eval --task arc_easy`. Stories come from corpus/val.txt and test.txt, articles from wikitext-2's.

  bench/train_questions.py ../shared FOLDER
"""
import json
import random
import sys
from pathlib import Path

WORDS = 12  # of a sentence


def beginnings(path):
    """The first words of every long line that is no heading."""
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if len(line) >= 120 and not line.startswith("=") and "<|" not in line:
            yield " ".join(line.split()[:WORDS])


def write(path, stories, articles, n, seed):
    """n questions of each kind, mixed."""
    rng = random.Random(seed)
    items = [(text, "A") for text in rng.sample(stories, n)] + [(text, "B") for text in rng.sample(articles, n)]
    rng.shuffle(items)
    with open(path, "w", encoding="utf-8") as f:
        for text, answer in items:
            f.write(json.dumps({"question": text + " ...\nIs this from a story or from a history?",
                                "choices": {"text": ["story", "history"], "label": ["A", "B"]}, "answerKey": answer}) + "\n")


def main():
    """Reads the command line."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    shared, out = map(Path, sys.argv[1:])
    wiki = shared / "eval" / "wikitext-2"
    write(out / "kinds-train.jsonl", list(beginnings(shared / "corpus/val.txt")), list(beginnings(wiki / "valid.txt")), 400, 1)
    write(out / "kinds-test.jsonl", list(beginnings(shared / "corpus/test.txt")), list(beginnings(wiki / "test.txt")), 200, 2)


if __name__ == "__main__":
    main()
