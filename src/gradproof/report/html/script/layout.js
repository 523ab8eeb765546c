// Where the cells of a heat map stand. A cell is an entry, or where there are too many of them a
// block of entries, or a whole tile.

const LARGEST_CELL = 16;
const TALLEST = 560;
const LABEL_HEIGHT = 14;
const LABEL_LETTER = 6.2;
const TILE_GAP = 6;
// Where few entries were looked at, a cell has to be large enough to be seen.
const SPARSE = 0.05;

// A layout has `cells`, `cellOf(tile, row, column)`, `box(cell)`, `cellAt(x, y)`, `width`, `height`,
// `labels` ([text, x, y]) and `note`, which says what a cell is if it is no entry.
function layOut(shape, width, looked) {
  const plan = unfold(shape);
  const all = plan.tiles * plan.rows * plan.columns;
  const least = looked < SPARSE * all ? 4 : 1;
  if (plan.tiles > 1) {
    return layOutTiles(plan, width, 7) ?? layOutGrid(plan, width)
      ?? layOutTiles(plan, width, 3) ?? layOutKernels(plan, width, least);
  }
  if (plan.rows === 1) return layOutStrip(plan, width, least);
  return layOutMatrix(plan, plan.rows, plan.columns, width, least, (tile, row, column) => [row, column], "entries");
}

// Every tile as an image under its label, in lines, if its cells can have that many pixels.
function layOutTiles(plan, width, smallest) {
  const longest = plan.label(plan.tiles - 1).length * LABEL_LETTER;
  for (let cell = LARGEST_CELL; cell >= smallest; cell--) {
    const pitch = Math.max(plan.columns * cell, longest) + TILE_GAP;
    const fitting = Math.floor((width + TILE_GAP) / pitch);
    if (fitting < 1) continue;
    // Kernels of one output in one line, or in some, if they fit.
    const wanted = plan.tileColumns;
    const across = Math.min(plan.tiles, wanted > 1 && wanted <= fitting ? fitting - (fitting % wanted) : fitting);
    const down = plan.rows * cell + LABEL_HEIGHT + TILE_GAP;
    const height = Math.ceil(plan.tiles / across) * down;
    if (height > TALLEST) continue;
    const inTile = plan.rows * plan.columns;
    const corner = (tile) => [(tile % across) * pitch, Math.floor(tile / across) * down + LABEL_HEIGHT];
    return {
      plan,
      cells: plan.tiles * inTile,
      width: Math.min(across, plan.tiles) * pitch,
      height,
      cellOf: (tile, row, column) => tile * inTile + row * plan.columns + column,
      tileOf: (cellNumber) => Math.floor(cellNumber / inTile),
      box(number) {
        const [x, y] = corner(Math.floor(number / inTile));
        const inside = number % inTile;
        return [x + (inside % plan.columns) * cell, y + Math.floor(inside / plan.columns) * cell, cell, cell];
      },
      cellAt(x, y) {
        const tile = Math.floor(y / down) * across + Math.floor(x / pitch);
        const left = Math.floor((x % pitch) / cell);
        const top = Math.floor(((y % down) - LABEL_HEIGHT) / cell);
        const isInside = x >= 0 && y >= 0 && x < across * pitch && tile < plan.tiles
          && left < plan.columns && top >= 0 && top < plan.rows;
        return isInside ? tile * inTile + top * plan.columns + left : -1;
      },
      labels: Array.from({ length: plan.tiles }, (_, tile) => [plan.label(tile), ...corner(tile)]),
      note: "",
    };
  }
  return null;
}

