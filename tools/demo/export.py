"""Writes a checkpoint as a Hugging Face folder (OPTForCausalLM), float16."""
import json
import shutil
import struct

import torch

from . import bpe
from .train import load_model


def write_safetensors(path, tensors):
    """tensors: {name: float16 tensor}. Header length, JSON header, then the data, 8-byte aligned."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(tensors):
        t = tensors[name]
        size = t.numel() * 2
        header[name] = {"dtype": "F16", "shape": list(t.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)))
        f.write(text)
        for name in sorted(tensors):
            f.write(tensors[name].contiguous().numpy().tobytes())


def export(a):
    """Runs `train_demo.py export`."""
    model, ck = load_model(a.checkpoint)
    c = model.config
    a.out.mkdir(parents=True, exist_ok=True)
    half = {}
    for name, t in model.state_dict().items():
        assert t.abs().max() < 65504, name
        half["model.decoder." + name] = t.to(torch.float16)
    write_safetensors(a.out / "model.safetensors", half)

    config = {
        "architectures": ["OPTForCausalLM"], "model_type": "opt", "activation_function": "relu",
        "hidden_size": c.n_embd, "word_embed_proj_dim": c.n_embd, "ffn_dim": c.n_ffn,
        "num_hidden_layers": c.n_layer, "num_attention_heads": c.n_head,
        "max_position_embeddings": c.n_ctx, "vocab_size": c.vocab, "do_layer_norm_before": True,
        "enable_bias": True, "layer_norm_elementwise_affine": True, "_remove_final_layer_norm": False,
        "tie_word_embeddings": True, "dropout": 0.0, "attention_dropout": 0.0, "layerdrop": 0.0,
        "bos_token_id": bpe.BOS, "eos_token_id": bpe.EOS, "pad_token_id": bpe.PAD, "prefix": "</s>",
        "torch_dtype": "float16", "use_cache": True,
    }
    tokenizer = {
        "tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_prefix_space": False,
        "bos_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
        "errors": "replace", "model_max_length": c.n_ctx, "clean_up_tokenization_spaces": False,
    }
    special = {k: tokenizer[k] for k in ("bos_token", "eos_token", "unk_token", "pad_token")}
    for name, value in (("config.json", config), ("tokenizer_config.json", tokenizer),
                        ("special_tokens_map.json", special)):
        (a.out / name).write_text(json.dumps(value, indent=2) + "\n")
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(a.tokens / name, a.out / name)
    status = f"{a.checkpoint.name}: step {ck['step']}, {ck['tokens']} training tokens"
    (a.out / "STATUS").write_text(status + (f". {a.status}" if a.status else "") + "\n")
    print("wrote", a.out, "-", status)
