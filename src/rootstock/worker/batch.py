"""A batch of structures through the environment file's ``evaluate_batch()``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Union

from ..protocol.client import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms

__all__ = ["evaluate_together"]


def evaluate_together(
    function: Callable[..., Any],
    calculator: Any,
    images: Sequence[Atoms],
    properties: Sequence[str],
) -> list[Union[Mapping[str, Any], Exception]]:
    """Call the function and check what it returns.

    Raises
    ------
    TypeError, ValueError
        It returned no list with a results dict or an exception for each structure. Its own
        exceptions pass through; after one that says that memory ran out, the GPU's cache is empty.
    """
    try:
        outcomes = list(function(calculator, list(images), list(properties)))
    except Exception as error:
        if is_out_of_memory(error):
            _empty_gpu_cache()
        raise
    if len(outcomes) != len(images):
        msg = f"evaluate_batch() returned {len(outcomes)} results for {len(images)} structures"
        raise ValueError(msg)
    for outcome in outcomes:
        if not isinstance(outcome, (Mapping, Exception)):
            kind = type(outcome).__name__
            msg = f"evaluate_batch() returned {kind} instead of a results dict or an exception"
            raise TypeError(msg)
    return outcomes


def _empty_gpu_cache() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
