// The cart, and ordering all of it.

import { byId, el, keyed, part, setAttribute, setText, show } from "./dom.js";

export function createCart({ api, i18n, say, wallet, after }) {
  const { t } = i18n;
  const result = byId("cart-result");
  let cart = { items: [], totalAmount: 0 };

  function create({ productId }) {
    const change = (by) => () => {
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
        button("cart-fewer", "−", change(-1)),
        el("span", { "data-part": "quantity", "data-testid": `cart-quantity-${productId}` }),
        button("cart-more", "+", change(1)),
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

  /** Does something to the cart, and says what was wrong with it. */
  async function attempt(work) {
    try {
      await work();
    } catch (error) {
      say(result, "bad", () => error.detail || t("trouble"));
    }
  }

  const put = (productId, quantity) =>
    attempt(async () => {
      say(result, null, null);
      const path = `api/cart/items/${productId}`;
      if (quantity > 0) {
        cart = (await api.send("PUT", path, { body: { quantity } })).body;
        showCart();
      } else {
        await api.send("DELETE", path);
        await refresh();
      }
    });

  const add = ({ productId, name }) =>
    attempt(async () => {
      cart = (await api.send("POST", "api/cart/items", { body: { productId, quantity: 1 } })).body;
      showCart();
      say(result, "good", () => t("cart.added", { name }));
    });

  byId("order-cart").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    await attempt(async () => {
      const { body: order } = await api.send("POST", "api/orders", { body: { finalAmount: cart.totalAmount } });
      const values = { id: order.orderId };
      say(result, "good", () => t("sale.bought", { ...values, amount: i18n.money(order.finalAmount), left: i18n.money(order.remainingBalance) }));
      wallet.showBalance(order.remainingBalance);
      after(order);
    });
    button.disabled = false;
    refresh().catch(() => {});
  });

  i18n.onChange(showCart);
  return { refresh, add };
}
