// The entries of a report: columns of numbers, decoded when they are first asked for.

const ARRAYS = {
  f8: Float64Array, f4: Float32Array, u4: Uint32Array, u2: Uint16Array, u1: Uint8Array,
};

// A column from base64; one with a single number has it in every row.
function decode(column, rows) {
  const text = atob(column.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const array = new ARRAYS[column.type](bytes.buffer);
  return array.length === rows ? array : new ARRAYS[column.type](rows).fill(array[0]);
}

// Coordinates of a place that is counted through a shape, the last axis fastest.
function unravel(flat, shape) {
  const index = new Array(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = flat % shape[axis];
    flat = Math.floor(flat / shape[axis]);
  }
  return index;
}

class Entries {
  constructor(key) {
    Object.assign(this, JSON.parse(document.getElementById(`${key}-data`).textContent));
    this.key = key;
    this.decoded = {};
  }

  column(name) {
    if (!(name in this.decoded)) {
      this.decoded[name] = name in DERIVED
        ? Float64Array.from({ length: this.rows }, (_, row) => DERIVED[name](this, row))
        : decode(this.columns[name], this.rows);
    }
    return this.decoded[name];
  }

  // The tensor that a row belongs to: tensors stand one after the other.
  tensorOf(row) {
    let low = 0;
    let high = this.tensors.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (row < this.tensors[middle].stop) high = middle;
      else low = middle + 1;
    }
    return this.tensors[low];
  }

  indexOf(row) {
    return unravel(this.column("flat")[row], this.tensorOf(row).shape);
  }

  nameOf(row) {
    const index = this.indexOf(row);
    const name = this.tensorOf(row).name;
    return index.length ? `${name}[${index.join(", ")}]` : name;
  }

  verdictOf(row) {
    return this.verdicts[this.column("verdict")[row]];
  }

  pairOf(row) {
    const [analytic, numeric, error] = ["analytic", "numeric", "error"].map((c) => this.column(c)[row]);
    return derivativePair(analytic, numeric, error, this.column("digits_attainable")[row]);
  }

  // A row in one line, for whoever points at it.
  describe(row) {
    const [analytic, numeric] = this.pairOf(row);
    const reason = this.reasons[this.column("reason")[row]];
    return `${this.nameOf(row)}: analytic ${analytic}, numeric ${numeric} ± ${size(this.column("error")[row])}; `
      + `${digits(this.column("digits_agree")[row])} digits agree, ${digits(this.column("digits_attainable")[row])} attainable; `
      + this.verdictOf(row) + (reason ? `: ${reason}` : "");
  }
}

// Columns that follow from others.
const DERIVED = {
  difference: (entries, row) => entries.column("analytic")[row] - entries.column("numeric")[row],
  // How far the analytic value stands out from the bar: up to 1 it is inside.
  excess: (entries, row) => {
    const gap = Math.abs(entries.column("difference")[row]);
    const bar = entries.column("error")[row] + entries.column("rounding")[row];
    return gap === 0 ? 0 : gap / bar;
  },
  lost: (entries, row) => Math.max(
    entries.column("digits_attainable")[row] - entries.column("digits_agree")[row], 0),
};
