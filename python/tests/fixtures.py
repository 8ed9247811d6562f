"""What all tests of the module share: the demo model, a text, and a place to write."""
import os
import tempfile
import unittest

SOURCE = os.environ.get("HUNCH_SOURCE_DIR") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(SOURCE, "models", "demo", "hunch-demo.gguf")

import hunch  # noqa: E402

PROMPT = "Once upon a time"


def demo_text(name="eval.txt", n=1500):
    with open(os.path.join(SOURCE, "models", "demo", name), encoding="utf-8") as f:
        return f.read()[:n]


class ModelTest(unittest.TestCase):
    """With the demo model, loaded once for a class, and a temporary folder. Keys and values are exact, unless a class says
    otherwise."""

    kv = "f32"

    @classmethod
    def setUpClass(cls):
        cls.model = hunch.Model(DEMO, n_threads=1, n_ctx=256, kv=cls.kv)
        cls.folder = tempfile.TemporaryDirectory(prefix="hunch-python-")
        cls.addClassCleanup(cls.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)
