// Colours for canvases: those of the style, and a scale in which darker or lighter means more.

// Nine colours after matplotlib's magma (van der Walt and Smith, CC0), from dark to light, the last
// one paler. The lightness grows evenly, so that the order is seen without seeing colours.
const MAGMA = [
  [20, 14, 54], [59, 15, 112], [100, 26, 128], [140, 41, 129], [183, 55, 121],
  [222, 73, 104], [247, 112, 92], [254, 159, 109], [252, 246, 224],
];
const SHADES = 64;

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
}

// What a custom property of the style comes to in the present theme.
function styleColour(name) {
  const probe = element("span", { hidden: true });
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

// From little to much, so that much stands out from the page: dark on light and light on dark.
function shades() {
  return Array.from({ length: SHADES }, (_, i) => {
    const part = i / (SHADES - 1);
    const place = (isDark() ? part : 1 - part) * (MAGMA.length - 1);
    const below = Math.min(Math.floor(place), MAGMA.length - 2);
    const mixed = MAGMA[below].map((c, k) => Math.round(c + (MAGMA[below + 1][k] - c) * (place - below)));
    return `rgb(${mixed.join(" ")})`;
  });
}

// Calls back whenever the theme changes, as long as the node is in the page.
function onTheme(node, redraw) {
  const listen = () => {
    if (node.isConnected) redraw();
    else document.removeEventListener("themechange", listen);
  };
  document.addEventListener("themechange", listen);
}
