// The other products.

import { byId, el, keyed, part, setAttribute, setText } from "./dom.js";

export function createShelf({ i18n, phaseOf, choose, addToCart }) {
  const { t } = i18n;
  let shown = [];
  /** By product, so that a click finds what is shown now. */
  const byNumber = new Map();

  function create({ productId }) {
    const look = el("button", {
      class: "tiny",
      type: "button",
      "data-part": "look",
      "data-testid": `look-${productId}`,
      on: { click: () => choose(byNumber.get(productId)) },
    });
    const add = el("button", {
      class: "tiny",
      type: "button",
      "data-part": "add",
      "data-testid": `add-${productId}`,
      on: { click: () => addToCart(byNumber.get(productId)) },
    });
    return el(
      "li",
      { "data-testid": `product-${productId}` },
      el("span", { class: "name", "data-part": "name" }),
      el("span", { "data-part": "price" }),
      el("span", { class: "muted small", "data-part": "stock", "data-testid": `state-${productId}` }),
      el("span", { class: "actions" }, look, add),
    );
  }

  /** What there is to know before somebody wants it. */
  function stateOf(product, phase) {
    const stock = t("shelf.left", { n: i18n.number(product.stock) });
    if (phase === "upcoming") return `${t("shelf.opens", { time: i18n.time(product.saleStartsAt) })} · ${stock}`;
    return phase === "open" ? stock : t(`sale.state.${phase}`);
  }

  function update(node, product) {
    setText(part(node, "name"), product.name);
    setText(part(node, "price"), i18n.money(product.price));
    const phase = phaseOf(product);
    setText(part(node, "stock"), stateOf(product, phase));
    setAttribute(part(node, "stock"), "data-phase", phase);
    part(node, "add").disabled = phase !== "open";
    setText(part(node, "look"), t("shelf.look"));
    setText(part(node, "add"), t("shelf.add"));
    for (const action of ["look", "add"]) {
      setAttribute(part(node, action), "aria-label", `${t(`shelf.${action}`)}: ${product.name}`);
    }
  }

  function showProducts(products) {
    shown = products;
    for (const product of products) byNumber.set(product.productId, product);
    keyed(byId("shelf"), products, (product) => product.productId, create, update);
  }

  i18n.onChange(() => showProducts(shown));
  return { showProducts };
}
