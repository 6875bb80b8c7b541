"""The filter of a scan: a fast GEMM with an error bound finds the rows that can enter a top K; few need an exact value.

The same code serves all precisions and devices: float32 on a CPU, bfloat16 on a GPU.
"""

from typing import Any, Literal

import numpy as np
import torch

from intriguing.units.directions import Directions
from intriguing.units.scan.ranking import canonical_projection

_GROUP = 64
_SIGN_BIT = np.uint64(1 << 63)
_UNIT_BF16, _UNIT_TF32, _UNIT_F32 = 2.0**-8, 2.0**-11, 2.0**-24


class Prefilter:
    """The filter of a scan: call it with a chunk of rows and the state's thresholds."""

    def __init__(self, directions: Directions, k: int, precision: Literal["auto", "float32", "bfloat16"]) -> None:
        self.precision: Literal["auto", "float32", "bfloat16"] = precision
        self._directions, self._k = directions, k
        self._loaded: tuple[torch.device, torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self._scratch: torch.Tensor | None = None

    def prepare(self, device: torch.device) -> int:
        """Draw the directions; the number of rows per chunk with which scores fit in a CPU's cache or fill a GPU."""
        if self._directions.basis != "natural":
            self._columns(device)
        scores = 1 << (21 if device.type == "cpu" else 28)
        return max(2048, scores // self._directions.count // _GROUP * _GROUP)

    def __call__(
        self, rows: torch.Tensor, hashes: np.ndarray, kth: np.ndarray, worst: np.ndarray, both: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The rows that enter: (line, row, value), and per line the number of rows equal to `kth` that do not enter.

        rows: (n, dim) float32, finite; kth: (lines,), the K-th values so far, -inf before there are K; worst: (lines,),
        the hashes of these entries. A row with an equal value enters only with a smaller hash.
        """
        natural = self._directions.basis == "natural"
        scores, margin, out_unit = (rows, None, 0.0) if natural else self._scores(rows)
        m = self._directions.count
        ordered = torch.as_tensor((hashes ^ _SIGN_BIT).view(np.int64), device=rows.device)
        limits = torch.as_tensor((worst ^ _SIGN_BIT).view(np.int64), device=rows.device)
        lines, entering, values = [], [], []
        beaten = np.zeros(len(kth), dtype=np.int64)
        for part in range(2 if both else 1):
            sign = -1.0 if part else 1.0
            here = slice(part * m, part * m + m)
            kth_here = torch.as_tensor(kth[here], device=rows.device)
            cut = self._cut(scores, sign, kth_here, margin, out_unit)
            best = _best(scores, sign)
            open_ = ~(best < cut)
            if natural:
                crowded = open_.sum(dim=0) > 4 + len(best) // 8
                row, column, lost = _crowded(
                    rows, sign, cut, kth_here, ordered, limits[here], torch.nonzero(crowded)[:, 0]
                )
                beaten[here] += lost.cpu().numpy()
                more_row, more_column = _passing(rows, sign, cut, open_ & ~crowded)
                row, column = torch.cat([row, more_row]), torch.cat([column, more_column])
                value = (rows[row, column] * sign + 0.0).cpu().numpy()
            else:
                row, column = _passing(scores, sign, cut, open_)
                value = self._exact(rows, row, column, sign)
            row, column = row.cpu().numpy(), column.cpu().numpy()
            line = column + part * m
            equal = value == kth[line]
            enters = (value > kth[line]) | (equal & (hashes[row] < worst[line])) | (value == -np.inf)
            beaten += np.bincount(line[equal & ~enters], minlength=len(kth))
            lines.append(line[enters])
            entering.append(row[enters])
            values.append(value[enters])
        return np.concatenate(lines), np.concatenate(entering), np.concatenate(values), beaten

    def _scores(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Approximate projections (n, count); a bound (count,) of their distance from the canonical values before the
        last rounding; and the unit of that rounding.

        The bound follows from |fl(a.b) - a.b| <= gamma_n |a|.|b| and Cauchy-Schwarz; the error of rounding to bfloat16
        is measured. Source: Higham 2002, "Accuracy and stability of numerical algorithms", eq. 3.5.
        """
        columns, norms, _ = self._columns(rows.device)
        dim = rows.shape[1]
        gamma = 1.01 * (dim + 2) * _UNIT_F32
        reach = torch.linalg.vector_norm(rows, dim=1).max()
        low_precision = self.precision == "bfloat16" or (self.precision == "auto" and rows.device.type == "cuda")
        if low_precision:
            narrow_rows, narrow = rows.bfloat16(), columns.bfloat16()
            lost_rows = torch.linalg.vector_norm(rows - narrow_rows.float(), dim=1).max()
            lost = torch.linalg.vector_norm(columns - narrow.float(), dim=0)
            margin = lost_rows * norms + 1.01 * reach * (lost + gamma * norms)
            scores = _bf16_gemm(narrow_rows, narrow)
            unit = 2 * _UNIT_BF16
        else:
            rounded = rows.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest"
            margin = reach * norms * (gamma + (2.01 * _UNIT_TF32 if rounded else 0.0))
            scores = torch.mm(rows, columns, out=self._room(rows))
            unit = 2 * _UNIT_F32
        return scores, 1.001 * margin + dim * 2.4e-38, unit

    def _cut(
        self, scores: torch.Tensor, sign: float, kth: torch.Tensor, margin: torch.Tensor | None, unit: float
    ) -> torch.Tensor:
        """Lower limits (count,): a row of this chunk with a smaller score cannot enter."""
        if bool((kth == -torch.inf).any()) and len(scores) >= self._k:
            best = _best(scores, sign)
            best = best if len(best) >= self._k else (scores * sign).float()
            # At least K rows of the chunk reach its K-th largest score (or group maximum).
            reached = torch.topk(best, self._k, dim=0).values[-1]
        else:
            reached = torch.full_like(kth, -torch.inf)
        if margin is None:
            return torch.maximum(kth, reached)
        reached = reached - unit * reached.abs() - margin
        sure = torch.maximum(kth, torch.where(reached.isnan(), -torch.inf, reached))
        sure = sure - margin - unit * sure.abs()
        return torch.where(sure.isnan(), -torch.inf, sure - unit * sure.abs())

    def _exact(self, rows: torch.Tensor, row: torch.Tensor, column: torch.Tensor, sign: float) -> np.ndarray:
        _, _, lines = self._columns(rows.device)
        step = max(1, (1 << (17 if rows.device.type == "cpu" else 27)) // rows.shape[1])
        parts = [
            canonical_projection(rows[row[i : i + step]], lines[column[i : i + step]]) * sign + 0.0
            for i in range(0, len(row), step)
        ]
        return torch.cat(parts).cpu().numpy() if parts else np.zeros(0, dtype=np.float32)

    def _room(self, rows: torch.Tensor) -> torch.Tensor:
        """Memory for the scores, which is reused; new memory would cost about a tenth of the time of the GEMM."""
        if self._scratch is None or self._scratch.device != rows.device or len(self._scratch) < len(rows):
            self._scratch = rows.new_empty((len(rows), self._directions.count), dtype=torch.float32)
        return self._scratch[: len(rows)]

    def _columns(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The directions (dim, count), their norms (count,), and the directions as rows (count, dim)."""
        if self._loaded is None or self._loaded[0] != device:
            columns = torch.tensor(self._directions.columns, device=device)
            self._loaded = (device, columns, torch.linalg.vector_norm(columns, dim=0), columns.T.contiguous())
        return self._loaded[1:]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None, "_scratch": None}


def _best(scores: torch.Tensor, sign: float) -> torch.Tensor:
    """The largest of `sign * scores` (n, count) in each group of rows and column: (groups, count), the rest last."""
    whole = len(scores) // _GROUP * _GROUP
    grouped = scores[:whole].view(-1, _GROUP, scores.shape[1])
    best = grouped.amax(dim=1) if sign > 0 else -grouped.amin(dim=1)
    if whole < len(scores):
        rest = scores[whole:]
        last = rest.amax(dim=0) if sign > 0 else -rest.amin(dim=0)
        best = torch.cat([best, last[None]])
    return best.float()


def _passing(
    scores: torch.Tensor, sign: float, cut: torch.Tensor, open_: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns of the `open_` groups where `sign * scores` (n, count) is NaN or at least `cut` (count,)."""
    group, column = torch.nonzero(open_, as_tuple=True)
    row = group[:, None] * _GROUP + torch.arange(_GROUP, device=scores.device)
    inside = row < len(scores)
    row = row.clamp_(max=len(scores) - 1)
    inside &= ~(scores[row, column[:, None]].float() * sign < cut[column, None])
    return row[inside], column[:, None].expand_as(row)[inside]


def _crowded(
    rows: torch.Tensor,
    sign: float,
    cut: torch.Tensor,
    kth: torch.Tensor,
    hashes: torch.Tensor,
    worst: torch.Tensor,
    columns: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same for units (`columns`) whose K-th value many rows share, as for a dead unit or the zeros of a ReLU.

    Only rows that can enter by their hash are listed; the others are counted (count,), because a list of all ties would
    cost more time than the rest of the scan.
    """
    part = rows[:, columns] if sign > 0 else -rows[:, columns]
    equal = part == kth[columns]
    enters = (part > kth[columns]) | (equal & (hashes[:, None] < worst[columns]))
    enters &= part >= cut[columns]
    row, at = torch.nonzero(enters, as_tuple=True)
    lost = torch.zeros(rows.shape[1], dtype=torch.int64, device=rows.device)
    lost[columns] = torch.count_nonzero(equal & ~enters, dim=0)
    return row, columns[at], lost


def _bf16_gemm(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The product, accumulated in float32 whatever the process has set for reduced-precision reductions."""
    if rows.device.type != "cuda":
        return rows @ columns
    before = torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    try:
        return rows @ columns
    finally:
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = before
