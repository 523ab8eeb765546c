// The table of tensors, which stands in the page already: made sortable and filterable.

class TensorTable {
  constructor(section) {
    this.table = section.querySelector("table.sortable");
    this.body = this.table.tBodies[0];
    this.rows = [...this.body.rows];
    this.shown = section.querySelector("[data-shown]");
    this.name = section.querySelector("[data-filter=name]");
    this.verdict = section.querySelector("[data-filter=verdict]");
    this.name.addEventListener("input", () => this.filter());
    this.verdict.addEventListener("change", () => this.filter());
    this.makeSortable();
    // The second line of headers sticks below the first.
    const first = this.table.tHead.rows[0].cells;
    const group = [...first].find((cell) => cell.classList.contains("group"));
    if (group) this.table.style.setProperty("--first-header", `${group.offsetHeight}px`);
  }

  makeSortable() {
    const columns = this.columnsOfHeaders();
    this.headers = [...columns.keys()];
    for (const [header, column] of columns) {
      const button = element("button", { type: "button" });
      button.append(...header.childNodes);
      header.append(button);
      header.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => this.sort(header, column));
    }
  }

  // Which column a header is of: those under a common header come where that one stands.
  columnsOfHeaders() {
    const [first, second] = this.table.tHead.rows;
    const below = second ? [...second.cells] : [];
    const columns = new Map();
    let column = 0;
    for (const cell of first.cells) {
      const some = cell.classList.contains("group") ? below.splice(0, cell.colSpan) : [cell];
      for (const header of some) columns.set(header, column++);
    }
    return columns;
  }

  sort(header, column) {
    const isAscending = header.getAttribute("aria-sort") !== "ascending";
    for (const other of this.headers) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
    const sign = isAscending ? 1 : -1;
    const key = (row) => {
      const cell = row.cells[column];
      if (!("rank" in cell.dataset)) return cell.textContent;
      return cell.dataset.rank === "" ? null : Number(cell.dataset.rank.replace("inf", "Infinity"));
    };
    const keyed = this.rows.map((row) => [key(row), row]);
    // Cells without a number stay last either way; ties keep the order of the model.
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      if (typeof a === "string") return sign * a.localeCompare(b, "en", { numeric: true });
      return a === b ? 0 : a < b ? -sign : sign;
    });
    this.body.replaceChildren(...keyed.map(([, row]) => row));
  }

  filter() {
    const wanted = this.name.value.trim().toLowerCase();
    let shown = 0;
    for (const row of this.rows) {
      const isShown = row.cells[0].textContent.toLowerCase().includes(wanted)
        && (!this.verdict.value || row.dataset.verdict === this.verdict.value);
      row.hidden = !isShown;
      shown += isShown;
    }
    this.shown.textContent = shown === this.rows.length
      ? plural(shown, "tensor") : `${count(shown)} of ${plural(this.rows.length, "tensor")}`;
  }
}
