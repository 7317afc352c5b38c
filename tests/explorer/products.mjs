// Products of random matrices by WebAssembly, by the page's JavaScript and by the definition, and
// curves of golden settings: node products.mjs PAGE GOLDEN [plain]. Plain takes WebAssembly away.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , page, golden, plain] = process.argv;
if (plain) delete globalThis.WebAssembly;
const load = (name) => import(pathToFileURL(`${page}/${name}`));
const { Products } = await load("products.js");
const { Descent } = await load("committee.js");

function randomProduct(n, m, depth, isFast) {
  const products = new Products({ left: [depth, n], right: [depth, m], out: [n, m] }, { isFast });
  const { left, right, out } = products.matrices;
  const number = (k) => Math.sin(k * k + 1) * 10 ** ((k % 7) - 3);
  const [l, r] = [Float64Array.from({ length: depth * n }, (_, k) => number(k)), Float64Array.from({ length: depth * m }, (_, k) => number(k + 5))];
  left.set(l, depth);
  right.set(r, depth);
  products.multiply(out, left, right);
  const wanted = (i, j) => {
    let sum = 0;
    for (let k = 0; k < depth; k++) sum += l[k * n + i] * r[k * m + j];
    return sum;
  };
  const { nColumns } = out;
  const isEqual = Array.from(out.values).every((value, at) => {
    const [i, j] = [Math.floor(at / nColumns), at % nColumns];
    return Object.is(value, i < n && j < m ? wanted(i, j) : 0);
  });
  return { isEqual, isCompiled: Boolean(products.strip) };
}

const sides = [[1, 1, 1], [4, 4, 4], [5, 7, 3], [41, 40, 120], [120, 41, 40], [3, 50, 9]];
const products = sides.flatMap(([n, m, depth]) => [true, false].map((isFast) => ({ isFast, ...randomProduct(n, m, depth, isFast) })));

const lines = readFileSync(golden, "utf8").trim().split("\n");
const curves = [0, 7, 20, 33].map((number) => {
  const { settings, steps } = JSON.parse(lines[number]);
  const descent = new Descent({ ...settings, width: settings.width ?? Infinity });
  return steps.map((step) => {
    descent.advance(step - descent.step);
    return descent.measure();
  });
});
console.log(JSON.stringify({ products, curves }));
