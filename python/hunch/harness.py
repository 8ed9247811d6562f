"""hunch as a model of lm-evaluation-harness (EleutherAI), in the process: no server between.

    import lm_eval
    from hunch.harness import HarnessModel
    lm_eval.simple_evaluate(model=HarnessModel(pretrained="model.gguf"), tasks=["hellaswag"])

Importing this registers the name "hunch" with the harness. Where that is not installed, the class has the same methods. Texts
are scored by the rules of `hunch eval --task`, which are the harness's: context and continuation are tokenised together,
without BOS.
"""
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import hunch

try:
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
except ImportError:
    LM = object

    def register_model(*names):
        return lambda cls: cls


MOST_NEW_TOKENS = 256  # the harness's default


@register_model("hunch")
class HarnessModel(LM):
    """A model by its path (`pretrained`), or one that is open (`model`). Other keywords are hunch.Model's; plan="sparse" and the
    like are so measured. Keys and values are exact (kv="f32") unless it is said otherwise. `batch_size` answers are generated in shared passes."""

    def __init__(self, pretrained: Optional[str] = None, model: Optional[hunch.Model] = None, max_length: int = 0, batch_size: Any = 1,
                 max_batch_size: Optional[int] = None, device: Optional[str] = None, **options: Any) -> None:
        super().__init__()
        if (pretrained is None) == (model is None):
            raise ValueError("give either pretrained=PATH or model=hunch.Model(...)")
        if model is not None and options:
            raise ValueError(f"the model is open already: {', '.join(options)} belong to hunch.Model(...)")
        if device not in (None, "cpu"):
            raise ValueError(f"device: expected cpu, found {device!r}")
        self.model = model if model is not None else hunch.Model(pretrained, **{"kv": "f32", **options})  # as hunch eval
        self.batch_size = max_batch_size or 8 if batch_size == "auto" else int(batch_size)
        self.scorer = hunch.Scorer(self.model, n_ctx=max_length)

    @property
    def max_length(self) -> int:
        return self.scorer.n_ctx

    @property
    def tokenizer_name(self) -> str:
        return self.model.info.name or self.model.info.architecture

    def chat_template(self, chat_template: Any = False) -> str:
        return ""  # of caches' names: the template is the model's own

    def apply_chat_template(self, chat_history: List[Dict[str, str]], add_generation_prompt: bool = True) -> str:
        return self.model.apply_chat_template(chat_history, add_generation_prompt)

    def tok_encode(self, text: str) -> List[int]:
        return self.model.tokenize(text, add_special=False)

    # Each request has its arguments in `args`, as the harness's Instance.

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> List[Tuple[float, bool]]:
        """(log-likelihood of the continuation, whether it is greedy) for each (context, continuation)."""
        # Those that begin alike one after the other: their beginning is computed once.
        order = sorted(range(len(requests)), key=lambda i: requests[i].args[0])
        scores: List[Any] = [None] * len(requests)
        for i in order:
            scores[i] = self.scorer.score(*requests[i].args)
            self._cache("loglikelihood", requests[i].args, scores[i])
        return scores

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> List[float]:
        """The log-likelihood of each whole text: windows that follow one another, each token once, the first after BOS."""
        scores = []
        for request in requests:
            ids = self.tok_encode(request.args[0])
            scores.append(sum(self.scorer.score(before, window)[0] for before, window in windows(ids, self._prefix(), self.max_length)))
            self._cache("loglikelihood_rolling", request.args, scores[-1])
        return scores

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> List[str]:
        """A text for each (context, {"until", "max_gen_toks", "temperature", ...}), which ends before the first of `until`."""
        texts: List[str] = []
        for first in range(0, len(requests), self.batch_size):
            part = requests[first:first + self.batch_size]
            asked = [self._question(*request.args) for request in part]
            if len(asked) == 1:
                answers = [self.model.generate(ids, **options) for ids, options in asked]
            else:
                batch = hunch.Batch(self.model, n_sequences=len(asked), n_ctx=self.max_length)
                numbers = [batch.add(ids, **options) for ids, options in asked]
                batch.run()
                answers = [batch.result(number) for number in numbers]
            for request, answer in zip(part, answers):
                texts.append(answer.text)
                self._cache("generate_until", request.args, answer.text)
        return texts

    def _question(self, context: str, wishes: Dict[str, Any]) -> Tuple[List[int], Dict[str, Any]]:
        """A prompt that leaves room for its answer, and the options of the answer."""
        wishes = dict(wishes)
        until = wishes.pop("until", [])
        n_tokens = int(wishes.pop("max_gen_toks", MOST_NEW_TOKENS))
        samples = wishes.pop("do_sample", None)
        options = {"n_tokens": n_tokens, "stop": [until] if isinstance(until, str) else list(until),
                   "temperature": float(wishes.pop("temperature", 0.0)), "log_probs": False}
        if samples is False:
            options["temperature"] = 0.0
        elif samples and options["temperature"] == 0.0:
            options["temperature"] = 1.0
        for name in ("top_p", "top_k", "min_p", "seed"):
            if name in wishes:
                options[name] = wishes.pop(name)
        if wishes:
            raise ValueError(f"generate_until: hunch has no {', '.join(wishes)}; it has until, max_gen_toks, do_sample, temperature, "
                             "top_p, top_k, min_p, seed")
        n_room = self.max_length - n_tokens
        if n_room <= 0:
            raise ValueError(f"max_gen_toks {n_tokens} leaves no room for a prompt in a context of {self.max_length} (max_length)")
        return self.tok_encode(context)[-n_room:] or [self._prefix()], options

    def _prefix(self) -> int:
        """What a text begins after, where nothing is before it."""
        info = self.model.info
        return info.bos if info.bos is not None else info.eos if info.eos is not None else 0

    def _cache(self, name: str, args: Any, answer: Any) -> None:
        hook = getattr(self, "cache_hook", None)  # the harness's own
        if hook is not None:
            hook.add_partial(name, args, answer)


def windows(ids: List[int], prefix: int, max_length: int) -> Iterator[Tuple[List[int], List[int]]]:
    """(what is given, what is scored) so that every id is scored once: at first after the prefix alone, then after the last
    scored one; the last window begins earlier, to be as long as the others. The harness's get_rolling_token_windows() with a
    context of one token, made disjoint."""
    n = min(max_length, len(ids))
    if n:
        yield [prefix], ids[:n]
    while n < len(ids):
        end = min(n + max_length, len(ids))
        yield ids[max(end - max_length - 1, 0):n], ids[n:end]
        n = end
