#!/usr/bin/env python3
"""check_docs.py [HUNCH] [PAGE...]: runs the commands of the docs in a copy of this repository.

Every block ```sh of a page is run with bash, in order, in a copy of the tracked files, with HUNCH (default:
build/release/hunch) as `hunch` and no hub. A page of docs/ finds there what the first block of docs/README.md makes. A block
after the line

    <!-- not run: REASON -->

is left out, and that is counted. Of a block ```console, which is what a terminal shows, each line that begins with "$ " is
run, and what it prints there must be the lines after it: "\u2026" in a line stands for anything (a speed), a line "..." for
any number of lines. A block of commands that is marked as neither is an error, as is a relative link that leads nowhere,
and a page of docs/ that docs/README.md does not name. The blocks ```python of a page are one program, run after its commands, with
the module that lies beside HUNCH (python/hunch); a page that has some is left out where there is no module. Without PAGE: all
of them.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIRST = ["README.md", "docs/README.md", "docs/first-session.md", "docs/tutorial.md"]
TIMEOUT_S = 240  # of a block; a busy machine takes ten times what an idle one does
COMMAND = re.compile(r"^(\$ )?(hunch|build/\S+/hunch|\./demo|\./check|cmake|ninja|ctest) ")
NOT_RUN = re.compile(r"^<!-- not run: (.+) -->$")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *patterns], cwd=ROOT, check=True, capture_output=True, text=True)
    return out.stdout.split("\n")[:-1]


def blocks(page):
    """(line, language, text, why it is not run or None) of every fenced block."""
    found, fence, before = [], None, ""
    with open(os.path.join(ROOT, page), encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if not line.startswith("```"):
                if fence:
                    fence[2].append(line)
                elif line.strip():
                    before = line.strip()
            elif fence:
                found.append((fence[0], fence[1], "\n".join(fence[2]), fence[3]))
                fence, before = None, ""
            else:
                skipped = NOT_RUN.match(before)
                fence = (number, line[3:].strip(), [], skipped.group(1) if skipped else None)
    return found


def check_links(pages):
    problems = []
    for page in pages:
        with open(os.path.join(ROOT, page), encoding="utf-8") as f:
            text = re.sub(r"^```.*?^```", "", f.read(), flags=re.M | re.S)
        for target, _ in LINK.findall(text):
            if not re.match(r"[a-z]+:", target) and not os.path.exists(os.path.join(ROOT, os.path.dirname(page), target)):
                problems.append(f"{page}: the link to {target} leads nowhere")
    with open(os.path.join(ROOT, "docs", "README.md"), encoding="utf-8") as f:
        named = {target for target, _ in LINK.findall(f.read())}
    for page in tracked("docs/*.md"):
        if os.path.basename(page) not in named | {"README.md"}:
            problems.append(f"docs/README.md does not name {page}")
    return problems


def copy_tracked(copy):
    """Small files are copied; large ones, which no command writes to, are the same files."""
    for path in tracked():
        source, target = os.path.join(ROOT, path), os.path.join(copy, path)
        if os.path.exists(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.getsize(source) > 1 << 20:
                os.symlink(source, target)
            else:
                shutil.copy2(source, target)


def run_block(page, line, text, copy, environment):
    try:
        process = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=copy, env=environment, stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return [f"{page}:{line}: still running after {TIMEOUT_S} s\n{text}"]
    if process.returncode:
        return [f"{page}:{line}: exit code {process.returncode}\n{process.stderr[-2000:]}\n{text}"]
    return []


def as_printed(expected, found):
    """Whether the lines found are those expected."""
    if not expected:
        return not found
    if expected[0] == "...":
        return any(as_printed(expected[1:], found[i:]) for i in range(len(found) + 1))
    pattern = "[^\n]*".join(re.escape(part) for part in expected[0].split("\u2026"))
    return bool(found) and re.fullmatch(pattern, found[0].rstrip()) is not None and as_printed(expected[1:], found[1:])


def run_session(page, line, text, copy, environment):
    """A block ```console, command by command."""
    problems, commands = [], []
    for number, words in enumerate(text.split("\n"), line + 1):
        if words.startswith("$ "):
            commands.append((number, words[2:], []))
        elif commands and commands[-1][1].endswith("\\") and not commands[-1][2] and words.startswith("> "):
            commands[-1] = (commands[-1][0], commands[-1][1][:-1] + words[2:], [])
        elif commands:
            commands[-1][2].append(words.rstrip())
        else:
            problems.append(f"{page}:{number}: a session begins with a command: \"$ ...\"")
    for number, command, expected in commands:
        try:
            process = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=copy, env=environment, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired:
            problems.append(f"{page}:{number}: still running after {TIMEOUT_S} s\n{command}")
            continue
        found = process.stdout.split("\n")
        if found[-1] == "":
            found.pop()
        if process.returncode or not as_printed(expected, found):
            problems.append(f"{page}:{number}: exit code {process.returncode}, and not what is printed there\n$ {command}\n" + process.stdout[-4000:])
    return problems


def run_python(page, parts, copy, environment):
    """The blocks as one program, whose lines have the page's numbers."""
    lines = []
    for line, text in parts:
        lines += [""] * (line - len(lines)) + text.split("\n")
    try:
        process = subprocess.run(["python3", "-"], cwd=copy, env=environment, input="\n".join(lines) + "\n", capture_output=True, text=True,
                                 errors="replace", timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return [f"{page}: its blocks of Python are still running after {TIMEOUT_S} s"]
    return [f"{page}: exit code {process.returncode} of its blocks of Python\n{process.stderr[-2000:]}"] if process.returncode else []


def run_page(page, copy, environment):
    """(problems, blocks run, blocks left out) of the page's commands."""
    problems, n_run, left_out, program = [], 0, 0, []
    if page.startswith("docs/") and page not in FIRST:
        problems += run_block("docs/README.md", *blocks("docs/README.md")[0][::2], copy, environment)
    for line, language, text, why in blocks(page):
        if language == "python":
            if why:
                left_out += 1
            else:
                program.append((line, text))
                n_run += 1
            continue
        if language not in ("sh", "console"):
            if language == "" and why is None and any(COMMAND.match(command) for command in text.split("\n")):
                problems.append(f"{page}:{line}: a block of commands that is not marked as ```sh")
            continue
        if why:
            left_out += 1
            continue
        problems += (run_block if language == "sh" else run_session)(page, line, text, copy, environment)
        n_run += 1
    if program:
        problems += run_python(page, program, copy, environment)
    return problems, n_run, left_out