// More tiles, closer to each other: in rows and columns that are labelled instead of the tiles.
function layOutGrid(plan, width) {
  const across = plan.tileColumns;
  const down = plan.tiles / across;
  const gap = 3;
  const left = (String(plan.rowLabel(down - 1)).length + 1) * LABEL_LETTER;
  for (let cell = LARGEST_CELL / 2; cell >= 2; cell--) {
    const [pitch, drop] = [plan.columns * cell + gap, plan.rows * cell + gap];
    const height = LABEL_HEIGHT + down * drop;
    if (left + across * pitch > width || height > 2 * TALLEST) continue;
    const inTile = plan.rows * plan.columns;
    const every = (room, least) => Math.ceil(least / room);
    const rowLabels = Array.from({ length: down }, (_, r) => [plan.rowLabel(r), 0, LABEL_HEIGHT + r * drop + 13])
      .filter((_, r) => r % every(drop, 12) === 0);
    const columnLabels = Array.from({ length: across }, (_, c) => [String(c), left + c * pitch, LABEL_HEIGHT])
      .filter((_, c) => c % every(pitch, 20) === 0);
    return {
      plan,
      cells: plan.tiles * inTile,
      width: left + across * pitch,
      height,
      cellOf: (tile, row, column) => tile * inTile + row * plan.columns + column,
      tileOf: (number) => Math.floor(number / inTile),
      box(number) {
        const tile = Math.floor(number / inTile);
        const inside = number % inTile;
        return [
          left + (tile % across) * pitch + (inside % plan.columns) * cell,
          LABEL_HEIGHT + Math.floor(tile / across) * drop + Math.floor(inside / plan.columns) * cell,
          cell, cell,
        ];
      },
      cellAt(x, y) {
        const [u, v] = [x - left, y - LABEL_HEIGHT];
        const [c, r] = [Math.floor(u / pitch), Math.floor(v / drop)];
        const column = Math.floor((u % pitch) / cell);
        const row = Math.floor((v % drop) / cell);
        const isInside = u >= 0 && v >= 0 && c < across && r < down && column < plan.columns && row < plan.rows;
        return isInside ? (r * across + c) * inTile + row * plan.columns + column : -1;
      },
      labels: [...rowLabels, ...columnLabels],
      note: plan.isKernel && plan.isTrailing
        ? "Down: first index (out); across: second index (in)." : "Down and across: the indices of the images.",
    };
  }
  return null;
}

// Too many tiles for images: each is one cell, and of its entries the worst is shown.
function layOutKernels(plan, width, least) {
  const columns = plan.tileColumns;
  const rows = plan.tiles / columns;
  const layout = layOutMatrix(plan, rows, columns, width, least,
    (tile) => [Math.floor(tile / columns), tile % columns], plan.isKernel ? "kernels" : "images");
  const single = plan.isKernel ? "kernel" : "image";
  layout.note ||= `Each square is a whole ${single} of ${plan.rows} × ${plan.columns} entries; the worst of them is shown.`;
  layout.tileOf = layout.isBlocked ? () => -1 : (cell) => cell;
  return layout;
}

function layOutMatrix(plan, rows, columns, width, least, placeOf, what) {
  // Many rows may take more room: a cell of one pixel is hard to point at.
  const tallest = rows > TALLEST / 3 ? 2 * TALLEST : TALLEST;
  const fitting = Math.min(width / columns, tallest / rows, LARGEST_CELL);
  const cell = Math.max(Math.floor(fitting), least);
  const block = Math.max(Math.ceil(cell / Math.max(fitting, 1e-9) - 1e-9), 1);
  const across = Math.ceil(columns / block);
  const down = Math.ceil(rows / block);
  return {
    plan,
    cells: across * down,
    width: across * cell,
    height: down * cell,
    isBlocked: block > 1,
    cellOf(tile, row, column) {
      const [r, c] = placeOf(tile, row, column);
      return Math.floor(r / block) * across + Math.floor(c / block);
    },
    tileOf: () => -1,
    box: (number) => [(number % across) * cell, Math.floor(number / across) * cell, cell, cell],
    cellAt(x, y) {
      const c = Math.floor(x / cell);
      const r = Math.floor(y / cell);
      return c >= 0 && c < across && r >= 0 && r < down ? r * across + c : -1;
    },
    labels: [],
    note: block > 1 ? `Each square is ${block} × ${block} ${what}; the worst of them is shown.` : "",
  };
}

// A vector in as many lines as it takes.
function layOutStrip(plan, width, least) {
  const length = plan.columns;
  let cell = LARGEST_CELL;
  const tall = () => Math.ceil(length / Math.max(Math.floor(width / cell), 1)) * cell;
  while (cell > least && tall() > TALLEST / 2) cell--;
  const room = Math.max(Math.floor(width / cell), 1) * Math.max(Math.floor(TALLEST / 2 / cell), 1);
  const block = Math.max(Math.ceil(length / room), 1);
  const cells = Math.ceil(length / block);
  const across = Math.min(Math.max(Math.floor(width / cell), 1), Math.max(cells, 1));
  return {
    plan,
    cells,
    width: across * cell,
    height: Math.ceil(cells / across) * cell,
    cellOf: (tile, row, column) => Math.floor(column / block),
    tileOf: () => -1,
    box: (number) => [(number % across) * cell, Math.floor(number / across) * cell, cell, cell],
    cellAt(x, y) {
      const c = Math.floor(x / cell);
      const number = Math.floor(y / cell) * across + c;
      return c >= 0 && c < across && y >= 0 && number < cells ? number : -1;
    },
    labels: [],
    note: block > 1 ? `Each square is ${block} entries; the worst of them is shown.` : "",
  };
}
