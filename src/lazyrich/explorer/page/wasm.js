// The inner loop of products.js as WebAssembly, two numbers an instruction: the bytes are put
// together here, so that the page needs no compiler and no other file.

const [I32, V128] = [0x7f, 0x7b];
const [LOOP, END, BRANCH_IF] = [0x03, 0x0b, 0x0d];
const [GET, SET, TEE, CONST32, ADD32, SUB32] = [0x20, 0x21, 0x22, 0x41, 0x6a, 0x6b];
const [LOAD, SPLAT, STORE, CONSTANT, PLUS, TIMES] = [0x00, 0x0a, 0x0b, 0x0c, 0xf0, 0xf2]; // of two numbers
const NOTHING = 0x40;

const unsigned = (value) => {
  const bytes = [];
  do {
    bytes.push((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    value >>>= 7;
  } while (value);
  return bytes;
};
const counted = (items) => [...unsigned(items.length), ...items.flat()];
const section = (id, content) => [id, ...counted(content)];
const named = (text) => counted([...text].map((letter) => letter.charCodeAt(0)));
const get = (local) => [GET, ...unsigned(local)];
const set = (local) => [SET, ...unsigned(local)];
const number = (value) => [CONST32, value]; // here below 64
const simd = (code) => [0xfd, ...unsigned(code)];
const memory = (offset) => [3, ...unsigned(offset)]; // aligned to 8 bytes
const load = (pointer, offset) => [...get(pointer), ...simd(LOAD), ...memory(offset)];
const splat = (pointer, offset) => [...get(pointer), ...simd(SPLAT), ...memory(offset)];
const increase = (local, bytes) => [...get(local), ...bytes, ADD32, ...set(local)];

// Parameters of `strip`, which makes COUNT blocks beside each other from DEPTH rows: where the
// numbers begin and how far rows are apart, in bytes. Then its locals.
const [OUT, LEFT, RIGHT, N_OUT, N_LEFT, N_RIGHT, COUNT, DEPTH] = [0, 1, 2, 3, 4, 5, 6, 7];
const [A, B, K, SUMS, VALUES] = [8, 9, 10, 11, 19];

function strip() {
  const zero = [...simd(CONSTANT), ...Array(16).fill(0)];
  const body = [];
  body.push(LOOP, NOTHING); // for each block
  body.push(...get(LEFT), ...set(A), ...get(RIGHT), ...set(B), ...get(DEPTH), ...set(K));
  for (let n = 0; n < 8; n++) body.push(...zero, ...set(SUMS + n));
  body.push(LOOP, NOTHING); // for each row of both
  body.push(...load(B, 0), ...set(VALUES), ...load(B, 16), ...set(VALUES + 1));
  for (let i = 0; i < 4; i++) {
    body.push(...splat(A, 8 * i), ...set(VALUES + 2));
    for (let j = 0; j < 2; j++) {
      const sum = SUMS + 2 * i + j;
      body.push(...get(VALUES + 2), ...get(VALUES + j), ...simd(TIMES));
      body.push(...get(sum), ...simd(PLUS), ...set(sum));
    }
  }
  body.push(...increase(A, get(N_LEFT)), ...increase(B, get(N_RIGHT)));
  body.push(...get(K), ...number(1), SUB32, TEE, K, BRANCH_IF, 0, END);
  body.push(...get(OUT), ...set(A));
  for (let i = 0; i < 4; i++) {
    for (let j = 0; j < 2; j++) body.push(...get(A), ...get(SUMS + 2 * i + j), ...simd(STORE), ...memory(16 * j));
    body.push(...increase(A, get(N_OUT)));
  }
  body.push(...increase(OUT, number(32)), ...increase(RIGHT, number(32)));
  body.push(...get(COUNT), ...number(1), SUB32, TEE, COUNT, BRANCH_IF, 0, END, END);
  return [...counted([[3, I32], [11, V128]]), ...body];
}

export function stripBytes() {
  return new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, counted([[0x60, ...counted(Array(8).fill(I32)), 0]])),
    ...section(2, counted([[...named("page"), ...named("memory"), 2, 0, 0]])),
    ...section(3, counted([[0]])),
    ...section(7, counted([[...named("strip"), 0, 0]])),
    ...section(10, counted([counted(strip())])),
  ]);
}
