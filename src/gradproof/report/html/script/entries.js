// A table of entries: sorted and filtered as numbers, of which one page at a time is shown.

const PAGE_SIZES = [10, 50, 200];

const ENTRY_COLUMNS = [
  { label: "entry", sort: (entries, row) => row, isName: true },
  { label: "verdict", sort: (entries, row) => entries.column("verdict")[row], text: (entries, row) => entries.verdictOf(row), isBadge: true },
  { label: "value", column: "value", text: (entries, row) => size(entries.column("value")[row], 4) },
  { label: "analytic", column: "analytic", text: (entries, row) => entries.pairOf(row)[0] },
  { label: "numeric ± error", column: "numeric", text: (entries, row) => `${entries.pairOf(row)[1]} ± ${size(entries.column("error")[row])}` },
  { label: "difference", column: "difference", isSize: true },
  { label: "rel. error", column: "relative_error" },
  { label: "digits agree", column: "digits_agree", text: (entries, row) => digits(entries.column("digits_agree")[row]) },
  { label: "attainable", column: "digits_attainable", text: (entries, row) => digits(entries.column("digits_attainable")[row]) },
  { label: "error / bar", column: "excess" },
];

class EntryTable {
  // Rows from start to stop of the report's, the worst first; `isNamed`: of several tensors.
  constructor(entries, start, stop, isNamed) {
    this.entries = entries;
    this.isNamed = isNamed;
    this.all = Int32Array.from({ length: stop - start }, (_, i) => start + i);
    this.sorted = ENTRY_COLUMNS.length - 1;
    this.isDescending = true;
    this.page = 0;
    this.pageSize = PAGE_SIZES[0];
    this.verdict = "";
    this.body = element("tbody");
    this.headers = ENTRY_COLUMNS.map((column, i) => element("th", { scope: "col", class: column.isName || column.isBadge ? null : "number" },
      element("button", { type: "button", onclick: () => this.sortBy(i) }, column.label)));
    this.where = element("output", { "aria-live": "polite" });
    this.back = element("button", { type: "button", onclick: () => this.turn(-1) }, "Previous");
    this.forth = element("button", { type: "button", onclick: () => this.turn(1) }, "Next");
    this.node = element("div", { class: "entries" },
      element("div", { class: "filters" }, this.verdictFilter(), this.sizeChoice()),
      element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Entries" },
        element("table", {}, element("thead", {}, element("tr", {}, ...this.headers)), this.body)),
      element("div", { class: "pages" }, this.back, this.forth, this.where));
    this.select();
  }

  verdictFilter() {
    const counts = new Map();
    const verdict = this.entries.column("verdict");
    for (const row of this.all) counts.set(verdict[row], (counts.get(verdict[row]) ?? 0) + 1);
    const options = this.entries.verdicts.flatMap((word, code) => (counts.has(code) ? [[word, counts.get(code)]] : []));
    return element("label", {}, "Verdict ", element("select", {
      autocomplete: "off",
      onchange: (event) => {
        this.verdict = event.target.value;
        this.select();
      },
    }, element("option", { value: "" }, `all (${count(this.all.length)})`),
    ...options.map(([word, n]) => element("option", { value: word }, `${word} (${count(n)})`))));
  }

  sizeChoice() {
    return element("label", {}, "On a page ", element("select", {
      autocomplete: "off",
      onchange: (event) => {
        this.pageSize = Number(event.target.value);
        this.page = 0;
        this.show();
      },
    }, ...PAGE_SIZES.map((n) => element("option", { value: n }, String(n)))));
  }

  sortBy(column) {
    this.isDescending = this.sorted === column ? !this.isDescending : column > 1;
    this.sorted = column;
    this.select();
  }

  turn(pages) {
    this.page += pages;
    this.show();
  }

  // The rows that are wanted, in their order.
  select() {
    const { entries, verdict } = this;
    const { column, sort, isSize } = ENTRY_COLUMNS[this.sorted];
    const rows = verdict ? this.all.filter((row) => entries.verdictOf(row) === verdict) : this.all.slice();
    const keys = new Float64Array(entries.rows);
    const values = column && entries.column(column);
    for (const row of rows) {
      const key = values ? values[row] : sort(entries, row);
      // What is not a number is worse than any.
      keys[row] = Number.isNaN(key) ? Infinity : isSize ? Math.abs(key) : key;
    }
    const sign = this.isDescending ? -1 : 1;
    rows.sort((a, b) => (keys[a] === keys[b] ? a - b : keys[a] < keys[b] ? -sign : sign));
    this.rows = rows;
    this.page = 0;
    this.headers.forEach((header, i) => {
      header.setAttribute("aria-sort", i !== this.sorted ? "none" : this.isDescending ? "descending" : "ascending");
    });
    this.show();
  }

  show() {
    const first = this.page * this.pageSize;
    const shown = Array.from(this.rows.subarray(first, first + this.pageSize));
    this.body.replaceChildren(...shown.map((row) => this.line(row)));
    this.back.disabled = first === 0;
    this.forth.disabled = first + this.pageSize >= this.rows.length;
    this.where.textContent = this.rows.length
      ? `${count(first + 1)} to ${count(first + shown.length)} of ${count(this.rows.length)}`
      : "none";
  }

  line(row) {
    const { entries } = this;
    const reason = entries.reasons[entries.column("reason")[row]];
    return element("tr", { title: reason || null }, ...ENTRY_COLUMNS.map((column) => {
      if (column.isName) return element("th", { scope: "row" }, this.name(row));
      const text = column.text ? column.text(entries, row) : size(entries.column(column.column)[row]);
      if (column.isBadge) return element("td", {}, element("span", { class: `badge ${text}` }, text));
      return element("td", { class: "number" }, text);
    }));
  }

  name(row) {
    const index = this.entries.indexOf(row);
    const tensor = this.isNamed || !index.length ? this.entries.tensorOf(row).name : "";
    return element("span", { class: "name" }, tensor,
      index.length ? element("span", { class: "index" }, `[${index.join(", ")}]`) : null);
  }
}
