"""Where a teacher's weights are. Imports nothing heavy, so that missing weights are told at once."""

from __future__ import annotations

from pathlib import Path

from alice_repro.config import PACKAGE, ModelConfig
from alice_repro.errors import UserError

LAB_CHECKPOINT = PACKAGE / "models" / "lab_checkpoint"
PACKAGE_SOURCE = "package:lab"


def locate(model: ModelConfig) -> Path:
    """Folder of the weights: in the package, on disk, or in the hub's local cache. Nothing is downloaded.

    Raises:
        UserError: the weights are not here; says what to download, how large it is and what to run instead.
    """
    if model.source == PACKAGE_SOURCE:
        return LAB_CHECKPOINT
    if Path(model.source).is_dir():
        return Path(model.source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model.source, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise UserError(
            f"the weights of {model.source} (about {model.download_gb:g} GB) are not on this machine. Download them:\n"
            f"    hf download {model.source}\n"
            "or point to a diffusers folder with  --set model.source=FOLDER.\n"
            "Without them, run the lab instead:  make reproduce-table4 SCALE=lab"
        ) from error
