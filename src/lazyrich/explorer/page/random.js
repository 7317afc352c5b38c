// The random numbers of JAX, so that a seed means the same in the page and in Python: the
// threefry2x32 counter generator, and normal numbers by the inverse error function.
//
// A key is a pair of 32-bit words. `fold` and `split` are jax.random.fold_in and split;
// `normals` is jax.random.normal in double precision, `printedNormals` the single-precision
// numbers of JAX before 0.5, which the figures of the paper were drawn with.

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24];

// One block: two words of a counter to two random words, written into `out`.
export function threefry(key, high, low, out) {
  const ks = [key[0] | 0, key[1] | 0, key[0] ^ key[1] ^ 0x1bd11bda];
  let a = (high + ks[0]) | 0;
  let b = (low + ks[1]) | 0;
  for (let round = 0; round < 5; round++) {
    for (let k = 0; k < 4; k++) {
      const turn = ROTATIONS[(round % 2) * 4 + k];
      a = (a + b) | 0;
      b = ((b << turn) | (b >>> (32 - turn))) ^ a;
    }
    a = (a + ks[(round + 1) % 3]) | 0;
    b = (b + ks[(round + 2) % 3] + round + 1) | 0;
  }
  out[0] = a >>> 0;
  out[1] = b >>> 0;
}

export function keyOf(seed) {
  return [0, seed >>> 0];
}

export function fold(key, number) {
  const out = [0, 0];
  threefry(key, 0, number, out);
  return out;
}

export function split(key, n) {
  return Array.from({ length: n }, (_, k) => fold(key, k));
}

// n standard normal numbers, those of jax.random.normal(key, shape, float64) in row order.
export function normals(key, n) {
  const found = new Float64Array(n);
  const words = [0, 0];
  const least = -(1 - 2 ** -53);
  for (let k = 0; k < n; k++) {
    threefry(key, Math.floor(k / 2 ** 32), k >>> 0, words);
    const uniform = words[0] * 2 ** -32 + (words[1] >>> 12) * 2 ** -52;
    found[k] = Math.SQRT2 * inverseErf(Math.max(least, uniform * (1 - least) + least));
  }
  return found;
}

// n numbers of jax.random.normal(PRNGKey(seed), shape, float32) before JAX 0.5.
export function printedNormals(seed, n) {
  const key = keyOf(seed);
  const half = Math.ceil(n / 2);
  const found = new Float64Array(n);
  const words = [0, 0];
  const f = Math.fround;
  const least = f(-(1 - 2 ** -24));
  const span = f(1 - least);
  const root = f(Math.SQRT2);
  for (let k = 0; k < half; k++) {
    const second = k + half;
    threefry(key, k, second < n ? second : 0, words);
    for (const [place, word] of [[k, words[0]], [second, words[1]]]) {
      if (place >= n) continue;
      const uniform = Math.max(least, f(f((word >>> 9) * 2 ** -23 * span) + least));
      found[place] = f(root * inverseErfSingle(uniform));
    }
  }
  return found;
}

// Giles (2010), in the form and with the coefficients that XLA uses.
const CENTRAL = [
  -3.6444120640178196996e-21, -1.685059138182016589e-19, 1.2858480715256400167e-18,
  1.115787767802518096e-17, -1.333171662854620906e-16, 2.0972767875968561637e-17,
  6.6376381343583238325e-15, -4.0545662729752068639e-14, -8.1519341976054721522e-14,
  2.6335093153082322977e-12, -1.2975133253453532498e-11, -5.4154120542946279317e-11,
  1.051212273321532285e-9, -4.1126339803469836976e-9, -2.9070369957882005086e-8,
  4.2347877827932403518e-7, -1.3654692000834678645e-6, -1.3882523362786468719e-5,
  0.0001867342080340571352, -0.00074070253416626697512, -0.0060336708714301490533,
  0.24015818242558961693, 1.6536545626831027356,
];
const OUTER = [
  2.2137376921775787049e-9, 9.0756561938885390979e-8, -2.7517406297064545428e-7,
  1.8239629214389227755e-8, 1.5027403968909827627e-6, -4.013867526981545969e-6,
  2.9234449089955446044e-6, 1.2475304481671778723e-5, -4.7318229009055733981e-5,
  6.8284851459573175448e-5, 2.4031110387097893999e-5, -0.0003550375203628474796,
  0.00095328937973738049703, -0.0016882755560235047313, 0.0024914420961078508066,
  -0.0037512085075692412107, 0.005370914553590063617, 1.0052589676941592334,
  3.0838856104922207635,
];
const FAR = [
  -2.7109920616438573243e-11, -2.5556418169965252055e-10, 1.5076572693500548083e-9,
  -3.7894654401267369937e-9, 7.6157012080783393804e-9, -1.4960026627149240478e-8,
  2.9147953450901080826e-8, -6.7711997758452339498e-8, 2.2900482228026654717e-7,
  -9.9298272942317002539e-7, 4.5260625972231537039e-6, -1.9681778105531670567e-5,
  7.5995277030017761139e-5, -0.00021503011930044477347, -0.00013871931833623122026,
  1.0103004648645343977, 4.8499064014085844221,
];

export function inverseErf(x) {
  let w = -Math.log1p(-x * x);
  let terms = FAR;
  if (w < 6.25) {
    terms = CENTRAL;
    w -= 3.125;
  } else if (w < 16) {
    terms = OUTER;
    w = Math.sqrt(w) - 3.25;
  } else {
    w = Math.sqrt(w) - 5;
  }
  let p = terms[0];
  for (let k = 1; k < terms.length; k++) p = p * w + terms[k];
  return p * x;
}

const CENTRAL_SINGLE = [
  2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 0.00021858087, -0.00125372503,
  -0.00417768164, 0.246640727, 1.50140941,
];
const OUTER_SINGLE = [
  -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
  0.00943887047, 1.00167406, 2.83297682,
];

function inverseErfSingle(x) {
  const f = Math.fround;
  let w = f(-Math.log1p(f(-x * x)));
  const terms = w < 5 ? CENTRAL_SINGLE : OUTER_SINGLE;
  w = w < 5 ? f(w - 2.5) : f(f(Math.sqrt(w)) - 3);
  let p = f(terms[0]);
  for (let k = 1; k < terms.length; k++) p = f(f(terms[k]) + f(p * w));
  return f(p * x);
}
