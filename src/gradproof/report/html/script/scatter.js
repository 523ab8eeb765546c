// The analytic against the numeric values of a tensor. Right gradients lie on the line.

const MOST_POINTS = 20000;
// Where sizes differ by more than this, a linear axis shows little but the largest.
const WIDE = 1e3;

class Scatter {
  constructor(entries, tensor, heading) {
    this.entries = entries;
    this.tensor = tensor;
    this.collect();
    this.isLogarithmic = this.largest / this.smallest > WIDE;
    this.canvas = element("canvas", { role: "img" });
    this.node = element("figure", { class: "scatter" },
      element("figcaption", {}, heading),
      element("div", { class: "controls" }, choices("Axes", [["linear", "linear"], ["log", "symmetric log"]],
        this.isLogarithmic ? "log" : "linear", (value) => {
          this.isLogarithmic = value === "log";
          this.draw();
        })),
      this.canvas,
      element("p", { class: "aside" }, this.said()));
    onTheme(this.node, () => this.draw());
  }

  // The rows that can be drawn: where both values are finite. Of very many, the worst and some.
  collect() {
    const [analytic, numeric] = ["analytic", "numeric"].map((name) => this.entries.column(name));
    const verdict = this.entries.column("verdict");
    const rows = [];
    this.largest = 0;
    this.smallest = Infinity;
    this.lost = 0;
    for (let row = this.tensor.start; row < this.tensor.stop; row++) {
      if (!Number.isFinite(analytic[row]) || !Number.isFinite(numeric[row])) {
        this.lost++;
        continue;
      }
      rows.push(row);
      for (const x of [Math.abs(analytic[row]), Math.abs(numeric[row])]) {
        if (x > this.largest) this.largest = x;
        if (x > 0 && x < this.smallest) this.smallest = x;
      }
    }
    const stride = Math.ceil(rows.length / MOST_POINTS);
    const match = this.entries.verdicts.indexOf("match");
    this.thinned = stride > 1 ? rows.length : 0;
    this.rows = stride > 1 ? rows.filter((row, i) => verdict[row] !== match || i % stride === 0) : rows;
  }

  said() {
    const parts = ["The line is where both are the same."];
    if (this.thinned) parts.push(`Of ${count(this.thinned)} points every one that is no match is drawn, and some of the others.`);
    if (this.lost) parts.push(`${plural(this.lost, "entry", "entries")} with values that are not finite ${this.lost === 1 ? "is" : "are"} left out.`);
    return parts.join(" ");
  }

  // From -1 to 1. The symmetric logarithm is linear around 0, within the smallest size.
  scaled(x) {
    if (this.largest === 0) return 0;
    if (!this.isLogarithmic) return x / this.largest;
    const decades = this.decades();
    const size = Math.abs(x) / this.largest * 10 ** decades;
    return Math.sign(x) * (size <= 1 ? size : 1 + Math.log10(size)) / (1 + decades);
  }

  decades() {
    return Math.min(Math.max(Math.ceil(Math.log10(this.largest) - Math.log10(this.smallest)), 1), 12);
  }

  ticks() {
    if (this.largest === 0) return [0];
    if (!this.isLogarithmic) return [-1, -0.5, 0, 0.5, 1].map((part) => part * this.largest);
    const decades = this.decades();
    const every = Math.ceil(decades / 3);
    const sizes = [];
    for (let k = 0; k < decades; k += every) sizes.push(this.largest * 10 ** -k);
    return [...sizes.map((x) => -x), 0, ...sizes.reverse()];
  }

  draw() {
    const width = Math.min(this.node.clientWidth, 460);
    const height = Math.round(width / 1.15);
    const context = prepareCanvas(this.canvas, width, height);
    const [left, right, top, bottom] = [74, 12, 10, 46];
    const x = (value) => left + ((this.scaled(value) * 0.96 + 1) / 2) * (width - left - right);
    const y = (value) => height - bottom - ((this.scaled(value) * 0.96 + 1) / 2) * (height - top - bottom);
    const [line, faint, ink, agree, fail, doubt, kink] = ["line", "faint", "ink", "agree", "fail", "doubt", "kink"].map(styleColour);
    context.font = "12px system-ui, sans-serif";
    context.lineWidth = 1;
    let free = 0;
    for (const tick of this.ticks()) {
      context.strokeStyle = line;
      context.beginPath();
      context.moveTo(left, y(tick));
      context.lineTo(width - right, y(tick));
      context.moveTo(x(tick), top);
      context.lineTo(x(tick), height - bottom);
      context.stroke();
      context.fillStyle = faint;
      context.textAlign = "right";
      context.textBaseline = "middle";
      context.fillText(size(tick), left - 6, y(tick));
      context.textAlign = "center";
      context.textBaseline = "top";
      const half = context.measureText(size(tick)).width / 2;
      if (x(tick) - half < free) continue;
      context.fillText(size(tick), x(tick), height - bottom + 6);
      free = x(tick) + half + 8;
    }
    context.strokeStyle = faint;
    context.beginPath();
    context.moveTo(x(-this.largest), y(-this.largest));
    context.lineTo(x(this.largest), y(this.largest));
    context.stroke();
    context.fillStyle = ink;
    context.fillText("numeric", (left + width - right) / 2, height - 16);
    context.save();
    context.translate(10, (top + height - bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.textBaseline = "middle";
    context.fillText("analytic", 0, 0);
    context.restore();
    const marks = { match: [agree, drawDot], mismatch: [fail, drawCross], kink: [kink, drawDiamond], unresolved: [doubt, drawSquare] };
    const [analytic, numeric] = ["analytic", "numeric"].map((name) => this.entries.column(name));
    for (const verdict of ["match", "unresolved", "kink", "mismatch"]) {
      const [colour, mark] = marks[verdict];
      context.fillStyle = colour;
      context.strokeStyle = colour;
      context.lineWidth = 1.6;
      for (const row of this.rows) {
        if (this.entries.verdictOf(row) === verdict) mark(context, x(numeric[row]), y(analytic[row]));
      }
    }
    this.canvas.setAttribute("aria-label",
      `Analytic against numeric derivative of ${plural(this.rows.length, "entry", "entries")}, of sizes up to ${size(this.largest)}.`);
  }
}

function drawDot(context, x, y) {
  context.fillRect(x - 1.75, y - 1.75, 3.5, 3.5);
}

function drawCross(context, x, y) {
  context.beginPath();
  context.moveTo(x - 3.5, y - 3.5);
  context.lineTo(x + 3.5, y + 3.5);
  context.moveTo(x - 3.5, y + 3.5);
  context.lineTo(x + 3.5, y - 3.5);
  context.stroke();
}

function drawDiamond(context, x, y) {
  context.beginPath();
  context.moveTo(x, y - 4.5);
  context.lineTo(x + 4.5, y);
  context.lineTo(x, y + 4.5);
  context.lineTo(x - 4.5, y);
  context.fill();
}

function drawSquare(context, x, y) {
  context.strokeRect(x - 3, y - 3, 6, 6);
}
