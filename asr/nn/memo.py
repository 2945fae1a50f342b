"""Remembering what evaluation would work out from the same weights at every step of a stream."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter

from asr.kernels.dispatch import ordinary
from asr.kernels.layout import stamp

T = TypeVar("T")


class Memo:
    """One value, kept for as long as what it was worked out from stays the same.

    Only evaluation without gradients uses it. A copy of a module, in memory or in a file, starts without.
    """

    def __init__(self) -> None:
        self._key: Hashable = None
        self._sources: tuple[Tensor, ...] = ()
        self._stamps: tuple[Hashable, ...] = ()
        self._value: Any = None

    def __reduce__(self) -> tuple[type[Memo], tuple[()]]:
        return Memo, ()

    def get(self, compute: Callable[[], T], *sources: Tensor, key: Hashable = None) -> T:
        """What `compute` returns; it is called anew when `key` or any of `sources` has changed since the last call."""
        if torch.is_grad_enabled() or not ordinary(*sources):
            return compute()
        # Held on to, so that no other tensor can come to lie where one of them was.
        stamps = tuple(stamp(source) for source in sources)
        same = key == self._key and stamps == self._stamps and len(sources) == len(self._sources)
        if not (same and all(a is b for a, b in zip(sources, self._sources))):
            value = compute()
            # As a parameter, because products keep twins of these.
            self._value = Parameter(value, requires_grad=False) if isinstance(value, Tensor) else value
            self._key, self._sources, self._stamps = key, sources, stamps
        return self._value
