// What Python puts into the page: ranges of the sliders, figures, and stored runs if there are.

const read = (id) => {
  const node = globalThis.document?.getElementById(id);
  return node ? JSON.parse(node.textContent) : null;
};

export const SLIDERS = read("data-sliders") ?? globalThis.lazyrichSliders ?? {};
export const FIGURES = read("data-figures") ?? [];
export const EMBEDDED = read("data-document");
export const SERVER = read("data-server");
