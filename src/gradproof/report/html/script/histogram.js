// How many entries agree to how many digits, against how many digits are attainable.

function histogram(tensor, heading, width) {
  const [height, bottom, top] = [230, 40, 10];
  const bins = tensor.agree.length;
  const most = Math.max(...tensor.agree, ...tensor.attainable, 1);
  const left = 16 + 8 * count(most).length;
  const x = (bin) => left + (bin / bins) * (width - left - 8);
  const y = (n) => height - bottom - (n / most) * (height - bottom - top);
  const picture = drawing("svg", {
    class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Entries by digits: ${inWords("agreeing", tensor.agree)}; ${inWords("attainable", tensor.attainable)}.`,
  });
  for (const n of [...new Set([0, Math.round(most / 2), most])]) {
    picture.append(
      drawing("line", { class: "grid", x1: left, x2: width - 8, y1: y(n), y2: y(n) }),
      drawing("text", { class: "tick", x: left - 6, y: y(n), dy: "0.35em", "text-anchor": "end" }, count(n)));
  }
  tensor.agree.forEach((n, bin) => {
    if (!n) return;
    picture.append(drawing("rect", {
      class: "agree", x: x(bin) + 1.5, y: y(n), width: x(1) - x(0) - 3, height: Math.max(y(0) - y(n), 1.5),
    }, drawing("title", {}, `${bin} to ${bin + 1} digits agree: ${plural(n, "entry", "entries")}`)));
  });
  const steps = tensor.attainable.map((n, bin) => `V${y(n)}H${x(bin + 1)}`).join("");
  picture.append(drawing("path", { class: "attainable", d: `M${x(0)} ${y(0)}${steps}V${y(0)}` }));
  for (let bin = 0; bin <= bins; bin += 2) {
    picture.append(drawing("text", { class: "tick", x: x(bin), y: height - bottom + 16, "text-anchor": "middle" }, String(bin)));
  }
  picture.append(drawing("text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, "digits"));
  return element("figure", { class: "histogram" },
    element("figcaption", {}, heading, element("div", { class: "scale" },
      element("span", {}, element("i", { class: "swatch agree" }), "digits that agree"),
      element("span", {}, element("i", { class: "swatch attainable" }), "digits attainable"))),
    picture);
}

function inWords(what, counts) {
  const some = counts.flatMap((n, bin) => (n ? [`${count(n)} with ${bin} to ${bin + 1}`] : []));
  return `${what}: ${some.join(", ")}`;
}
