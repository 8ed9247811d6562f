"""What the machine refuses: full disks, limits on files and memory, folders without permission. A clear line, the right
exit code, and nothing half-written."""
import os
import resource
import shutil
import signal
import struct
import subprocess
import unittest

from fixtures import BINARY, CliTest, patch_tensor


def has_room_for(limit):
    """Whether the binary starts at all under this limit of its address space (ASan reserves terabytes)."""
    def apply():
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return subprocess.run([BINARY, "--version"], preexec_fn=apply, capture_output=True, check=False).returncode == 0


class Disk(CliTest):
    """Every verb that writes a model or an array, into a folder of which nothing may remain but what was there."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.source = os.path.join(cls.dir, "source.gguf")
        subprocess.run([BINARY, "convert", cls.opt, "-o", cls.source, "--type", "f32", "--quiet"], check=True)

    def writers(self, folder):
        out = os.path.join(folder, "out.gguf")
        array = os.path.join(folder, "out.npy")
        ids = ",".join(["5"] * 100)
        return [("convert", self.opt, "-o", out, "--type", "f32"), ("quantize", self.source, "-o", out, "--type", "q8_0"),
                ("logits", self.opt, "--ids", ids, "--out", array)]

    def test_limit_on_the_size_of_files(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # as a shell with `ulimit -f` starts programs
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

        folder = self.path("limited")
        os.mkdir(folder)
        for command in self.writers(folder):
            self.refused(1, *command, says=["cannot write", "File too large"], preexec_fn=limit)
            self.assertEqual(os.listdir(folder), [])

    def test_full_disk(self):
        folder = self.path("small-disk")
        os.mkdir(folder)
        mounted = os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", folder],
                                                       capture_output=True, check=False).returncode == 0
        if not mounted:
            self.skipTest("no file system can be mounted here: a full disk is not tested")
        try:
            for command in self.writers(folder):
                result = self.refused(1, *command, says="cannot write")
                # A model's size is known before the work; an array's disk just fills up.
                self.assertIn("No space left" if command[0] == "logits" else "MB free", result.err)
                self.assertEqual(os.listdir(folder), [])
            # What was there stays as it was.
            kept = os.path.join(folder, "out.gguf")
            with open(kept, "w", encoding="utf-8") as f:
                f.write("precious")
            self.refused(1, *self.writers(folder)[0], "--force", says="cannot write")
            with open(kept, encoding="utf-8") as f:
                self.assertEqual(f.read(), "precious")
            self.assertEqual(os.listdir(folder), ["out.gguf"])
        finally:
            subprocess.run(["umount", folder], check=True)

    def test_folder_without_permission(self):
        folder = self.path("locked")
        os.mkdir(folder, 0o555)
        if os.access(folder, os.W_OK):
            # Root may write anywhere; nobody may write into /proc.
            for command in self.writers("/proc"):
                self.refused(1, *command, says=["cannot write", "/proc/out"])
            return
        for command in self.writers(folder):
            self.refused(1, *command, says=["cannot write", "Permission denied"])
            self.assertEqual(os.listdir(folder), [])

    def test_a_failed_write_keeps_the_old_file(self):
        out = self.path("kept.gguf")
        self.hunch("convert", self.opt, "-o", out, "--type", "q8_0")
        with open(out, "rb") as f:
            before = f.read()
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        self.refused(1, "convert", self.opt, "-o", out, "--type", "f32", "--force", says="cannot write", preexec_fn=limit)
        with open(out, "rb") as f:
            self.assertEqual(f.read(), before)


class Memory(CliTest):
    def test_a_matrix_larger_than_the_machine_is_refused_before_it_is_turned(self):
        source, huge = self.path("f16.gguf"), self.path("huge.gguf")
        self.hunch("convert", self.opt, "-o", source, "--type", "f16")
        # 2 TB of zeros that take no space: a down projection of 2^34 neurons, which would have to be turned. (Of a model
        # that has so many: linear.layouts.)
        patch_tensor(source, huge, "blk.0.ffn_down.weight", [2**34, 64], 2)
        result = self.refused(1, "run", huge, "-p", "a", says=["blk.0.ffn_down.weight", "expected shape [64, 256]"])
        self.assertEqual(len(result.err.splitlines()), 1)

    def test_a_context_that_does_not_fit_is_refused(self):
        model = os.path.join(os.environ["HUNCH_SOURCE_DIR"], "tests", "data", "golden", "llama_mha")
        for n_ctx in "20000000000", str(2**60):
            self.refused(1, "run", model, "--ids", "5", "--ctx", n_ctx, says=["not enough memory", f"{n_ctx} tokens", "--ctx"])

    def test_limit_of_the_address_space(self):
        limit = 2 << 30
        if not has_room_for(limit):
            self.skipTest("this build does not start within 2 GB of address space (a sanitizer): `ulimit -v` is not tested")
        model = os.path.join(os.environ["HUNCH_SOURCE_DIR"], "tests", "data", "golden", "llama_mha")
        apply = lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        self.hunch("run", model, "--ids", "5", "-n", "2", preexec_fn=apply)
        # 256 bytes per token and layer: 2 GB do not fit into what is left of 2 GB, and a machine has more.
        self.refused(1, "run", model, "--ids", "5", "--ctx", "8000000", says=["not enough memory", "--ctx"], preexec_fn=apply)


if __name__ == "__main__":
    unittest.main()
