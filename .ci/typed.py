"""Whether every public name is completely typed, for the type checkers of those who import it.

    python .ci/typed.py

Pyright's own report (`pyright --verifytypes intriguing`) counts the names of every module, and takes torch's types for
unknown, which torch does not re-export as that report asks. Here torch is what a stub says, and the public names alone
are counted: those of `intriguing.__all__` with all that belongs to them.
"""

import inspect
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STUB = {
    "py.typed": "partial\n",
    "__init__.pyi": "from typing import Any\nfrom torch import fx as fx, nn as nn\n"
    + "".join(f"class {name}: ...\n" for name in ("Tensor", "device", "dtype", "Generator", "Size"))
    + "def __getattr__(name: str) -> Any: ...\n",
    "nn/__init__.pyi": "from typing import Any\nclass Module: ...\ndef __getattr__(name: str) -> Any: ...\n",
}


def main() -> int:
    """Print what is not typed, and how many names were looked at; 1 where any is not."""
    sys.path.insert(0, str(ROOT))
    import intriguing

    homes = {f"intriguing.{name}" for name in intriguing.__all__}
    things = [getattr(intriguing, name) for name in intriguing.__all__]
    homes |= {
        t.__name__ if inspect.ismodule(t) else f"{t.__module__}.{t.__qualname__}"
        for t in things
        if callable(t) or inspect.ismodule(t)
    }
    symbols = [s for s in _report() if any(s["name"] == home or s["name"].startswith(f"{home}.") for home in homes)]
    lacking = [s for s in symbols if not s["isTypeKnown"] or s["isTypeAmbiguous"]]
    for symbol in lacking:
        said = "; ".join(" ".join(d["message"].split()) for d in symbol["diagnostics"])
        sys.stdout.write(f"{symbol['name']}: {said}\n")
    sys.stdout.write(f"{len(symbols) - len(lacking)} of {len(symbols)} public names are completely typed\n")
    return 1 if lacking or not symbols else 0


def _report() -> list[dict[str, object]]:
    """Pyright's word on every symbol of the package."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in STUB.items():
            path = Path(folder) / "torch-stubs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--verifytypes", "intriguing"]
        paths = os.pathsep.join([str(ROOT), folder])
        done = subprocess.run(
            [*command, "--ignoreexternal", "--outputjson"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
        )
    return json.loads(done.stdout)["typeCompleteness"]["symbols"]


if __name__ == "__main__":
    sys.exit(main())
