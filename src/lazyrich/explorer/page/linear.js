// Symmetric matrices: eigenvalues and eigenvectors, rows first in one Float64Array.

// Eigenvalues ascending, and eigenvectors as columns of `vectors` (n × n): Householder's
// tridiagonal form, then implicit QL steps.
export function eigenSymmetric(matrix, n) {
  const v = Float64Array.from(matrix);
  const d = new Float64Array(n);
  const e = new Float64Array(n);
  tridiagonal(v, d, e, n);
  implicitQl(v, d, e, n);
  const order = Array.from(d.keys()).sort((a, b) => d[a] - d[b]);
  const vectors = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < n; k++) vectors[i * n + k] = v[order[k] * n + i];
  }
  return { values: Float64Array.from(order, (k) => d[k]), vectors };
}

// On return row k of `v` is the k-th basis vector, d the diagonal, e[k] the entry beside d[k - 1].
function tridiagonal(v, d, e, n) {
  const reflections = [];
  for (let k = 0; k + 2 < n; k++) {
    // The column below the diagonal becomes (s, 0, …, 0).
    let square = 0;
    for (let i = k + 1; i < n; i++) square += v[i * n + k] ** 2;
    const first = v[(k + 1) * n + k];
    const tail = square - first * first;
    if (!(tail > 0)) {
      reflections.push(null);
      continue;
    }
    const length = Math.sqrt(square);
    const pivot = first > 0 ? first + length : first - length;
    const u = new Float64Array(n - k - 1);
    u[0] = pivot;
    for (let i = 1; i < u.length; i++) u[i] = v[(k + 1 + i) * n + k];
    const factor = 2 / (tail + pivot * pivot);
    reflections.push({ u, factor });
    reflectBothSides(v, n, k + 1, u, factor);
    v[(k + 1) * n + k] = v[k * n + k + 1] = first > 0 ? -length : length;
    for (let i = k + 2; i < n; i++) v[i * n + k] = v[k * n + i] = 0;
  }
  for (let i = 0; i < n; i++) {
    d[i] = v[i * n + i];
    e[i] = i ? v[i * n + i - 1] : 0;
  }
  v.fill(0);
  for (let i = 0; i < n; i++) v[i * n + i] = 1;
  // The product of the reflections, applied from the last to the first; rows are its columns.
  for (let k = reflections.length - 1; k >= 0; k--) {
    if (!reflections[k]) continue;
    const { u, factor } = reflections[k];
    for (let row = k + 1; row < n; row++) {
      let dot = 0;
      const at = row * n + k + 1;
      for (let i = 0; i < u.length; i++) dot += v[at + i] * u[i];
      dot *= factor;
      for (let i = 0; i < u.length; i++) v[at + i] -= dot * u[i];
    }
  }
}

// A ← H A H on the lower right block from `from` on, H = I − factor u uᵀ.
function reflectBothSides(a, n, from, u, factor) {
  const m = n - from;
  const p = new Float64Array(m);
  let dot = 0;
  for (let i = 0; i < m; i++) {
    let sum = 0;
    const at = (from + i) * n + from;
    for (let j = 0; j < m; j++) sum += a[at + j] * u[j];
    p[i] = factor * sum;
    dot += p[i] * u[i];
  }
  for (let i = 0; i < m; i++) p[i] -= 0.5 * factor * dot * u[i];
  for (let i = 0; i < m; i++) {
    const at = (from + i) * n + from;
    for (let j = 0; j < m; j++) a[at + j] -= p[i] * u[j] + u[i] * p[j];
  }
}

function implicitQl(v, d, e, n) {
  for (let k = 1; k < n; k++) e[k - 1] = e[k];
  if (n) e[n - 1] = 0;
  for (let low = 0; low < n; low++) {
    for (let turn = 0; turn < 60; turn++) {
      let end = low;
      while (end < n - 1) {
        const size = Math.abs(d[end]) + Math.abs(d[end + 1]);
        if (Math.abs(e[end]) <= Number.EPSILON * size) break;
        end++;
      }
      if (end === low) break;
      qlStep(v, d, e, n, low, end);
    }
  }
}

function qlStep(v, d, e, n, low, end) {
  let g = (d[low + 1] - d[low]) / (2 * e[low]);
  let r = Math.hypot(g, 1);
  g = d[end] - d[low] + e[low] / (g + (g >= 0 ? r : -r));
  let s = 1;
  let c = 1;
  let p = 0;
  for (let i = end - 1; i >= low; i--) {
    const f = s * e[i];
    const b = c * e[i];
    r = Math.hypot(f, g);
    e[i + 1] = r;
    if (r === 0) {
      d[i + 1] -= p;
      e[end] = 0;
      return;
    }
    s = f / r;
    c = g / r;
    g = d[i + 1] - p;
    r = (d[i] - g) * s + 2 * c * b;
    p = s * r;
    d[i + 1] = g + p;
    g = c * r - b;
    const one = (i + 1) * n;
    const other = i * n;
    for (let k = 0; k < n; k++) {
      const x = v[one + k];
      v[one + k] = s * v[other + k] + c * x;
      v[other + k] = c * v[other + k] - s * x;
    }
  }
  d[low] -= p;
  e[low] = g;
  e[end] = 0;
}
