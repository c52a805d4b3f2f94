"""Training in processes of its own, under `accelerate launch`: never in a notebook's kernel."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from alice_repro.errors import UserError


def launch_training(
    scale: str,
    recipe: str,
    teacher: str,
    seed: int,
    samples: Path,
    output: Path,
    settings: tuple[str, ...],
    processes: int,
) -> None:
    """Train in a process (or several) of its own, passing its output through as it comes.

    Raises:
        UserError: training stopped for a user's error, which is told again.
        RuntimeError: it failed otherwise; its traceback stands above.
    """
    import torch  # only to ask what there is to train on

    options = {"num_processes": processes, "num_machines": 1, "mixed_precision": "no", "dynamo_backend": "no"}
    options["num_cpu_threads_per_process"] = max(1, torch.get_num_threads() // processes)
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command += [] if torch.cuda.is_available() else ["--cpu"]
    command += ["-m", "alice_repro", "train", "--scale", scale, "--recipe", recipe, "--teacher", teacher]
    command += ["--seed", str(seed), "--samples", str(samples), "--output", str(output)]
    command += [word for setting in settings for word in ("--set", setting)]
    told, killed = "", None
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            told = line.strip() if line.startswith("error: ") else told
            killed = re.search(r"died with <Signals\.(\w+)", line) or killed
    finally:
        if process.poll() is None and sys.exc_info()[0] is not None:
            process.terminate()
        process.wait()
    if process.returncode:
        if told:
            raise UserError(told.removeprefix("error: "))
        if killed:
            why = ", which is what a machine without memory left sends" if killed[1] == "SIGKILL" else ""
            raise UserError(
                f"training was ended by {killed[1]}{why}: the same command goes on from the last checkpoint"
            )
        raise RuntimeError(f"training ended with exit code {process.returncode}: its own message stands above")
