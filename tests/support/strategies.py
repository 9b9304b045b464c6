"""Hypothesis strategies: values that the wire carries, and structures."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

numbers = st.one_of(st.booleans(), st.integers(), st.floats(), st.complex_numbers())
arrays = hnp.arrays(
    st.one_of(
        hnp.integer_dtypes(),
        hnp.floating_dtypes(),
        hnp.complex_number_dtypes(),
        hnp.boolean_dtypes(),
    ),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
plain = st.one_of(
    st.none(),
    numbers,
    st.text(),
    st.binary(),
    arrays,
    arrays.filter(lambda a: a.size).map(lambda a: a.ravel()[0]),
)
nested = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(
            st.one_of(st.text(max_size=8), st.integers(), st.just("#array")), inner, max_size=4
        ),
    ),
    max_leaves=12,
)

finite = st.floats(-1e6, 1e6, allow_subnormal=True)


@st.composite
def any_atoms(draw):
    n = draw(st.integers(1, 12))
    column = lambda elements: draw(st.lists(elements, min_size=n, max_size=n))  # noqa: E731
    atoms = Atoms(
        numbers=column(st.integers(0, 118)),
        positions=[draw(st.tuples(finite, finite, finite)) for _ in range(n)],
        cell=[
            draw(st.tuples(finite, finite, finite)) if draw(st.booleans()) else (0, 0, 0)
            for _ in range(3)
        ],
        pbc=draw(st.tuples(*[st.booleans()] * 3)),
        info=draw(st.dictionaries(st.text(max_size=5), nested, max_size=3)),
    )
    if draw(st.booleans()):
        atoms.set_initial_charges(column(finite))
    if draw(st.booleans()):
        atoms.set_initial_magnetic_moments(column(finite))
    if draw(st.booleans()):
        atoms.set_tags(column(st.integers(-5, 5)))
    return atoms


@st.composite
def many_atoms(draw):
    """Up to 200 atoms, cells of any rank, positions over sixty orders of magnitude."""
    n = draw(st.integers(1, 200))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = 10.0 ** draw(st.integers(-30, 30))  # the reference has float32
    cell = generator.normal(size=(3, 3)) * scale
    cell[draw(st.integers(0, 3)) :] = 0
    atoms = Atoms(
        generator.integers(0, 119, n),
        generator.normal(size=(n, 3)) * scale,
        cell=cell[generator.permutation(3)],
        pbc=generator.integers(0, 2, 3),
        info=draw(st.dictionaries(st.text(max_size=5), nested, max_size=3)),
    )
    if draw(st.booleans()):
        atoms.set_initial_charges(generator.normal(size=n))
    if draw(st.booleans()):
        atoms.set_initial_magnetic_moments(generator.normal(size=n))
    if draw(st.booleans()):
        atoms.set_tags(generator.integers(-9, 9, n))
    return atoms
