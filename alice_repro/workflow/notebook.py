"""Strict papermill: a notebook runs headless with checked parameters, and its copy is whole or absent."""

from __future__ import annotations

import ast
import copy
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from alice_repro.errors import UserError, nearest, unknown_name
from alice_repro.files import atomic_path
from alice_repro.manifest import portable

FAILED_SUFFIX = ".failed.ipynb"


class NotebookError(UserError):
    """A cell failed: exit code 2 if it raised a UserError of its own, 1 for a fault in the code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_notebook(
    source: str | Path,
    output: str | Path,
    parameters: Mapping[str, Any] | None = None,
    *,
    timeout: float | None = None,
    cwd: str | Path | None = None,
) -> Path:
    """Execute a notebook with the given parameters and keep the executed copy.

    The kernel runs this Python, sees ALICE_REPRO_HEADLESS=1 (so that progress comes as log lines), and what
    its cells print is streamed to this process. The copy appears as `output` only if every cell succeeded;
    otherwise it is kept beside it as `<name>.failed.ipynb`.

    Args:
        source: the notebook; it is never changed.
        output: where the executed copy goes.
        parameters: name -> value, each a name of the `parameters` cell with a value of its type.
        timeout: seconds that a single cell may take; None for no limit.
        cwd: working directory of the kernel; None for the present one.

    Returns:
        `output` as a Path.

    Raises:
        UserError: an unknown parameter, a value of another type, or not exactly one parameters cell.
        NotebookError: a cell failed; the message names cell, exception and the kept copy.
    """
    source, output = Path(source), Path(output)
    if source.resolve() == output.resolve():
        raise UserError(f"{source}: the executed copy must not replace the notebook itself")
    notebook = _load(source)
    values = check_parameters(parameters_of(notebook, source), parameters or {}, source)
    failed = output.with_name(output.name.removesuffix(".ipynb") + FAILED_SUFFIX)
    with atomic_path(output) as temporary, _headless(_command(source, values)):
        try:
            _execute(_clean(notebook), temporary, values, timeout, cwd)
        except Exception as error:
            kept = ""
            if temporary.exists():
                os.replace(temporary, failed)
                kept = f"\nThe notebook as far as it ran: {failed}"
            raise _explain(error, notebook, source, kept) from error
    failed.unlink(missing_ok=True)
    return output


def parameters_of(notebook: str | Path | NotebookNode, name: str | Path = "notebook") -> dict[str, Any]:
    """Return name -> default of a notebook's single `parameters` cell, which holds literal assignments only.

    Raises:
        UserError: no or several such cells, or a line in it that is not `name = literal`.
    """
    if not isinstance(notebook, NotebookNode):
        notebook, name = _load(Path(notebook)), notebook
    cells = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1 or cells[0].cell_type != "code":
        raise UserError(f"{name}: needs exactly one code cell tagged 'parameters', found {len(cells)}")
    defaults: dict[str, Any] = {}
    try:
        for node in ast.parse(cells[0].source).body:
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = node.targets[0]
            elif isinstance(node, ast.AnnAssign):
                target = node.target
            else:
                raise ValueError(f"line {node.lineno} is not 'name = value'")
            if not isinstance(target, ast.Name) or node.value is None:
                raise ValueError(f"line {node.lineno} is not 'name = value'")
            defaults[target.id] = ast.literal_eval(node.value)
    except (SyntaxError, ValueError) as error:
        raise UserError(f"{name}: the parameters cell may hold literal assignments only: {error}") from error
    return defaults


def check_parameters(defaults: Mapping[str, Any], given: Mapping[str, Any], name: str | Path) -> dict[str, Any]:
    """Return `given` with whole numbers made float where the default is one; refuse anything else.

    A default of None takes any value; None itself is taken only by such a parameter.
    """
    values = {}
    for key, value in given.items():
        if key not in defaults:
            raise UserError(f"{name}: {unknown_name('parameter', key, defaults)}")
        default = defaults[key]
        expected = type(default)
        if default is None or type(value) is expected:
            values[key] = value
        elif expected is float and type(value) is int:
            values[key] = float(value)
        elif {expected, type(value)} == {list, tuple}:
            values[key] = expected(value)
        else:
            raise UserError(
                f"{name}: parameter {key!r} must be {expected.__name__} (default {default!r}), "
                f"got the {type(value).__name__} {value!r}"
            )
    return values


def _load(source: Path) -> NotebookNode:
    try:
        return nbformat.read(source, as_version=4)
    except FileNotFoundError as error:
        near = nearest(source.name, [p.name for p in source.parent.glob("*.ipynb")])
        hint = f"; did you mean {near!r}?" if near else ""
        raise UserError(f"{source}: no such notebook{hint}") from error
    except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise UserError(f"{source}: not a notebook: {str(error).splitlines()[0]}") from error


def _clean(notebook: NotebookNode) -> NotebookNode:
    """Drop outputs and what an earlier papermill run has left, so that the copy tells of this run alone."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("papermill", None)
    notebook.cells = [c for c in notebook.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def _execute(
    notebook: NotebookNode,
    output: Path,
    parameters: dict[str, Any],
    timeout: float | None,
    cwd: str | Path | None,
) -> None:
    import papermill  # slow to import, and only needed here

    papermill.execute_notebook(
        notebook,
        # Papermill fills braces in a path as a template; doubled ones stand for themselves.
        str(output.resolve()).replace("{", "{{").replace("}", "}}"),
        parameters=parameters,
        kernel_name="python3",
        language="python",
        progress_bar=False,
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
        execution_timeout=timeout,
        cwd=cwd,
        # A local kernel's own log (no encryption, interrupted at its end) is of no use to anyone.
        extra_arguments=["--log-level=CRITICAL"],
    )


def _explain(error: Exception, notebook: NotebookNode, source: Path, kept: str) -> Exception:
    """Turn what papermill raised into an error that names the cell, the exception and the kept copy."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, PapermillExecutionError):
        code = [cell.source for cell in notebook.cells]
        number = f"{code.index(error.source) + 1} of {len(code)}" if error.source in code else "parameters"
        first = next((line for line in error.source.splitlines() if line.strip()), "")
        what = f"cell {number} ({first.strip()[:60]}): {error.ename}: {error.evalue}"
        return NotebookError(f"{source}: {what}{kept}", 2 if error.ename in _user_errors() else 1)
    if isinstance(error, CellTimeoutError):
        return NotebookError(f"{source}: a cell took longer than its limit: {error}{kept}", 1)
    if isinstance(error, DeadKernelError):
        return NotebookError(f"{source}: the kernel died (out of memory?): {error}{kept}", 1)
    return error


def _user_errors() -> set[str]:
    """Return the names of UserError and its subclasses, which is all that a kernel tells of an exception."""
    names, waiting = set(), [UserError]
    while waiting:
        kind = waiting.pop()
        names.add(kind.__name__)
        waiting += kind.__subclasses__()
    return names


def _command(source: Path, parameters: Mapping[str, Any]) -> str:
    return shlex.join(["papermill", portable(source), *(f"{k}={v}" for k, v in parameters.items())])


@contextmanager
def _headless(command: str) -> Iterator[None]:
    """Set what a kernel started in this block inherits."""
    wanted = {
        "ALICE_REPRO_HEADLESS": "1",
        "ALICE_REPRO_COMMAND": command,  # for manifests; a kernel's own argv says nothing
        "JUPYTER_PREFER_ENV_PATH": "1",  # "python3" is this environment's kernel, not one in the home folder
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
