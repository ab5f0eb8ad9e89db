// The cart, and ordering all of it.

import { byId, el, keyed, part, setAttribute, setText, show } from "./dom.js";

export function createCart({ api, i18n, say, attempt, wallet, after }) {
  const { t } = i18n;
  const result = byId("cart-result");
  let cart = { items: [], totalAmount: 0 };

  function create({ productId }) {
    const step = (by) => () => {
      const line = cart.items.find((item) => item.productId === productId);
      if (line) put(productId, line.quantity + by);
    };
    const button = (name, text, listener) =>
      el("button", { class: "tiny", type: "button", "data-part": name, "data-testid": `${name}-${productId}`, text, on: { click: listener } });
    return el(
      "li",
      { "data-testid": `cart-line-${productId}` },
      el("span", { class: "name", "data-part": "name" }),
      el("strong", { "data-part": "amount" }),
      el(
        "span",
        { class: "actions full" },
        button("cart-fewer", "−", step(-1)),
        el("span", { "data-part": "quantity", "data-testid": `cart-quantity-${productId}` }),
        button("cart-more", "+", step(1)),
        button("cart-remove", "", () => put(productId, 0)),
      ),
    );
  }

  function update(node, line) {
    setText(part(node, "name"), line.productName);
    setText(part(node, "amount"), i18n.money(line.amount));
    setText(part(node, "quantity"), i18n.number(line.quantity));
    setText(part(node, "cart-remove"), t("cart.remove"));
    for (const [name, key] of [["cart-fewer", "sale.fewer"], ["cart-more", "sale.more"], ["cart-remove", "cart.remove"]]) {
      setAttribute(part(node, name), "aria-label", `${t(key)}: ${line.productName}`);
    }
  }

  function showCart() {
    const isEmpty = cart.items.length === 0;
    keyed(byId("cart"), cart.items, (line) => line.productId, create, update);
    setText(byId("cart-total"), isEmpty ? "" : i18n.money(cart.totalAmount));
    show(byId("no-cart"), isEmpty);
    show(byId("order-cart"), !isEmpty);
  }

  async function refresh() {
    cart = await api.get("api/cart");
    showCart();
  }

  /** Changes the cart: `request(key)` answers what is in it now. */
  const change = (request, done = () => {}) =>
    attempt(result, {
      work: request,
      unknown: "ask.cart",
      done: ({ body }) => {
        cart = body;
        showCart();
        done();
      },
    });

  function put(productId, quantity) {
    const path = `api/cart/items/${productId}`;
    if (quantity > 0) return change((key) => api.send("PUT", path, { body: { quantity }, key }));
    return change(async (key) => {
      await api.send("DELETE", path, { key });
      return { body: await api.get("api/cart") };
    });
  }

  const add = ({ productId, name }) =>
    change(
      (key) => api.send("POST", "api/cart/items", { body: { productId, quantity: 1 }, key }),
      () => say(result, "good", () => t("cart.added", { name })),
    );

  function order() {
    const button = byId("order-cart");
    const body = { finalAmount: cart.totalAmount };
    let made = null;
    button.disabled = true;
    return attempt(result, {
      work: (key) => api.send("POST", "api/orders", { body, key }),
      unknown: "ask.ordered",
      done: (answer) => {
        made = answer.body;
        const values = () => ({ id: made.orderId, amount: i18n.money(made.finalAmount), left: i18n.money(made.remainingBalance) });
        say(result, "good", () => t("sale.bought", values()), { about: made });
        wallet.showBalance(made.remainingBalance);
      },
      offer: (error) => wallet.offer(error, { node: result, name: "charge-and-order", text: "cart.chargeAndOrder", then: order }),
      after: () => after(made),
    }).finally(() => {
      button.disabled = false;
    });
  }

  byId("order-cart").addEventListener("click", order);

  /** Another shopper has another cart. */
  function forget() {
    cart = { items: [], totalAmount: 0 };
    showCart();
  }

  i18n.onChange(showCart);
  return { refresh, add, forget };
}
