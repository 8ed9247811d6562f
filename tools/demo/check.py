"""Checks of the Python side: the model against Hugging Face's OPT, the tokenizer against GPT-2's, the gradients.

What needs shared/ is skipped, with a line that says so, where it is not there.
"""
import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from . import bpe
from .model import OPT, Config
from .optim import orthogonalise


def read_safetensors(path):
    """{name: float32 tensor} of a file with F32 and F16 tensors."""
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + n])
    out = {}
    for name, d in header.items():
        if name != "__metadata__":
            begin, end = (8 + n + k for k in d["data_offsets"])
            kind = {"F32": np.float32, "F16": np.float16}[d["dtype"]]
            a = np.frombuffer(data[begin:end], dtype=kind).astype(np.float32)
            out[name] = torch.from_numpy(a.reshape(d["shape"]))
    return out


def load_hf(folder):
    """An OPT model from a Hugging Face folder (config.json, model.safetensors)."""
    c = json.loads((folder / "config.json").read_text())
    model = OPT(Config(c["vocab_size"], c["hidden_size"], c["num_hidden_layers"],
                       c["num_attention_heads"], c["ffn_dim"], c["max_position_embeddings"]))
    prefix = "model.decoder."
    tensors = read_safetensors(folder / "model.safetensors")
    model.load_state_dict({k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)})
    return model.eval()


@torch.no_grad()
def check_golden(folder):
    """Largest difference of logits from Hugging Face's own."""
    model = load_hf(folder)
    index = json.loads((folder / "golden" / "golden.json").read_text())
    data = np.memmap(folder / "golden" / "golden.f32", dtype="<f4", mode="r")
    worst = 0.0
    for k, seq in enumerate(index["sequences"]):
        d = index["arrays"][f"s{k}.logits"]
        want = torch.from_numpy(np.array(data[d["offset"] : d["offset"] + d["count"]]).reshape(d["shape"]))
        diff = (model.logits(torch.tensor([seq["ids"]]))[0] - want).abs().max().item()
        worst = max(diff, worst)  # in this order a NaN stays
    return worst


def check_tokenizer(folder):
    """Compares with the published ids for GPT-2; returns (texts, differences)."""
    tokenizer = bpe.Tokenizer.load(folder / "gpt2")
    ids = json.loads((folder / "gpt2" / "vocab.json").read_text(encoding="utf-8"))
    stem = folder / "ggml-vocab" / "ggml-vocab-gpt-2.gguf"
    texts = Path(f"{stem}.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    wants = Path(f"{stem}.out").read_text().split("\n")
    bad = 0
    for text, want in zip(texts, wants):
        got = [ids[tokenizer.tokens[i]] for i in tokenizer.encode(text)]
        bad += got != [int(w) for w in want.split()]
    return len(texts), bad


def check_bpe():
    """The trainer's vocabulary has the asked size, and text survives encoding, saving and loading."""
    text = "the cat sat on the mat, and the cat's hat sat on the cat; naïve café 1234 -- the end.\n\n" * 3
    tokenizer = bpe.train([text], 290)
    assert len(tokenizer.tokens) == 290
    with tempfile.TemporaryDirectory() as d:
        tokenizer.save(Path(d))
        again = bpe.Tokenizer.load(Path(d))
        assert json.loads((Path(d) / "vocab.json").read_text(encoding="utf-8")) == again.ids
    ids = again.encode(text)
    assert ids == tokenizer.encode(text) and again.decode(ids) == text and len(ids) < len(text) / 1.5


def check_gradients():
    """TiedLoss against PyTorch's cross-entropy; blocks of attention against the whole; Newton-Schulz."""
    torch.manual_seed(0)
    model = OPT(Config(vocab=97, n_embd=32, n_layer=2, n_head=4, n_ffn=64, n_ctx=300))
    x, y = torch.randint(0, 97, (2, 2, 300))
    loss = model.loss(x, y)
    loss.backward()
    got = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    want = F.cross_entropy(model.logits(x).flatten(0, 1), y.flatten())
    want.backward()
    assert abs(loss.item() - want.item()) < 1e-5
    for n, p in model.named_parameters():
        assert (got[n] - p.grad).abs().max() < 1e-6, n
    u = orthogonalise(torch.randn(3, 64, 16))
    s = torch.linalg.svdvals(u)
    assert 0.5 < s.min() and s.max() < 1.4, s


def check(a):
    """Runs `train_demo.py check`."""
    check_bpe()
    check_gradients()
    print("vocabulary trainer, loss, gradients, orthogonalisation: ok")
    golden, tokenizers = a.shared / "golden" / "models", a.shared / "tokenizers"
    if golden.exists():
        for name in ("opt", "opt_f16", "opt_sparse"):
            worst = check_golden(golden / name)
            print(f"{name}: largest difference of logits from Hugging Face's {worst:.1e}")
            assert worst < 1e-4
    else:
        print("skipped: model against Hugging Face's OPT, no", golden)
    if tokenizers.exists():
        texts, bad = check_tokenizer(tokenizers)
        print(f"tokenizer: {texts} texts, {bad} differ from the published ids")
        assert bad == 0
    else:
        print("skipped: tokenizer against GPT-2's, no", tokenizers)
