"""docs/python-tutorial.py runs as a script, and what it prints makes sense."""
import os
import re
import subprocess
import sys
import tempfile
import unittest

from fixtures import SOURCE


class Tutorial(unittest.TestCase):
    def test_it_runs_to_its_end(self):
        with tempfile.TemporaryDirectory(prefix="hunch-tutorial-") as folder:
            done = subprocess.run([sys.executable, "-B", os.path.join(SOURCE, "docs", "python-tutorial.py"), folder], capture_output=True, text=True,
                                  timeout=600, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            rows = dict(re.findall(r"^(dense|exact|sparse|oracle 20 %) +([0-9.]+) ", done.stdout, re.M))
            self.assertEqual(set(rows), {"dense", "exact", "sparse", "oracle 20 %"}, done.stdout)
            self.assertAlmostEqual(float(rows["exact"]), float(rows["dense"]), delta=0.01)
            self.assertLess(float(rows["sparse"]), 1.2 * float(rows["dense"]))
            self.assertIn("the same 40 tokens", done.stdout)
            self.assertTrue(os.path.exists(os.path.join(folder, "learned.hunch")))
            if "no matplotlib" not in done.stdout:
                self.assertGreater(os.path.getsize(os.path.join(folder, "neurons.png")), 1000)


if __name__ == "__main__":
    unittest.main()
