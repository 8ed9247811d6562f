#!/usr/bin/env python3
"""What `pip install .` calls (PEP 517): CMake builds the module, this packs it. Needs nothing but Python, CMake and a compiler.

The build lies in build/pip and is kept; HUNCH_BUILD_DIR names another one, which may be there already (build/release).
HUNCH_CMAKE_ARGS are more arguments of CMake's.

    build_backend.py FOLDER OUT    the wheel of a package that is built already, into OUT: CMake's target hunch_wheel
"""
import base64
import glob
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# As the preset `release`, without what the module does not need.
CONFIGURE = ["-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O3 -g1 -DNDEBUG", "-DHUNCH_TESTS=OFF",
             "-DHUNCH_HUB=OFF", "-DHUNCH_SERVE=OFF", "-DHUNCH_SHARED_LIBRARY=OFF", "-DHUNCH_PYTHON=ON"]


def version():
    with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as f:
        return re.search(r"project\(hunch VERSION ([0-9.]+)", f.read()).group(1)


def tag():
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"{python}-{python}-" + re.sub(r"[-.]", "_", sysconfig.get_platform())


def build():
    """The folder of the built package."""
    folder = os.path.abspath(os.environ.get("HUNCH_BUILD_DIR") or os.path.join(ROOT, "build", "pip"))
    if not os.path.exists(os.path.join(folder, "CMakeCache.txt")):
        generator = ["-G", "Ninja"] if shutil.which("ninja") else []
        subprocess.run(["cmake", "-S", ROOT, "-B", folder, *generator, *CONFIGURE, f"-DHUNCH_PYTHON_EXECUTABLE={sys.executable}",
                        *shlex.split(os.environ.get("HUNCH_CMAKE_ARGS", ""))], check=True)
    subprocess.run(["cmake", "--build", folder, "--target", "hunch_python", "--parallel"], check=True)
    return os.path.join(folder, "python", "hunch")


def write_wheel(package, out):
    """Packs the package, a folder, into OUT; returns the file's name."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    module = os.path.join(package, "_native" + suffix)
    if not os.path.exists(module):
        there = ", ".join(os.path.basename(path) for path in glob.glob(os.path.join(package, "_native*"))) or "none"
        raise SystemExit(f"{package} has no module for this Python (_native{suffix}), found {there}")
    name, info = f"hunch-{version()}-{tag()}.whl", f"hunch-{version()}.dist-info"
    with open(os.path.join(ROOT, "docs", "python.md"), encoding="utf-8") as f:
        about = f.read()
    files = {f"{info}/METADATA": ("Metadata-Version: 2.1\nName: hunch\n" f"Version: {version()}\n"
                                  "Summary: LLM inference that reads only the weights that matter\nRequires-Python: >=3.8\n"
                                  "Requires-Dist: numpy\nDescription-Content-Type: text/markdown\n\n" + about).encode(),
             f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: hunch\nRoot-Is-Purelib: false\nTag: {tag()}\n".encode()}
    with open(os.path.join(ROOT, "LICENSE"), "rb") as f:
        files[f"{info}/LICENSE"] = f.read()
    for path in sorted(os.listdir(package)):
        if path.endswith((".py", ".pyi", ".typed")):
            with open(os.path.join(package, path), "rb") as f:
                files[f"hunch/{path}"] = f.read()
    files["hunch/_native" + suffix] = stripped(module)
    record = "".join(f"{path},{digest(data)},{len(data)}\n" for path, data in files.items()) + f"{info}/RECORD,,\n"
    os.makedirs(out, exist_ok=True)
    with zipfile.ZipFile(os.path.join(out, name), "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in [*files.items(), (f"{info}/RECORD", record.encode())]:
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o755 if path.endswith(suffix) else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data)
    return name


def stripped(module):
    """The module's bytes without debug information, where there is a `strip`."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(module, folder)
        if shutil.which("strip"):
            subprocess.run(["strip", "--strip-unneeded", copy], check=True)
        with open(copy, "rb") as f:
            return f.read()


def digest(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return write_wheel(build(), wheel_directory)


def build_sdist(sdist_directory, config_settings=None):
    """The tracked files but the demo models, which are larger than all others together."""
    name = f"hunch-{version()}"
    with tempfile.TemporaryDirectory() as folder:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
        for path in listed:
            if path and not path.startswith("models/demo/") and os.path.isfile(os.path.join(ROOT, path)):
                target = os.path.join(folder, name, path)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy2(os.path.join(ROOT, path), target)
        with open(os.path.join(folder, name, "PKG-INFO"), "w", encoding="utf-8") as f:
            f.write(f"Metadata-Version: 2.1\nName: hunch\nVersion: {version()}\n")
        shutil.make_archive(os.path.join(os.path.abspath(sdist_directory), name), "gztar", folder, name)
    return name + ".tar.gz"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    print(os.path.join(sys.argv[2], write_wheel(sys.argv[1], sys.argv[2])))
