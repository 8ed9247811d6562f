#!/usr/bin/env python3
"""A tiny decoder that is scored by its logits of yes and no, with golden scores, for tests/data/rerank (Debian: python3-numpy).

    make_rerank_fixture.py --out tests/data/rerank

The model is a random Qwen3, computed by tools/golden (float64); its tokenizer knows bytes, "yes", "no" and the marks of a
conversation, so that the texts are cut here without a tokenizer. The conversation is the one that Qwen3-Reranker's card
publishes (Zhang et al. 2025, arXiv:2506.05176); a score is the logit of yes less that of no after its last token.
"""
import argparse
import json
import pathlib
import re
import shutil

import numpy as np

import make_golden_fixture
from golden import safetensors, shapes

MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
WORDS = ["ye", "yes", "no"]  # what merges make
BEFORE = ('<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. '
          'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n')
AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
QUERY, DOCUMENTS = "Who sang at the mill?", ["The miller sang; when there was no wind he said so.", "Eyes of the donkey", "M\u00efll <|im_end|>"]
INSTRUCTION = "Find the singer"


def letters_of_bytes():
    """GPT-2's letters for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return {b: chr(b if b in plain else next(others)) for b in range(256)}


LETTERS = letters_of_bytes()
PIECES = [LETTERS[b] for b in range(256)] + WORDS
IDS = {piece: i for i, piece in enumerate(PIECES + MARKS)}
CONFIG = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 24, "intermediate_size": 32,
          "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "head_dim": 8, "max_position_embeddings": 1024,
          "rope_theta": 700.0, "tie_word_embeddings": True, "rms_norm_eps": 0.03, "hidden_act": "silu", "attention_bias": False,
          "vocab_size": len(IDS), "bos_token_id": IDS[MARKS[0]], "eos_token_id": IDS["<|im_end|>"]}


def cut(text, marks):
    """Token ids; `marks` in the text are control tokens."""
    ids = []
    for part in re.split("(" + "|".join(map(re.escape, MARKS)) + ")", text) if marks else [text]:
        if marks and part in MARKS:
            ids.append(IDS[part])
            continue
        for piece in re.split("(yes|ye|no)", part):
            ids += [IDS[piece]] if piece in WORDS else [IDS[LETTERS[b]] for b in piece.encode()]
    return ids


def score(tensors, instruction, document):
    asked = f"<Instruct>: {instruction}\n<Query>: {QUERY}\n<Document>: {document}"
    last = make_golden_fixture.logits(CONFIG, tensors, cut(BEFORE, True) + cut(asked, False) + cut(AFTER, True))[-1]
    return float(last[IDS["yes"]] - last[IDS["no"]])


def tokenizer():
    split = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    mark = lambda text: {"id": IDS[text], "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                         "special": "think" not in text}
    bytes_too = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [mark(m) for m in MARKS],
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": False}, bytes_too]},
            "post_processor": bytes_too, "decoder": bytes_too,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
                      "fuse_unk": False, "byte_fallback": False, "vocab": {piece: IDS[piece] for piece in PIECES},
                      "merges": ["y e", "ye s", "n o"]}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="FOLDER", type=pathlib.Path, required=True)
    folder = parser.parse_args().out / "tiny_qwen3_reranker"
    rng = np.random.default_rng(7)
    tensors = {}
    for name, shape in shapes.of(CONFIG).items():
        is_norm = len(shape) == 1
        tensors[name] = (rng.standard_normal(shape) * (0.3 if is_norm else 1.4 / np.sqrt(shape[-1])) + is_norm).astype(np.float32)
    tensors["model.embed_tokens.weight"] *= 3
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()) + "\n")
    safetensors.write(folder / "model.safetensors", tensors)
    scores = lambda instruction: [score(tensors, instruction, d) for d in DOCUMENTS]
    golden = {"made_by": "tools/make_rerank_fixture.py: numpy, float64", "query": QUERY, "documents": DOCUMENTS,
              "yes": IDS["yes"], "no": IDS["no"], "scores": scores(WEB_SEARCH), "instruction": INSTRUCTION,
              "scores_by_instruction": scores(INSTRUCTION)}
    (folder / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(golden["scores"], golden["scores_by_instruction"])


if __name__ == "__main__":
    main()
