"""Runs `taxbreak-nsys capture` once for each evidence on a GPU machine and prints a log, in Markdown.

usage: python tests/gpu/capture_all.py [FOLDER]      (nsys on PATH; the package importable, or PYTHONPATH set)

FOLDER (default: a temporary one) keeps the reports. Exit code 1 where a capture did not give what it is for.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LOOP = HERE / "loop.py"
PROGRAM = [sys.executable, "-c", "from taxbreak_nsys.cli.app import main; main()"]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parent.parent), os.environ.get("PYTHONPATH")]))
}

GIVES = {
    # evidence: what doctor must find in the report
    "ranges": "evidence ranges",
    "samples": "evidence samples",
    "operators": "evidence subtractive",
    "launch-chains": "launch chains",
    "light": "HDBI",
}


def taxbreak(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, check=False, **options
    )


def versions() -> str:
    import torch

    nsys = subprocess.run(["nsys", "--version"], capture_output=True, text=True, check=False).stdout.split()
    return (
        f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, PyTorch {torch.__version__}, "
        f"Python {sys.version.split()[0]}, nsys {nsys[-1] if nsys else 'missing'}"
    )


def capture(evidence: str, folder: Path) -> tuple[list[str], dict[str, float], bool]:
    """Capture once; return lines of the log, the phases' median wall times in ms, and whether all is well."""
    report = folder / f"{evidence}.nsys-rep"
    program = [sys.executable, str(LOOP)]
    wish = taxbreak("capture", "--evidence", evidence, "--dry-run", "--", "true", stderr=subprocess.PIPE)
    if evidence == "operators" and "emit_nvtx" in wish.stderr:
        program.append("--emit-nvtx")
    command = ["capture", "--evidence", evidence, "-c", "cudaProfilerApi", "-o", str(report), "--force-overwrite"]
    shown = taxbreak(*command, "--dry-run", "--", *program, stderr=subprocess.DEVNULL).stdout.strip()
    start = time.monotonic()
    done = taxbreak(*command, "--", *program)
    seconds = time.monotonic() - start
    lines = [f"\n## {evidence}", f"exit status {done.returncode} after {seconds:.0f} s", "```", shown, "```"]
    lines += ["```", done.stdout.rstrip(), "```"]
    export = report.with_suffix(".sqlite")
    if done.returncode or not export.exists():
        return lines, {}, False
    findings = json.loads(taxbreak("doctor", "-f", "json", str(export)).stdout)[str(export)]
    lines += [f"- {f['state']}: {f['subject']}: {f['message']}" for f in findings]
    phases = json.loads(taxbreak(str(export), "-f", "json").stdout)["reports"][0]["phases"]
    walls = {phase["phase"]: phase["wall_median_ns"] / 1e6 for phase in phases}
    well = any(f["subject"] == GIVES[evidence] and f["state"] == "ok" for f in findings)
    well &= {"prefill", "decode"} <= set(walls) and all(phase["taxbreak"]["hdbi"] for phase in phases)
    lines.append(f"\n{'As it should be' if well else 'NOT as it should be'}: {GIVES[evidence]}, HDBI of both phases.")
    return lines, walls, bool(well)


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="taxbreak-captures-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"# capture, once for each evidence\n{versions()}\n", flush=True)
    print("```\n" + taxbreak("doctor").stdout + "```", flush=True)
    reference = folder / "times.json"
    subprocess.run([sys.executable, str(LOOP), "--times", str(reference)], check=True, stdout=subprocess.DEVNULL)
    plain = {name: row["median_ms"] for name, row in json.loads(reference.read_text()).items()}
    failed, table = [], []
    for evidence in GIVES:
        lines, walls, well = capture(evidence, folder)
        print("\n".join(lines), flush=True)
        failed += [] if well else [evidence]
        cells = [
            f"{walls[name]:.2f} ms, {walls[name] / ms:.2f} times" if name in walls else "-"
            for name, ms in plain.items()
        ]
        table.append(f"| {evidence} | {' | '.join(cells)} |")
    print("\n## What each costs\nMedian wall time of a step, and how many times that without a profiler.\n")
    print(f"| evidence | {' | '.join(plain)} |\n|{' --- |' * (1 + len(plain))}")
    print(f"| no profiler | {' | '.join(f'{ms:.2f} ms' for ms in plain.values())} |")
    print("\n".join(table))
    print(f"\nreports: {folder}; commands are shown with {shlex.quote(sys.executable)}")
    print(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
