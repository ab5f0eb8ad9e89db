// This shopper's orders: what became of them, and whether the data platform knows.

import { byId, el, keyed, part, setAttribute, setText, show } from "./dom.js";

/** Lists come from PostgreSQL, a moment later: what was just done is asked for by its id for so long, in ms. */
const FRESH_MS = 5_000;

const SHOWN_MAX = 10;

const LEVELS = { CONFIRMED: "good", PENDING_PAYMENT: "warn", HELD: "warn", PAYMENT_FAILED: "bad" };

/** What the data platform is told of. */
const TOLD = ["CONFIRMED", "REFUNDED", "CANCELLED"];

export function createOrders({ api, i18n, say, attempt, wallet, after, onSeen }) {
  const { t } = i18n;
  const result = byId("orders-result");
  /** Until when an order is asked for by its id. */
  const fresh = new Map();
  let orders = [];

  function create({ orderId }) {
    const button = (name) =>
      el("button", {
        class: "tiny",
        type: "button",
        "data-part": name,
        "data-testid": `${name}-${orderId}`,
        on: { click: (event) => act(event.currentTarget, orderId, name) },
      });
    return el(
      "li",
      { "data-testid": `order-${orderId}` },
      el("span", { class: "name", "data-part": "items" }),
      el("span", { class: "amounts" }, el("strong", { "data-part": "amount" }), el("span", { class: "muted small", "data-part": "coupon" })),
      el("span", { class: "muted small", "data-part": "when" }),
      el("span", { class: "pill", "data-part": "status", "data-testid": `order-status-${orderId}` }),
      el("span", { class: "muted small full", "data-part": "note", "data-testid": `order-note-${orderId}` }),
      // A word for buyers who wonder what that is.
      el(
        "details",
        { class: "muted small full", "data-part": "told" },
        el("summary", { "data-part": "sync", "data-testid": `order-sync-${orderId}` }),
        el("p", { "data-part": "why" }),
      ),
      el("span", { class: "actions full" }, button("pay-balance"), button("pay-card"), button("cancel")),
    );
  }

  /** What a button sends. */
  function send(name, { orderId, finalAmount }, key) {
    if (name === "cancel") return api.send("POST", `api/orders/${orderId}/cancel`, { key });
    const paymentMethod = name === "pay-card" ? "CARD" : "BALANCE";
    return api.send("POST", "api/payments", { body: { orderId, paymentMethod, amount: finalAmount }, key });
  }

  /** What it did, in a sentence. */
  function tell(name, order, body) {
    const values = () => ({ id: order.orderId, amount: i18n.money(order.finalAmount) });
    if (body.status === "HELD") {
      say(result, "warn", () => t("orders.asking"), { about: body });
      return;
    }
    const isRefund = name === "cancel" && body.status === "REFUNDED";
    const what = isRefund ? `refund.${body.paymentMethod === "CARD" ? "card" : "balance"}` : name;
    say(result, "good", () => t(`orders.done.${what}`, values()));
  }

  function update(node, order) {
    const items = order.items.map((line) => `${line.productName} ×\u00a0${i18n.number(line.quantity)}`).join(", ");
    setText(part(node, "items"), items);
    setText(part(node, "amount"), i18n.money(order.finalAmount));
    setText(part(node, "when"), t("orders.when", { id: order.orderId, time: i18n.time(order.createdAt) }));
    setText(part(node, "status"), t(`orders.${order.status}`));
    setAttribute(part(node, "status"), "data-level", LEVELS[order.status] ?? null);
    const couponText = order.discountAmount > 0 ? t("orders.coupon", { amount: i18n.money(order.discountAmount) }) : "";
    setText(part(node, "coupon"), couponText);
    setText(part(node, "note"), noteOf(order));
    const isTold = Boolean(order.sync) && TOLD.includes(order.status);
    show(part(node, "told"), isTold);
    setText(part(node, "sync"), isTold ? syncOf(order.sync) : "");
    setText(part(node, "why"), t("sync.why"));
    const isUnpaid = order.status === "PENDING_PAYMENT";
    for (const [name, isThere] of [["pay-balance", isUnpaid], ["pay-card", isUnpaid], ["cancel", isUnpaid || order.status === "CONFIRMED"]]) {
      show(part(node, name), isThere);
    }
    setText(part(node, "pay-balance"), t("orders.payBalance"));
    setText(part(node, "pay-card"), t("orders.payCard"));
    setText(part(node, "cancel"), t(isUnpaid ? "orders.cancel" : "orders.refund"));
  }

  /** What there is to say beside the status. */
  function noteOf(order) {
    if (order.status === "PENDING_PAYMENT") return t("orders.until", { time: i18n.time(order.expiresAt) });
    return order.status === "HELD" ? t("orders.asking") : "";
  }

  /** Whether the data platform knows. */
  function syncOf({ synced, syncedAt, syncAttempts, lastSyncError, nextRetryAt }) {
    if (synced) return syncedAt ? t("sync.done", { time: i18n.time(syncedAt) }) : t("sync.doneSome");
    if (syncAttempts === 0) return t("sync.waiting");
    const next = nextRetryAt ? t("sync.next", { time: i18n.time(nextRetryAt) }) : t("sync.never");
    return t("sync.failed", { n: i18n.number(syncAttempts), error: lastSyncError ?? "", next });
  }

  function showOrders() {
    keyed(byId("orders"), orders, (order) => order.orderId, create, update);
    show(byId("no-orders"), orders.length === 0);
    onSeen(orders);
  }

  /** Puts an order that was just answered on top. */
  function note(order) {
    fresh.set(order.orderId, Date.now() + FRESH_MS);
    const others = orders.filter((one) => one.orderId !== order.orderId);
    orders = sorted([order, ...others]);
    showOrders();
  }

  const sorted = (all) => all.sort((a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt) || b.orderId - a.orderId).slice(0, SHOWN_MAX);

  async function refresh() {
    const list = (await api.get(`api/orders?limit=${SHOWN_MAX}`)).orders;
    const byNumber = new Map(list.map((order) => [order.orderId, order]));
    for (const [orderId, until] of fresh) {
      if (Date.now() > until) fresh.delete(orderId);
      else byNumber.set(orderId, await api.get(`api/orders/${orderId}`));
    }
    orders = sorted([...byNumber.values()]);
    showOrders();
  }

  async function act(button, orderId, name) {
    const order = orders.find((one) => one.orderId === orderId);
    if (!order) return;
    const isPaid = order.status === "CONFIRMED";
    button.disabled = true;
    await attempt(result, {
      work: (key) => send(name, order, key),
      unknown: name !== "cancel" ? "ask.paid" : isPaid ? "ask.refunded" : "ask.cancelled",
      values: { id: orderId },
      done: ({ body }) => {
        if (body.remainingBalance !== undefined) wallet.showBalance(body.remainingBalance);
        tell(name, order, body);
      },
      offer: (error) => {
        const then = () => act(button, orderId, name);
        return wallet.offer(error, { node: result, name: "charge-and-pay", text: "orders.chargeAndPay", then });
      },
      after: () => {
        fresh.set(orderId, Date.now() + FRESH_MS);
        after();
      },
    }).finally(() => {
      button.disabled = false;
    });
  }

  /** Whether something is still on its way. */
  const isWaiting = () =>
    fresh.size > 0 || orders.some((order) => order.status === "HELD" || (TOLD.includes(order.status) && order.sync?.synced === false));

  /** Another shopper has other orders. */
  function forget() {
    fresh.clear();
    orders = [];
    showOrders();
  }

  i18n.onChange(showOrders);
  return { refresh, note, isWaiting, forget };
}
