"""What lm-evaluation-harness makes of tests/data/tasks: writes expected.json there.

usage: make_task_prompts.py HARNESS   (a checkout of EleutherAI/lm-evaluation-harness; needs jinja2 and PyYAML)

The templates and functions that are run are the harness's own, read from its task folders. Three things of its
ConfigurableTask are written again here, because it needs torch and the datasets library: how a field is resolved, how
solved questions are joined (build_qa_turn) and what is a context and what a continuation (construct_requests). Files are
read as the datasets library presents them: with the names and label numbers that it gives them.
"""
import ast
import csv
import importlib.util
import json
import os
import sys
import types

import jinja2
import yaml

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data", "tasks")
HARNESS = sys.argv[1]
sys.modules["datasets"] = types.SimpleNamespace(Dataset=object)
ENV = jinja2.Environment(loader=jinja2.BaseLoader(), undefined=jinja2.StrictUndefined, keep_trailing_newline=True)


def function_of(folder, name):
    module, attribute = name.rsplit(".", 1)
    spec = importlib.util.spec_from_file_location(f"{os.path.basename(folder)}_{module}", os.path.join(folder, module + ".py"))
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return getattr(loaded, attribute)


def config_of(path):
    path = os.path.join(HARNESS, "lm_eval", "tasks", path)
    folder = os.path.dirname(path)
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!function", lambda _, node: function_of(folder, node.value))
    with open(path, encoding="utf-8") as f:
        config = yaml.load(f, loader)
    if "include" in config:
        config = {**config_of(os.path.join(os.path.relpath(folder, os.path.join(HARNESS, "lm_eval", "tasks")), config["include"])), **config}
    return config


class Prompts:
    def __init__(self, config):
        self.config = config

    def field(self, name, doc):
        """ConfigurableTask.doc_to_text, doc_to_target and doc_to_choice."""
        value = self.config[name]
        if callable(value):
            return value(doc)
        if not isinstance(value, str):
            return value
        if value in doc:
            return doc[value]
        text = ENV.from_string(value).render(**doc)
        if name == "doc_to_choice":
            return ast.literal_eval(text)
        return int(text) if text.isdigit() and "doc_to_choice" in self.config else text

    def solved(self, doc):
        question, answer = self.field("doc_to_text", doc), self.field("doc_to_target", doc)
        choices = self.field("doc_to_choice", doc) if "doc_to_choice" in self.config else None
        if isinstance(question, int):
            question, choices = choices[question], None
        return question + " " + (choices[answer] if choices and isinstance(answer, int) else answer) + "\n\n"

    def item(self, doc, before):
        context, answer = self.field("doc_to_text", doc), self.field("doc_to_target", doc)
        if self.config["output_type"] == "loglikelihood":
            return {"contexts": [before + context], "continuations": [answer], "gold": 0}
        if self.config["output_type"] == "generate_until":
            return {"contexts": [before + context], "continuations": [], "gold": 0}
        choices = self.field("doc_to_choice", doc)
        if isinstance(context, int):
            return {"contexts": [before + c for c in choices], "continuations": [" " + answer] * len(choices), "gold": context}
        gold = answer if isinstance(answer, int) else choices.index(answer)
        return {"contexts": [before + context] * len(choices), "continuations": [" " + c for c in choices], "gold": gold}


def read(path):
    with open(os.path.join(HERE, path), encoding="utf-8", newline="") as f:
        if path.endswith(".csv"):
            return [{"question": r[0], "choices": r[1:5], "answer": "ABCD".index(r[5])} for r in csv.reader(f)]
        if path.endswith(".tsv"):
            rows = [line.rstrip("\r\n").split("\t") for line in f]
            return [dict(zip(rows[0], r)) for r in rows[1:]]
        if path.endswith(".txt"):
            return [{"text": line.rstrip("\n")} for line in f if line.strip()]
        return [json.loads(line) for line in f.read().split("\n") if line]


def labels(path, docs):
    with open(os.path.join(HERE, path), encoding="utf-8") as f:
        return [{**doc, "label": int(label)} for doc, label in zip(docs, f)]


def as_datasets(task, docs):
    """The same questions as the datasets library names their parts."""
    out = []
    for doc in docs:
        doc = dict(doc)
        if "question" in doc and isinstance(doc["question"], dict):
            question = doc.pop("question")
            doc["question_stem" if task == "openbookqa" else "question"] = question["stem"]
            doc["choices"] = {key: [c[key] for c in question["choices"]] for key in ("text", "label")}
        if task == "hellaswag":
            doc = function_of(os.path.join(HARNESS, "lm_eval", "tasks", "hellaswag"), "utils.process_docs")(types.SimpleNamespace(map=lambda f, d=doc: {**d, **f(d)}))
        if task == "boolq":
            doc["label"] = int(doc.get("label", doc.get("answer")))
        if task == "rte":
            doc["label"] = ["entailment", "not_entailment"].index(doc["label"])
            doc.setdefault("sentence1", doc.get("premise"))
            doc.setdefault("sentence2", doc.get("hypothesis"))
        if "Question Stem" in doc:
            texts = [part[3:].strip() for part in doc["Choices"].replace(" (", "\n(").split("\n")]
            doc = {"question_stem": doc["Question Stem"], "choices": {"text": texts, "label": list("ABCD")}, "answerKey": doc["Answer Key"]}
        out.append(doc)
    return out


