#!/usr/bin/env python3
"""Trains hunch's demo model (a small OPT) from the text in shared/corpus, evaluates and exports it.

Typical run (see tools/README.md):
  train_demo.py tokens                  learn the BPE vocabulary, encode the corpus
  train_demo.py train                   train until told to decay (echo "until 01:38" > build/train/DECAY)
  train_demo.py eval                    perplexity, activation sparsity, sample text
  train_demo.py export                  Hugging Face folder
  train_demo.py check                   tests of this code
"""
import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).resolve().parent))


def shared():
    """Where the data beside the repository lies."""
    return Path(os.environ.get("HUNCH_SHARED", ROOT.parent / "shared"))


def cmd_tokens(a):
    """Learns the vocabulary and writes the token streams."""
    from demo import bpe, data

    texts = (d for f in data.corpus_files(a.corpus, "train") for d in data.documents(f))
    tokenizer = bpe.train(texts, a.vocab)
    a.tokens.mkdir(parents=True, exist_ok=True)
    tokenizer.save(a.tokens)
    print(len(tokenizer.tokens), "tokens in the vocabulary")
    for split in ("train", "val", "test"):
        n = data.encode_split(tokenizer, a.corpus, split, a.tokens / f"{split}.bin")
        print(split, n, "tokens")


def cmd_train(a):
    """Runs the training loop."""
    from demo.train import train

    train(a)


def cmd_eval(a):
    """Perplexity, sparsity and samples of a checkpoint."""
    from demo.evaluate import evaluate

    evaluate(a)


def cmd_export(a):
    """Writes the Hugging Face folder."""
    from demo.export import export

    export(a)


def cmd_check(a):
    """Tests this Python code against Hugging Face's outputs."""
    from demo.check import check

    check(a)


def main():
    """Parses the command line."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = ap.add_subparsers(dest="command", required=True)
    work = ROOT / "build" / "train"

    def verb(name, run):
        p = sub.add_parser(name, help=run.__doc__, description=run.__doc__,
                           formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        p.set_defaults(run=run)
        p.add_argument("--tokens", type=Path, default=work, help="folder of the vocabulary and token streams")
        return p

    p = verb("tokens", cmd_tokens)
    p.add_argument("--corpus", type=Path, default=shared() / "corpus", help="folder of the texts")
    p.add_argument("--vocab", type=int, default=8192, help="vocabulary size")

    p = verb("train", cmd_train)
    p.add_argument("--work", type=Path, default=work, help="checkpoints, log and the DECAY file")
    p.add_argument("--copy-to", type=Path, help="second place for checkpoints")
    p.add_argument("--resume", action="store_true", help="continue from last.pt (or stable.pt)")
    p.add_argument("--resume-from", type=Path, help="with --resume: this checkpoint")
    p.add_argument("--decay", help="begin the decay at once: 'steps 300' or 'until 01:38' (UTC)")
    p.add_argument("--n-embd", type=int, default=384)
    p.add_argument("--n-layer", type=int, default=6)
    p.add_argument("--n-head", type=int, default=12)
    p.add_argument("--n-ctx", type=int, default=512)
    p.add_argument("--batch", type=int, default=16, help="windows per step")
    p.add_argument("--muon-lr", type=float, default=0.02)
    p.add_argument("--adam-lr", type=float, default=0.003)
    p.add_argument("--weight-decay", type=float, default=0.02, help="of the hidden matrices, times the rate")
    p.add_argument("--warmup", type=int, default=60, help="steps")
    p.add_argument("--max-steps", type=int, default=0, help="stop here (0: never)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--log-every", type=int, default=10, help="steps")
    p.add_argument("--val-every", type=int, default=200, help="steps")
    p.add_argument("--save-minutes", type=float, default=10)

    p = verb("eval", cmd_eval)
    p.add_argument("--checkpoint", type=Path, default=work / "decayed.pt")
    p.add_argument("--text", type=Path, help="a text file to measure instead of the test split")
    p.add_argument("--keep", type=float, nargs="*", default=[1.0, 0.2], help="shares of MLP neurons kept per token")
    p.add_argument("--prompt", action="append", help="prompt for sample text (may be repeated)")
    p.add_argument("--sample-tokens", type=int, default=200)
    p.add_argument("--float32", action="store_true", help="float32 matrix products for the perplexity")
    p.add_argument("--limit", type=int, default=0, help="measure only this many windows (0: all)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=1)

    p = verb("export", cmd_export)
    p.add_argument("--checkpoint", type=Path, default=work / "decayed.pt")
    p.add_argument("--out", type=Path, default=work / "hf", help="folder to write")
    p.add_argument("--status", help="a line for the file STATUS")

    p = verb("check", cmd_check)
    p.add_argument("--shared", type=Path, default=shared(), help="folder of golden/ and tokenizers/")

    a = ap.parse_args()
    a.run(a)


if __name__ == "__main__":
    main()
