// What is shown of an opened tensor.

class Panel {
  constructor(section, entries) {
    this.section = section;
    this.node = section.querySelector("[data-panel]");
    this.entries = entries;
    const level = Number(section.querySelector("h3, h4, h5").tagName[1]);
    this.heading = (deeper, ...children) => element(`h${Math.min(level + deeper, 6)}`, {}, ...children);
  }

  // `isAsked`: the reader opened it, so that it is brought into view.
  open(number, isAsked) {
    const tensor = this.entries.tensors[number];
    if (!tensor) return;
    for (const row of this.section.querySelectorAll("tr.opened")) row.classList.remove("opened");
    document.getElementById(`${this.entries.key}-tensor-${number}`)?.classList.add("opened");
    const title = this.heading(1, element("span", { class: "name" }, tensor.full_name || "(no name)"));
    title.tabIndex = -1;
    this.node.replaceChildren(element("header", {}, title,
      element("span", { class: `badge ${tensor.verdict}` }, tensor.verdict),
      element("button", { type: "button", onclick: () => this.close(number) }, "Close")));
    this.node.dataset.tensor = String(number);
    this.node.hidden = false;
    const shape = tensor.shape.join("x") || "scalar";
    const entries = tensor.shape.reduce((product, n) => product * n, 1);
    this.add(element("p", { class: "aside" }, `shape ${shape}; ${count(tensor.looked_at)} of ${plural(entries, "entry", "entries")} looked at one by one`));
    if (tensor.reason) this.add(element("p", {}, tensor.reason));
    if (tensor.looked_at) this.addPictures(tensor);
    else this.add(element("p", {}, this.whyEmpty(entries)));
    if (isAsked) {
      this.node.scrollIntoView({ block: "start" });
      title.focus({ preventScroll: true });
    }
  }

  whyEmpty(entries) {
    if (!entries) return "This tensor is empty.";
    return "Its entries were moved together, along random directions, and none had to be looked at by itself: "
      + "see its detection limit above. coverage=\"full\" looks at every entry, coverage=\"sample\" at some.";
  }

  add(...nodes) {
    this.node.append(...nodes);
  }

  addPictures(tensor) {
    const kept = tensor.stop - tensor.start;
    if (kept < tensor.looked_at) {
      this.add(element("p", {}, `This page holds the ${count(kept)} worst of them; the histogram counts all.`));
    }
    const map = new HeatMap(this.entries, tensor, this.heading(2, "The error over the tensor"));
    const scatter = new Scatter(this.entries, tensor, this.heading(2, "Analytic against numeric"));
    const table = new EntryTable(this.entries, tensor.start, tensor.stop, false);
    const pictures = element("div", { class: "panels" }, scatter.node);
    this.add(map.node, pictures, this.heading(2, "Entries, the worst first"), table.node);
    map.start();
    scatter.draw();
    pictures.prepend(histogram(tensor, this.heading(2, "Digits"), Math.min(scatter.node.clientWidth, 560)));
  }

  close(number) {
    this.node.hidden = true;
    this.node.replaceChildren();
    delete this.node.dataset.tensor;
    const row = document.getElementById(`${this.entries.key}-tensor-${number}`);
    row?.classList.remove("opened");
    row?.querySelector("a").focus();
    history.replaceState(null, "", `#${this.entries.key}-tensors`);
  }
}
