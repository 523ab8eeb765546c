// How a tensor of any rank is laid out flat: as tiles, each an image of rows and columns.

const LARGEST_KERNEL = 11;

// Which axes are the image's rows and columns. Axes of length 1 don't count; of a kernel stored as
// (height, width, in, out), as JAX does, the image is the kernel and not a matrix of channels.
function imageAxes(shape) {
  const wide = shape.map((n, axis) => (n === 1 ? -1 : axis)).filter((axis) => axis >= 0);
  if (wide.length < 2) return [-1, wide.length ? wide[0] : -1];
  const [height, width, first, second] = shape;
  const isHeightFirst = shape.length === 4 && height === width && height > 1
    && height <= LARGEST_KERNEL && (first !== second || first > LARGEST_KERNEL)
    && first * second > height * width;
  return isHeightFirst ? [0, 1] : wide.slice(-2);
}

// `place(flat)` gives tile, row and column; `label(tile)` the indices that lead to a tile.
function unfold(shape) {
  const [rowAxis, columnAxis] = imageAxes(shape);
  const length = (axis) => (axis < 0 ? 1 : shape[axis]);
  const rows = length(rowAxis);
  const columns = length(columnAxis);
  const tileAxes = shape.map((_, axis) => axis).filter((axis) => axis !== rowAxis && axis !== columnAxis);
  const tileShape = tileAxes.map((axis) => shape[axis]);
  const tiles = tileShape.reduce((product, n) => product * n, 1);
  return {
    rows,
    columns,
    tiles,
    // Tiles as a matrix: the last of their axes that is not of length 1 is its columns.
    tileColumns: tileShape.filter((n) => n > 1).at(-1) ?? 1,
    isKernel: shape.length === 4 && tiles > 1,
    isTrailing: rowAxis === shape.length - 2 && columnAxis === shape.length - 1,
    // Of a row of that matrix, the indices along the other axes.
    rowLabel(row) {
      const last = tileShape.findLastIndex((n) => n > 1);
      return unravel(row, tileShape.slice(0, Math.max(last, 0))).join(", ");
    },
    place(flat) {
      const index = unravel(flat, shape);
      const tile = tileAxes.reduce((number, axis) => number * shape[axis] + index[axis], 0);
      return [tile, rowAxis < 0 ? 0 : index[rowAxis], columnAxis < 0 ? 0 : index[columnAxis]];
    },
    label(tile) {
      const index = shape.map(() => ":");
      unravel(tile, tileShape).forEach((i, k) => { index[tileAxes[k]] = i; });
      if (rowAxis >= 0 && rowAxis <= columnAxis) {
        // What comes last and is all of its axis goes without saying: [3, 0] and not [3, 0, :, :].
        while (index.at(-1) === ":" || (index.length > rowAxis && shape[index.length - 1] === 1)) index.pop();
      }
      return `[${index.join(", ")}]`;
    },
  };
}
