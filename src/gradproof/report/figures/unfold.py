"""Where the entries of a tensor of any rank stand in an image: kernels side by side, rows broken.

Knows NumPy alone, and costs by the entries looked at, not by the tensor's size. Where an image
would have more cells than a figure has room for, a cell shows the worst of several entries, so that
a single wrong one is never lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

#: Cells that an image has at most in each direction, cells in a row of a long vector, and the
#: fewest cells across a tile into which its entries are still pooled.
MOST_CELLS, ROW, LEAST_TILE = 400, 64, 4


@dataclass(frozen=True)
class Layout:
    """Tiles in a grid, filled row by row, with an empty line of cells between them if `gap` is 1.

    `axes` are the tensor's axes in the order (those that number the tiles, height, width). A tile
    has (height, width) entries, and a cell shows a `block` of (height, width) of them. With
    `is_grid` the rows of the grid are the first axis and its columns the others.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    grid: tuple[int, int]
    tile: tuple[int, int]
    block: tuple[int, int]
    count: int
    is_grid: bool
    gap: int

    @property
    def pitch(self) -> tuple[int, int]:
        """Cells from a tile to the next, down and to the right; 0 where tiles share cells."""
        height, width = (math.ceil(n / b) for n, b in zip(self.tile, self.block, strict=True))
        return (height + 1, width + 1) if self.gap else (0, 0)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in cells."""
        if self.gap:
            return self.grid[0] * self.pitch[0] - 1, self.grid[1] * self.pitch[1] - 1
        height, width = (
            math.ceil(n * t / b) for n, t, b in zip(self.grid, self.tile, self.block, strict=True)
        )
        return height, width

    def places(self, flat_index: Codes) -> tuple[Codes, Codes]:
        """Row and column of the cells that show some entries."""
        tile, y, x = self._parts(flat_index)
        row, column = tile // self.grid[1], tile % self.grid[1]
        if self.gap:
            y, x = y // self.block[0], x // self.block[1]
            return row * self.pitch[0] + y, column * self.pitch[1] + x
        y, x = row * self.tile[0] + y, column * self.tile[1] + x
        return y // self.block[0], x // self.block[1]

    def worst(self, flat_index: Codes, values: Floats) -> Floats:
        """The largest value in every cell, NaN where there is none."""
        cells = np.full(self.size, np.nan)
        np.fmax.at(cells, self.places(flat_index), values)
        return cells

    def outside(self) -> NDArray[np.bool_]:
        """Which cells stand for no entry: between the tiles, and after the last."""
        outside = np.zeros(self.size, np.bool_)
        height, width = self.pitch
        if self.gap:
            outside[height - 1 :: height] = True
            outside[:, width - 1 :: width] = True
        else:
            height, width = 1, 1  # only tiles of a single cell leave the last row unfilled
        for number in range(self.count, self.grid[0] * self.grid[1]):
            row, column = divmod(number, self.grid[1])
            outside[row * height : (row + 1) * height, column * width : (column + 1) * width] = True
        return outside

    def _parts(self, flat_index: Codes) -> tuple[Codes, Codes, Codes]:
        zero = np.zeros_like(flat_index)
        if not self.shape:
            return zero, zero, zero
        index = np.unravel_index(flat_index, self.shape)
        if len(self.shape) == 1:
            return index[0] // self.tile[1], zero, index[0] % self.tile[1]
        tile = zero
        for axis in self.axes[:-2]:
            tile = tile * self.shape[axis] + index[axis]
        return tile, index[self.axes[-2]], index[self.axes[-1]]


def layout(shape: tuple[int, ...]) -> Layout:
    """How a tensor of this shape, of one entry at least, is laid out.

    The last two axes are an image, those before them number the images; but where the first two
    are equal and the last two are not, kernels stand first, as TensorFlow and JAX have them.

    >>> layout((8, 3, 5, 5)).grid, layout((5, 5, 3, 8)).grid, layout((6, 1, 3, 3)).grid
    ((8, 3), (8, 3), (2, 3))
    >>> layout((1000,)).size, layout((3000, 20)).block, layout((600, 512, 3, 3)).size
    ((16, 64), (8, 1), (300, 256))
    """
    if len(shape) == 1:
        return _vector(shape[0])
    axes = tuple(range(len(shape)))
    if len(shape) == 4 and shape[0] == shape[1] and shape[2] != shape[3]:
        axes = (3, 2, 0, 1)
    tile = (shape[axes[-2]], shape[axes[-1]]) if shape else (1, 1)
    leading = [shape[axis] for axis in axes[:-2]]
    count = math.prod(leading)
    grid = (leading[0], count // leading[0]) if leading else (1, 1)
    is_grid = min(grid) > 1
    if not is_grid:
        grid = _wrapped(count, tile)
    room = tuple(MOST_CELLS // n - (count > 1) for n in grid)
    block = _block(tile, room)
    gap = int(count > 1)
    if gap and any(n < LEAST_TILE and b > 1 for n, b in zip(room, block, strict=True)):
        # No room within the tiles: whole ones, and several of them, share a cell.
        gap = 0
        rows, columns = _block(grid, (MOST_CELLS, MOST_CELLS))
        block = (rows * tile[0], columns * tile[1])
    return Layout(shape, axes, grid, tile, block, count, is_grid, gap)


def _block(size: tuple[int, int], room: tuple[int, ...]) -> tuple[int, int]:
    return math.ceil(size[0] / max(room[0], 1)), math.ceil(size[1] / max(room[1], 1))


def _wrapped(count: int, tile: tuple[int, int]) -> tuple[int, int]:
    """So many tiles in a grid that is about as high as wide."""
    columns = min(count, max(1, math.ceil(math.sqrt(count * (tile[0] + 1) / (tile[1] + 1)))))
    return math.ceil(count / columns), columns


def _vector(size: int) -> Layout:
    """Rows of a vector: short ones are a strip, and runs of a very long one share a cell."""
    run = math.ceil(size / MOST_CELLS**2)
    count = math.ceil(size / run)
    columns = min(count, ROW if count <= ROW**2 else math.ceil(math.sqrt(count)))
    grid = (math.ceil(count / columns), columns)
    return Layout((size,), (0,), grid, (1, run), (1, run), count, False, 0)
