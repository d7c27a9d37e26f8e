"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., 2409.11321).

The gradient G of a matrix has the covariances L = E[G G^T] and R = E[G^T G]. Adam runs on Q_L^T G Q_R, where Q_L and
Q_R hold their eigenvectors. Vectors are updated by plain Adam.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from paragonsr.optim.batched import BatchedOptimiser, adam_state, by_shape
from paragonsr.optim.options import SOAPOptions

SIDES = {"left": -2, "right": -1}
"""Axis of a matrix that each basis belongs to."""
FLOOR = 1e-10
"""Term added to the eigenvalues of a covariance before an update of the basis, in units of their mean, so that
directions without any gradient keep their vector."""


class SOAP(BatchedOptimiser):
    """SOAP with decoupled weight decay.

    As in the paper, the first gradient of a parameter only sets up its bases; its weights change from the second on.

    Args:
        parameters: trained parameters, float32.
        lr: learning rate.
        betas: decay of the first moment; decay of the second moment and the covariances.
        eps: added to the square root of the second moment.
        weight_decay: the weights shrink by lr weight_decay per step.
        renew_every: steps between two updates of the bases.
        max_side: maximum side of a matrix that gets a basis; an update costs the cube of the side.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.95, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        renew_every: int = 10,
        max_side: int = 512,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(parameters, defaults | {"renew_every": renew_every, "max_side": max_side})

    def _update(self, parameters: list[nn.Parameter], gradient: Tensor, taken: Tensor, group: dict[str, Any]) -> None:
        known = [bool(self.state[p]) for p in parameters]
        for p, first, old in zip(parameters, gradient, known, strict=True):
            if not old:
                self.state[p].update(_first_state(first, group["max_side"]))
        parameters = [p for p, old in zip(parameters, known, strict=True) if old]
        if not parameters:
            return
        if not all(known):
            gradient = torch.stack([one for one, old in zip(gradient, known, strict=True) if old])
        bases = {side: self._stack(parameters, f"{side}_basis") for side in self._sides(parameters)}
        into, out_of = partial(_into, bases), partial(_out_of, bases)
        change = self._adam(parameters, gradient, taken, group, into, out_of)
        self._apply(parameters, change, taken, group)
        for side in bases:
            covariance = self._stack(parameters, side)
            covariance.lerp_(_gram(gradient, side), (1 - group["betas"][1]) * taken)
            self._put(parameters, side, covariance)

    def _after(self, group: dict[str, Any]) -> None:
        """Update the bases every `renew_every` steps."""
        if group["steps"] % group["renew_every"] == 0:
            for parameters in by_shape(group["params"]):
                for side in self._sides(parameters):
                    self._renew(parameters, side)

    def _renew(self, parameters: list[nn.Parameter], side: str) -> None:
        basis, order = renewed(self._stack(parameters, side), self._stack(parameters, f"{side}_basis"))
        second = self._stack(parameters, "second_moment")
        places = order.unsqueeze(-1 if side == "left" else -2).expand_as(second)
        self._put(parameters, "second_moment", second.gather(SIDES[side], places))
        self._put(parameters, f"{side}_basis", basis)

    def _sides(self, parameters: list[nn.Parameter]) -> list[str]:
        return [side for side in SIDES if side in self.state[parameters[0]]]


def build(options: SOAPOptions, *, parameters: Iterable[nn.Parameter]) -> SOAP:
    """Build SOAP from its options."""
    return SOAP(
        parameters,
        lr=options.first_lr,
        betas=(options.betas[0], options.betas[1]),
        eps=options.eps,
        weight_decay=options.weight_decay,
        renew_every=options.renew_every,
        max_side=options.max_side,
    )


def renewed(covariance: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """One step of orthogonal iteration: the Q of the QR decomposition of `covariance @ basis`.

    QR uses two Cholesky decompositions of the columns' Gram matrix (CholeskyQR2, Yamamoto et al. 2015) in float64: it
    is batched on every device, unlike Householder's QR. The columns are first scaled to length 1, which does not change
    Q and makes the conditioning independent of the spread of the eigenvalues. If QR fails, the basis is kept.

    Args:
        covariance: (N, side, side), symmetric, positive semidefinite.
        basis: (N, side, side), orthonormal columns.

    Returns:
        the new basis, (N, side, side), columns by decreasing eigenvalue; and for each the column of the old basis that
        it comes from, (N, side).
    """
    old, target = basis.double(), covariance.double()
    mean = target.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    columns = target @ old + FLOOR * mean * old
    order = (old * columns).sum(-2).argsort(dim=-1, descending=True, stable=True)
    new = columns.gather(-1, order.unsqueeze(-2).expand_as(columns))
    failed = torch.zeros(len(new), dtype=torch.bool, device=new.device)
    for _ in range(2):
        new = new / torch.linalg.vector_norm(new, dim=-2, keepdim=True)
        factor, error = torch.linalg.cholesky_ex(new.mT @ new)
        new = torch.linalg.solve_triangular(factor.mT, new, upper=True, left=False)
        failed = failed | (error != 0)
    failed = failed | ~new.isfinite().all(-1).all(-1)
    same = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return torch.where(failed[:, None, None], basis, new.to(basis.dtype)), torch.where(failed[:, None], same, order)


def _first_state(gradient: Tensor, max_side: int) -> dict[str, Tensor]:
    """Initial state of a parameter from its first gradient (rows, columns) or (length,)."""
    state = adam_state(gradient)
    for side, axis in SIDES.items():
        if gradient.ndim == 2 and gradient.shape[axis] <= max_side:
            covariance = _gram(gradient, side)
            vectors = torch.linalg.eigh(covariance.double())[1].flip(-1)  # by decreasing eigenvalue
            state |= {side: covariance, f"{side}_basis": vectors.to(gradient.dtype).contiguous()}
    return state


def _gram(gradient: Tensor, side: str) -> Tensor:
    """G G^T for the left side, G^T G for the right one."""
    return gradient @ gradient.mT if side == "left" else gradient.mT @ gradient


def _into(bases: dict[str, Tensor], x: Tensor) -> Tensor:
    """Q_L^T x Q_R, a new tensor."""
    for side, basis in bases.items():
        x = basis.mT @ x if side == "left" else x @ basis
    return x if bases else x.clone()


def _out_of(bases: dict[str, Tensor], x: Tensor) -> Tensor:
    """Q_L x Q_R^T."""
    for side, basis in bases.items():
        x = basis @ x if side == "left" else x @ basis.mT
    return x
