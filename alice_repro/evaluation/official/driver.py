"""Runs one dimension of an official package. Started by that package's own Python: imports nothing of ours.

    python driver.py REQUEST.json

The request names the module and class, the videos with their prompts, the device and the options. The official
`evaluate` does the work; only its listing of videos is replaced (it guesses from file names and drops what it does not
know) and its writing of results (it cannot write NumPy's numbers, and writes NaN, which is not JSON). It leaves with 0
only if the results are on disk.
"""

import importlib
import json
import math
import os
import platform
import sys
from importlib import metadata


def plain(value):
    """The same value as strict JSON has it; what is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy, torch
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def save_json(data, path, indent=4):
    text = json.dumps(plain(data), indent=indent, allow_nan=False, default=str)
    with open(path + ".tmp", "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(path + ".tmp", path)


def versions(names):
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def pick_device(wanted):
    import torch

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name(wanted) if wanted.startswith("cuda") else platform.processor() or "cpu"
    return torch.device(wanted), name


def index_of_clips(entries, split):
    """VBench-Long: the clips that each video was cut into stand for it."""
    for entry in entries:
        clips = []
        for video in entry["video_list"]:
            folder = os.path.join(split, os.path.splitext(os.path.basename(video))[0])
            if not os.path.isdir(folder):
                raise FileNotFoundError("no clips were cut from " + video)
            clips += [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
        entry["video_list"] = clips
    return entries


def main(request_path):
    with open(request_path, encoding="utf-8") as stream:
        request = json.load(stream)
    if request.get("checkout"):
        sys.path.insert(0, request["checkout"])
    device, device_name = pick_device(request["device"])
    module = importlib.import_module(request["module"])
    module.save_json = save_json
    bench = getattr(module, request["class"])(device, request["info"], request["out"])

    def listing(*args, **kwargs):
        entries = request["entries"]
        if request["clips"]:
            entries = index_of_clips(entries, os.path.join(request["videos"], "split_clip"))
        path = os.path.join(request["out"], request["name"] + "_full_info.json")
        save_json(entries, path)
        return path

    bench.build_full_info_json = listing
    bench.evaluate(request["videos"], request["name"], dimension_list=[request["dimension"]], **request["options"])
    record = {
        "device": str(device),
        "device_name": device_name,
        "python": platform.python_version(),
        "versions": versions(request["versions"]),
    }
    save_json(record, os.path.join(request["out"], request["name"] + "_environment.json"))


if __name__ == "__main__":
    main(sys.argv[1])
