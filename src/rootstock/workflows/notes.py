"""What a reader of a comparison has to know, as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .comparison import ComparedModel
    from .reference import Reference

__all__ = ["notes_on"]

#: Models of which one can say that they disagree.
_PAIR = 2


def notes_on(
    models: Sequence[ComparedModel],
    forces: Sequence[np.ndarray],
    reference: Optional[Reference],
    crystals_left_out: int,
) -> tuple[str, ...]:
    """Return what could not be compared, and what limits what was.

    Parameters
    ----------
    models : sequence of ComparedModel
        All models.
    forces : sequence of ndarray of shape (M, n, 3)
        For each structure; NaN where there are none.
    reference : Reference, optional
        Of the structures.
    crystals_left_out : int
        Crystals without an equation of state, because there are too many.
    """
    notes = [
        *_on_models(models),
        *_on_structures(forces),
        *_on_reference(reference, len(forces)),
        *_on_levels(models),
    ]
    if crystals_left_out:
        notes.append(
            f"Equations of state of {crystals_left_out} further crystals were left out: give them "
            "in a file of their own."
        )
    return tuple(notes)


def _on_models(models: Sequence[ComparedModel]) -> Iterator[str]:
    for model in models:
        if model.reason:
            done = "only a part" if model.evaluated + model.failed else "nothing"
            yield f"{model.label} evaluated {done}: {model.reason}"
        elif not model.evaluated:
            yield f"{model.label} failed for all structures."
        elif not model.stresses:
            yield f"{model.label} has no stress for these structures."


def _on_structures(forces: Sequence[np.ndarray]) -> Iterator[str]:
    known = np.stack([np.asarray(~np.isnan(f).any(axis=(1, 2))) for f in forces])
    ran = known.any(axis=0)
    if ran.sum() < _PAIR:
        count = known.shape[1]
        yield f"{ran.sum()} of {count} models gave forces: there is no disagreement to show."
        return
    common = int(known[:, ran].all(axis=1).sum())
    if not common:
        yield (
            "No structure was evaluated by all models that ran. Pairs are compared on the "
            "structures that both evaluated."
        )
    elif common < len(forces):
        yield f"{common} of {len(forces)} structures were evaluated by all models that ran."


def _on_reference(reference: Optional[Reference], structures: int) -> Iterator[str]:
    if reference is None:
        return
    if not reference.forces:
        yield "The reference has no forces: forces are compared with the mean of the models."
    elif reference.forces < structures:
        yield f"{reference.forces} of {structures} structures have reference forces."
    if not reference.energies:
        yield "The reference has no energies: energies are compared with the mean of the models."
    elif reference.energies < structures:
        yield f"{reference.energies} of {structures} structures have a reference energy."


def _on_levels(models: Sequence[ComparedModel]) -> Iterator[str]:
    """Say that disagreement is also that of methods; the first word names the functional."""
    levels = {m.level_of_theory.split()[0] for m in models if m.level_of_theory and not m.reason}
    if len(levels) > 1:
        yield (
            f"The models have different levels of theory ({', '.join(sorted(levels))}): their "
            "disagreement is also that of the methods."
        )