CONFIGS = {"hellaswag": "hellaswag/hellaswag.yaml", "piqa": "piqa/piqa.yaml", "arc_easy": "arc/arc_easy.yaml",
           "arc_challenge": "arc/arc_challenge.yaml", "winogrande": "winogrande/default.yaml", "boolq": "super_glue/boolq/default.yaml",
           "copa": "super_glue/copa/default.yaml", "openbookqa": "openbookqa/openbookqa.yaml", "rte": "glue/rte/default.yaml",
           "lambada": "lambada/lambada_openai.yaml", "gsm8k": "gsm8k/gsm8k.yaml", "mmlu": "mmlu/default/mmlu_anatomy.yaml"}
# Task, file, solved questions, and the file that these are the first of; none: of the file itself.
CASES = [("hellaswag", "hellaswag/hellaswag_val.jsonl", 0, None), ("hellaswag", "hellaswag/hellaswag_val.jsonl", 2, "hellaswag/hellaswag_train.jsonl"),
         ("hellaswag", "hellaswag/hellaswag_train.jsonl", 1, None),
         ("piqa", "piqa/valid.jsonl", 0, None), ("piqa", "piqa/valid.jsonl", 1, "piqa/train.jsonl"), ("piqa", "piqa_hf/test_from_hub.jsonl", 0, None),
         ("arc_challenge", "arc/ARC-Challenge-Test.jsonl", 0, None), ("arc_challenge", "arc/ARC-Challenge-Test.jsonl", 2, "arc/ARC-Challenge-Train.jsonl"),
         ("arc_easy", "arc_hf/arc_easy.jsonl", 0, None),
         ("winogrande", "winogrande/dev.jsonl", 0, None), ("winogrande", "winogrande/dev.jsonl", 2, "winogrande/train_s.jsonl"),
         ("boolq", "boolq/dev.jsonl", 0, None), ("boolq", "boolq/dev.jsonl", 1, "boolq/train.jsonl"), ("boolq", "boolq_superglue/val.jsonl", 0, None),
         ("copa", "copa/val.jsonl", 0, None), ("copa", "copa/val.jsonl", 1, "copa/train.jsonl"),
         ("openbookqa", "openbookqa/test.jsonl", 0, None), ("openbookqa", "openbookqa/test.jsonl", 1, "openbookqa/train.jsonl"),
         ("openbookqa", "openbookqa/test.tsv", 0, None), ("openbookqa", "openbookqa_hf/main.jsonl", 0, None),
         ("rte", "rte/val.jsonl", 0, None), ("rte", "rte/val.jsonl", 1, "rte/train.jsonl"), ("rte", "rte_glue/dev.tsv", 0, None),
         ("lambada", "lambada/lambada_test.jsonl", 0, None), ("lambada", "lambada/lambada_test.jsonl", 1, None), ("lambada", "lambada/lambada_plain.txt", 0, None),
         ("lambada", "lambada/lambada_plain.txt", 2, None),
         ("gsm8k", "gsm8k/test.jsonl", 0, None), ("gsm8k", "gsm8k/test.jsonl", 2, "gsm8k/train.jsonl"),
         ("mmlu", "mmlu", 0, None), ("mmlu", "mmlu", 2, None), ("mmlu", "mmlu/test/kitchen_lore_test.csv", 1, "mmlu/dev/kitchen_lore_dev.csv")]


def docs_of(task, path):
    docs = read(path)
    if path.startswith("piqa/"):
        docs = labels(path.replace(".jsonl", "-labels.lst"), docs)
    return as_datasets(task, docs)


def case(task, path, n, few_shot):
    prompts = Prompts(config_of(CONFIGS[task]))
    if task == "mmlu" and not path.endswith(".csv"):
        names = sorted(name[:-9] for name in os.listdir(os.path.join(HERE, path, "test")))
        parts = [case(task, f"{path}/test/{name}_test.csv", n, f"{path}/dev/{name}_dev.csv") for name in names]
        return {"task": task, "path": path, "few_shot": n, "items": [item for part in parts for item in part["items"]]}
    before = ""
    if task == "mmlu":  # its description, of this subject instead of anatomy
        subject = os.path.basename(path)[: -len("_test.csv")].replace("_", " ")
        before = prompts.config["description"].replace("anatomy", subject)
    docs = docs_of(task, path)
    examples = docs_of(task, few_shot) if few_shot else docs
    before += "".join(prompts.solved(doc) for doc in examples[:n])
    return {"task": task, "path": path, "few_shot": n, "few_shot_file": few_shot or "", "items": [prompts.item(doc, before) for doc in (docs if few_shot else docs[n:])]}


if __name__ == "__main__":
    with open(os.path.join(HERE, "expected.json"), "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(case(*c), ensure_ascii=False) for c in CASES) + "\n]\n")
