// What happens when the page opens, and when its address or its colours change.

const panels = new Map();

function setUpTheme() {
  const buttons = [...document.querySelectorAll("[data-theme-choice]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const choice = button.dataset.themeChoice;
      if (choice === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = choice;
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      document.dispatchEvent(new Event("themechange"));
    });
  }
  window.matchMedia("(prefers-color-scheme: dark)")
    .addEventListener("change", () => document.dispatchEvent(new Event("themechange")));
}

// On paper the pictures are light too.
function setUpPrinting() {
  let chosen;
  const use = (theme) => {
    if (theme === undefined) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new Event("themechange"));
  };
  window.addEventListener("beforeprint", () => {
    chosen = document.documentElement.dataset.theme;
    use("light");
  });
  window.addEventListener("afterprint", () => use(chosen));
}

function setUpCopying() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
    });
  }
}

// The part of a report with this key, ready when it is first seen: a closed one costs nothing.
function setUpReport(key) {
  if (panels.has(key)) return;
  const section = document.getElementById(`${key}-tensors`);
  const entries = new Entries(key);
  const panel = section.querySelector("[data-panel]") && new Panel(section, entries);
  panels.set(key, panel);
  if (!panel) return;
  new TensorTable(section);
  const { opened } = panel.node.dataset;
  if (opened !== undefined && !location.hash.startsWith(`#${key}-tensor-`)) panel.open(Number(opened), false);
  setUpAllEntries(document.getElementById(key), entries);
}

function setUpAllEntries(report, entries) {
  const details = [...report.querySelectorAll("details[data-all-entries]")]
    .find((one) => one.closest("[data-report]") === report);
  details?.addEventListener("toggle", () => {
    if (details.open && !details.querySelector(".entries")) {
      details.append(new EntryTable(entries, 0, entries.rows, true).node);
    }
  });
}

// Opens what the address leads to: a tensor, or a report that is folded away.
function follow() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let node = target; node; node = node.parentElement) {
    if (node.tagName === "DETAILS") node.open = true;
  }
  const key = target.closest("[data-report]")?.dataset.report;
  if (!key) return;
  setUpReport(key);
  if ("tensor" in target.dataset) panels.get(key)?.open(Number(target.dataset.tensor), true);
}

for (const node of document.querySelectorAll(".needs-script:not([data-panel], [data-copy])")) node.hidden = false;
setUpTheme();
setUpPrinting();
setUpCopying();
for (const report of document.querySelectorAll("[data-report]")) {
  if (report.tagName !== "DETAILS" || report.open) setUpReport(report.dataset.report);
  else report.addEventListener("toggle", () => setUpReport(report.dataset.report), { once: true });
}
follow();
window.addEventListener("hashchange", follow);
// A link to the tensor that the address names already is followed too.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='#']");
  if (link && link.hash === location.hash) follow();
});
document.documentElement.dataset.ready = "";
