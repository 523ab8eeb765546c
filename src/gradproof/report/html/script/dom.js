// Elements from plain values. Text stays text: nothing here reads it as markup.

function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function drawing(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A row of buttons of which one is pressed.
function choices(label, options, chosen, choose) {
  const buttons = options.map(([value, text]) => element("button", {
    type: "button",
    "data-choice": value,
    "aria-pressed": String(value === chosen),
    onclick: () => {
      for (const button of buttons) {
        button.setAttribute("aria-pressed", String(button.dataset.choice === value));
      }
      choose(value);
    },
  }, text));
  return element("span", { class: "choices", role: "group", "aria-label": label }, ...buttons);
}

// A canvas of so many CSS pixels, sharp on any screen.
function prepareCanvas(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.clearRect(0, 0, width, height);
  return context;
}
