// Numbers as the text report writes them; the same rules as report/steps_text.py.

const NOTHING = "\u2013";

// 1.0e+5 is 1.0e5.
function shortExponent(text) {
  return text.replace("e+", "e");
}

// The exponent of a number when it has been rounded to so many figures.
function exponentOf(x, figures = 17) {
  return x === 0 ? 0 : Number(Math.abs(x).toExponential(figures - 1).split("e")[1]);
}

// A size of which the first figures count.
function size(x, figures = 2) {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (x === 0) return "0";
  const exponent = exponentOf(x, figures);
  if (exponent >= -2 && exponent <= 2) return x.toFixed(Math.max(figures - 1 - exponent, 0));
  return shortExponent(x.toExponential(figures - 1));
}

function digits(x) {
  if (Number.isNaN(x)) return NOTHING;
  const text = x.toFixed(1);
  return text === "-0.0" ? "0.0" : text; // a little more than all of the larger is missing
}

function count(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, ",");
}

function plural(n, what, several = `${what}s`) {
  return `${count(n)} ${n === 1 ? what : several}`;
}

// Both derivatives in one notation, with the digits that the bar justifies plus two.
function derivativePair(analytic, numeric, error, attainable) {
  const finite = Number.isFinite(numeric) && Number.isFinite(error);
  const sizes = [analytic, numeric].filter((x) => x !== 0 && Number.isFinite(x)).map(Math.abs);
  const figures = Math.max(finite ? Math.min(Math.floor(attainable) + 2, 17) : 6, 3);
  const lead = finite
    ? exponentOf(Math.max(Math.abs(numeric), error))
    : exponentOf(sizes.length ? Math.max(...sizes) : 1);
  const exponents = [lead, ...sizes.map((x) => exponentOf(x))];
  const plain = Math.min(...exponents) >= -4 && Math.max(...exponents) <= 5;
  return [analytic, numeric].map((x) => {
    if (x === 0 || !Number.isFinite(x)) return size(x);
    return plain
      ? x.toFixed(Math.max(figures - 1 - lead, 0))
      : shortExponent(x.toExponential(figures - 1));
  });
}
