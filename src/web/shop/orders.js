// This shopper's orders: what became of them, and whether the data platform knows.

import { byId, el, keyed, part, setAttribute, setText, show } from "./dom.js";

/** Lists come from PostgreSQL, a moment later: what was just done is asked for by its id for so long, in ms. */
const FRESH_MS = 5_000;

const SHOWN_MAX = 10;

const LEVELS = { CONFIRMED: "good", PENDING_PAYMENT: "warn", HELD: "warn", PAYMENT_FAILED: "bad" };

/** What the data platform is told of. */
const TOLD = ["CONFIRMED", "REFUNDED", "CANCELLED"];

export function createOrders({ api, i18n, say, wallet, after }) {
  const { t } = i18n;
  const result = byId("orders-result");
  /** Until when an order is asked for by its id. */
  const fresh = new Map();
  let orders = [];

  function create({ orderId }) {
    const button = (name, work) =>
      el("button", {
        class: "tiny",
        type: "button",
        "data-part": name,
        "data-testid": `${name}-${orderId}`,
        on: { click: (event) => act(event.currentTarget, orderId, work) },
      });
    return el(
      "li",
      { "data-testid": `order-${orderId}` },
      el("span", { class: "name", "data-part": "items" }),
      el("strong", { "data-part": "amount" }),
      el("span", { class: "muted small", "data-part": "when" }),
      el("span", { class: "pill", "data-part": "status", "data-testid": `order-status-${orderId}` }),
      el("span", { class: "muted small full", "data-part": "sync", "data-testid": `order-sync-${orderId}` }),
      el(
        "span",
        { class: "actions full" },
        button("pay-balance", (order) => pay(order, "BALANCE")),
        button("pay-card", (order) => pay(order, "CARD")),
        button("cancel", (order) => api.send("POST", `api/orders/${order.orderId}/cancel`)),
      ),
    );
  }

  const pay = (order, paymentMethod) =>
    api.send("POST", "api/payments", { body: { orderId: order.orderId, paymentMethod, amount: order.finalAmount } });

  function update(node, order) {
    const items = order.items.map((line) => `${line.productName} × ${i18n.number(line.quantity)}`).join(", ");
    setText(part(node, "items"), items);
    setText(part(node, "amount"), i18n.money(order.finalAmount));
    setText(part(node, "when"), t("orders.when", { id: order.orderId, time: i18n.time(order.createdAt) }));
    setText(part(node, "status"), t(`orders.${order.status}`));
    setAttribute(part(node, "status"), "data-level", LEVELS[order.status] ?? null);
    setText(part(node, "sync"), stateOf(order));
    const isUnpaid = order.status === "PENDING_PAYMENT";
    for (const [name, isThere] of [["pay-balance", isUnpaid], ["pay-card", isUnpaid], ["cancel", isUnpaid || order.status === "CONFIRMED"]]) {
      show(part(node, name), isThere);
    }
    setText(part(node, "pay-balance"), t("orders.payBalance"));
    setText(part(node, "pay-card"), t("orders.payCard"));
    setText(part(node, "cancel"), t(isUnpaid ? "orders.cancel" : "orders.refund"));
  }

  /** What there is to say beside the status. */
  function stateOf(order) {
    if (order.status === "PENDING_PAYMENT") return t("orders.until", { time: i18n.time(order.expiresAt) });
    if (order.status === "HELD") return t("orders.asking");
    if (!order.sync || !TOLD.includes(order.status)) return "";
    const { synced, syncedAt, syncAttempts, lastSyncError, nextRetryAt } = order.sync;
    if (synced) return syncedAt ? t("sync.done", { time: i18n.time(syncedAt) }) : t("sync.doneSome");
    if (syncAttempts === 0) return t("sync.waiting");
    const next = nextRetryAt ? t("sync.next", { time: i18n.time(nextRetryAt) }) : t("sync.never");
    return t("sync.failed", { n: i18n.number(syncAttempts), error: lastSyncError ?? "", next });
  }

  function showOrders() {
    keyed(byId("orders"), orders, (order) => order.orderId, create, update);
    show(byId("no-orders"), orders.length === 0);
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

  async function act(button, orderId, work) {
    const order = orders.find((one) => one.orderId === orderId);
    if (!order) return;
    button.disabled = true;
    try {
      const { body } = await work(order);
      if (body.remainingBalance !== undefined) wallet.showBalance(body.remainingBalance);
      say(result, "good", () => t(body.status === "HELD" ? "orders.asking" : "orders.done", { id: orderId }));
    } catch (error) {
      say(result, "bad", () => error.detail || t("trouble"));
    } finally {
      button.disabled = false;
      fresh.set(orderId, Date.now() + FRESH_MS);
      after();
    }
  }

  /** Whether something is still on its way. */
  const isWaiting = () =>
    fresh.size > 0 || orders.some((order) => order.status === "HELD" || (TOLD.includes(order.status) && order.sync?.synced === false));

  /** Another shopper has other orders. */
  function forget() {
    fresh.clear();
    orders = [];
    say(result, null, null);
    showOrders();
  }

  i18n.onChange(showOrders);
  return { refresh, note, isWaiting, forget };
}
