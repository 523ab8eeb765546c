// The error over a tensor, as a picture that can be pointed at and walked through with arrow keys.

const QUANTITIES = {
  lost: { label: "digits lost", column: "lost", from: 0, to: 12, ticks: ["0", "12 digits"], of: (x) => x },
  relative: {
    label: "relative error", column: "relative_error", from: -16, to: 0,
    ticks: ["1e-16", "1"], of: (x) => Math.log10(x),
  },
  excess: {
    label: "error over bar", column: "excess", from: 0, to: 10,
    ticks: ["1 (inside the bar)", "1e10"], of: (x) => Math.log10(x),
  },
};
const MEANINGS = {
  lost: "attainable digits less those that agree",
  relative: "|analytic - numeric| / max(|analytic|, |numeric|)",
  excess: "|analytic - numeric| / (error + rounding): up to 1 it is inside the bar",
};
// Around the canvas, as in the style.
const RING = 4;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class HeatMap {
  constructor(entries, tensor, heading) {
    this.entries = entries;
    this.tensor = tensor;
    this.quantity = "lost";
    this.cursor = -1;
    this.canvas = element("canvas", {
      class: "map", tabindex: "0", role: "application", "aria-roledescription": "heat map",
      onpointermove: (event) => this.point(event),
      onkeydown: (event) => this.walk(event),
      onfocus: () => this.show(this.cursor < 0 ? this.hottestCell : this.cursor),
    });
    this.box = element("div", { class: "heat" }, this.canvas);
    this.readout = element("output", { class: "readout", "aria-live": "polite" });
    this.summary = element("p", { class: "hottest" });
    this.note = element("p", { class: "aside" });
    this.scale = element("div", { class: "scale" });
    const options = Object.entries(QUANTITIES).map(([value, { label }]) => [value, label]);
    this.node = element("figure", { class: "heatmap" },
      element("figcaption", {}, heading),
      element("div", { class: "controls" }, choices("Quantity", options, this.quantity, (value) => {
        this.quantity = value;
        this.draw();
      })),
      this.summary, this.box, this.readout, this.scale, this.note);
    onTheme(this.node, () => this.draw());
  }

  // To be called when it is in the page and has a width, and again when that changes.
  start() {
    this.width = this.box.clientWidth;
    this.layout = layOut(this.tensor.shape, Math.max(this.width - 2 * RING, 120), this.tensor.stop - this.tensor.start);
    const flat = this.entries.column("flat");
    const { plan, cellOf } = this.layout;
    this.cellOfRow = Int32Array.from({ length: this.tensor.stop - this.tensor.start },
      (_, i) => cellOf(...plan.place(flat[this.tensor.start + i])));
    this.cursor = -1;
    this.draw();
    this.observer ??= new ResizeObserver(() => {
      if (this.node.isConnected && Math.abs(this.box.clientWidth - this.width) > 24) this.start();
    });
    this.observer.observe(this.box);
  }

  // How hot an entry is, from 0 to 1; what is not a number is as wrong as can be.
  heatOf(row) {
    const { column, from, to, of } = QUANTITIES[this.quantity];
    const x = of(this.entries.column(column)[row]);
    return Number.isNaN(x) ? 1 : Math.min(Math.max((x - from) / (to - from), 0), 1);
  }

  // Of each cell the hottest entry (-1 where none was looked at).
  measure() {
    this.rowOfCell = new Int32Array(this.layout.cells).fill(-1);
    this.heat = new Float32Array(this.layout.cells);
    const verdict = this.entries.column("verdict");
    const kink = this.entries.verdicts.indexOf("kink");
    this.cellOfRow.forEach((cell, i) => {
      const row = this.tensor.start + i;
      // An accepted kink is no error: any other entry of its cell comes before it.
      const heat = verdict[row] === kink ? 0 : this.heatOf(row);
      const seen = this.rowOfCell[cell];
      if (seen < 0 || verdict[seen] === kink || heat > this.heat[cell]) {
        this.rowOfCell[cell] = row;
        this.heat[cell] = heat;
      }
    });
  }

  draw() {
    if (!this.layout) return;
    this.measure();
    const { layout } = this;
    // Kept, so that pointing at a cell need not paint all of them again.
    this.picture = document.createElement("canvas");
    const context = prepareCanvas(this.picture, layout.width, layout.height);
    const scale = shades();
    const [unseen, kinkColour, ink] = ["unseen", "kink", "faint"].map(styleColour);
    const verdict = this.entries.column("verdict");
    const kink = this.entries.verdicts.indexOf("kink");
    let someUnseen = false;
    let someKinks = false;
    for (let cell = 0; cell < layout.cells; cell++) {
      const row = this.rowOfCell[cell];
      const [x, y, width, height] = layout.box(cell);
      const isKink = row >= 0 && verdict[row] === kink;
      someUnseen ||= row < 0;
      someKinks ||= isKink;
      context.fillStyle = row < 0 ? unseen : isKink ? kinkColour : scale[Math.round(this.heat[cell] * (SHADES - 1))];
      const gap = width > 6 ? 1 : 0;
      context.fillRect(x, y, width - gap, height - gap);
    }
    context.fillStyle = ink;
    context.font = "10.5px system-ui, sans-serif";
    context.textBaseline = "bottom";
    for (const [text, x, y] of layout.labels) context.fillText(text, x, y - 2);
    this.copy();
    this.tell(scale, someUnseen, someKinks);
  }

  // The picture, with a frame around the cell that is pointed at.
  copy() {
    const { width: across, height: down } = this.layout;
    const context = prepareCanvas(this.canvas, across, down);
    if (this.picture.width && this.picture.height) context.drawImage(this.picture, 0, 0, across, down);
    if (this.cursor < 0) return;
    const [x, y, width, height] = this.layout.box(this.cursor);
    context.lineWidth = 2;
    context.strokeStyle = styleColour("card");
    context.strokeRect(x - 2.5, y - 2.5, width + 4, height + 4);
    context.strokeStyle = styleColour("focus");
    context.strokeRect(x - 1, y - 1, width + 1, height + 1);
  }

  // What the picture shows in words, and its key.
  tell(scale, someUnseen, someKinks) {
    const { label, ticks } = QUANTITIES[this.quantity];
    const { hottestCell, tile, mean } = this.hottest();
    this.hottestCell = hottestCell;
    const row = this.rowOfCell[hottestCell] ?? -1;
    const parts = [];
    if (row >= 0 && this.heat[hottestCell] === 0) {
      parts.push(this.quantity === "lost" ? "No digits are lost anywhere." : "No entry stands out.");
    } else if (tile !== "") {
      const what = this.layout.plan.isKernel ? "kernel" : "image";
      parts.push(`Hottest ${what} ${tile}: ${label}, mean ${this.inUnits(mean)}.`);
    }
    if (row >= 0 && this.heat[hottestCell] > 0) parts.push(`Hottest entry ${this.entries.nameOf(row)}: ${this.inUnits(this.heat[hottestCell])}.`);
    const { dataset } = this.canvas;
    dataset.hottest = tile;
    dataset.hottestEntry = row >= 0 ? `[${this.entries.indexOf(row).join(", ")}]` : "";
    dataset.cells = String(this.layout.cells);
    this.summary.textContent = parts.join(" ");
    this.canvas.setAttribute("aria-label",
      `Heat map of ${label} over ${this.tensor.name}. ${parts.join(" ")} Arrow keys move through it.`);
    this.note.textContent = [this.layout.note, `${label}: ${MEANINGS[this.quantity]}.`].filter(Boolean).join(" ");
    const bar = element("canvas", { "aria-hidden": "true" });
    const context = prepareCanvas(bar, 160, 12);
    scale.forEach((colour, i) => {
      context.fillStyle = colour;
      context.fillRect((i * 160) / SHADES, 0, 160 / SHADES + 1, 12);
    });
    this.scale.replaceChildren(
      element("span", {}, ticks[0], bar, ticks[1]),
      ...someKinks ? [element("span", {}, element("i", { class: "swatch kink" }), "at a kink, accepted")] : [],
      ...someUnseen ? [element("span", {}, element("i", { class: "swatch unseen" }), this.unseen())] : []);
  }

  unseen() {
    return this.tensor.stop - this.tensor.start < this.tensor.looked_at
      ? "not looked at, or not in this page" : "not looked at";
  }

  inUnits(heat) {
    const { from, to } = QUANTITIES[this.quantity];
    const x = from + heat * (to - from);
    const more = heat === 1 ? " or more" : "";
    return (this.quantity === "lost" ? x.toFixed(1) : size(10 ** x, 1)) + more;
  }

  // The hottest cell, and the tile whose entries are the hottest on average.
  hottest() {
    const sums = new Map();
    let hottestCell = -1;
    this.heat.forEach((heat, cell) => {
      if (this.rowOfCell[cell] < 0) return;
      if (hottestCell < 0 || heat > this.heat[hottestCell]) hottestCell = cell;
      const tile = this.layout.tileOf(cell);
      if (tile < 0) return;
      const [sum, number] = sums.get(tile) ?? [0, 0];
      sums.set(tile, [sum + heat, number + 1]);
    });
    let best = ["", -1];
    for (const [tile, [sum, number]] of sums) {
      if (sum / number > best[1]) best = [tile, sum / number];
    }
    return { hottestCell, tile: best[1] >= 0 ? this.layout.plan.label(best[0]) : "", mean: best[1] };
  }

  point(event) {
    this.show(this.layout.cellAt(event.offsetX, event.offsetY));
  }

  // To the next cell that way, over the gaps between tiles.
  walk(event) {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    const [x, y, width, height] = this.layout.box(Math.max(this.cursor, 0));
    for (let far = 1; far < 120; far++) {
      const next = this.layout.cellAt(x + width / 2 + arrow[0] * far, y + height / 2 + arrow[1] * far);
      if (next >= 0 && next !== this.cursor) {
        this.show(next);
        return;
      }
    }
  }

  show(cell) {
    if (cell < 0 || cell === undefined || cell === this.cursor) return;
    this.cursor = cell;
    const row = this.rowOfCell[cell];
    this.readout.textContent = row >= 0 ? this.entries.describe(row) : this.unseen();
    this.copy();
  }
}