def use_module(program, bin_folder, environment):
    """Lets `python3` be the interpreter that the module beside the program was built for. False: there is none."""
    folder = os.path.join(os.path.dirname(program), "python")
    if not glob.glob(os.path.join(folder, "hunch", "_native*")):
        return False
    with open(os.path.join(folder, "interpreter"), encoding="utf-8") as f:
        interpreter = f.read().strip()
    wrapper = os.path.join(bin_folder, "python3")
    with open(wrapper, "w", encoding="utf-8") as f:
        f.write(f'#!/bin/sh\nexec "{interpreter}" -B "$@"\n')
    os.chmod(wrapper, 0o755)
    environment["PYTHONPATH"] = folder
    return True


def main():
    arguments = sys.argv[1:]
    program = os.path.join(ROOT, "build", "release", "hunch")
    if arguments and not arguments[0].endswith(".md"):
        program = os.path.abspath(arguments.pop(0))
    pages = arguments or FIRST + [page for page in tracked("docs/*.md", "models/*.md") if page not in FIRST]
    problems = check_links(tracked("*.md"))
    with tempfile.TemporaryDirectory(prefix="hunch-docs-") as work:
        os.makedirs(os.path.join(work, "bin"))
        os.symlink(program, os.path.join(work, "bin", "hunch"))
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HUNCH_", "HF_"))}
        environment.update(PATH=os.path.join(work, "bin") + ":" + os.environ["PATH"], HUNCH_HOME=os.path.join(work, "home"),
                           HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
        has_module = use_module(program, os.path.join(work, "bin"), environment)
        for number, page in enumerate(pages):
            languages = {language for _, language, _, _ in blocks(page)}
            if "python" in languages and not has_module:
                print(f"  {page}: not run, there is no module for Python beside {program}")
                continue
            if not languages & {"sh", "console", "", "python"}:
                continue
            start = time.monotonic()
            copy = os.path.join(work, str(number), "hunch")
            copy_tracked(copy)
            more, n_run, left_out = run_page(page, copy, environment)
            problems += more
            shutil.rmtree(copy)
            if n_run or left_out:
                print(f"  {page}: {n_run} blocks run in {time.monotonic() - start:.1f} s" + (f", {left_out} not run" if left_out else ""), flush=True)
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
