"""`pip install .` of a tree that is built, without a network: the wheel is installed somewhere else and used from there."""
import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile

from fixtures import DEMO, SOURCE

BUILD = os.environ.get("HUNCH_BUILD_DIR", "")


@unittest.skipUnless(importlib.util.find_spec("pip"), "no pip here")
@unittest.skipUnless(os.path.exists(os.path.join(BUILD, "CMakeCache.txt")), "no build folder")
class Wheel(unittest.TestCase):
    def test_pip_builds_and_installs_it_offline(self):
        with tempfile.TemporaryDirectory(prefix="hunch-wheel-") as folder:
            environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_INDEX_URL")}
            environment.update(HUNCH_BUILD_DIR=BUILD, PIP_NO_INDEX="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
            pip = [sys.executable, "-m", "pip"]
            wheels = os.path.join(folder, "wheels")
            done = subprocess.run([*pip, "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", wheels, SOURCE],
                                  capture_output=True, text=True, timeout=600, check=False, env=environment)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            (name,) = os.listdir(wheels)
            with zipfile.ZipFile(os.path.join(wheels, name)) as wheel:
                self.assertIsNone(wheel.testzip())
                self.assertTrue({"hunch/__init__.py", "hunch/_native.pyi", "hunch/py.typed", "hunch/harness.py"} <= set(wheel.namelist()))
            target = os.path.join(folder, "site")
            done = subprocess.run([*pip, "install", "--quiet", "--no-deps", "--target", target, os.path.join(wheels, name)], capture_output=True,
                                  text=True, timeout=600, check=False, env=environment)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            code = f"import hunch, sys; assert hunch.__file__.startswith(sys.argv[1]); print(len(hunch.Model({DEMO!r}).generate('Once', n_tokens=3).ids))"
            done = subprocess.run([sys.executable, "-c", code, target], capture_output=True, text=True, timeout=600, check=False,
                                  env={**environment, "PYTHONPATH": target})
            self.assertEqual((done.stdout, done.stderr), ("3\n", ""))


if __name__ == "__main__":
    unittest.main()
