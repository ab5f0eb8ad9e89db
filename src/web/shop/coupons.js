// Coupons: what is offered, first come, first served, and what this shopper has.

import { byId, el, keyed, part, setAttribute, setBar, setText, show } from "./dom.js";

export function createCoupons({ api, i18n, say, attempt, onHeld }) {
  const { t } = i18n;
  const result = byId("coupons-result");
  let offered = [];
  let held = [];

  /** What a coupon is worth, in a few words. */
  function worth(coupon) {
    if (coupon.discountValue === undefined) return "";
    const isPercent = coupon.discountType === "PERCENT";
    const off = isPercent ? t("coupons.percent", { n: coupon.discountValue }) : t("coupons.fixed", { amount: i18n.money(coupon.discountValue) });
    const terms = [off];
    if (coupon.type === "CART_ITEM") terms.push(t("coupons.item", { id: coupon.productId }));
    if (coupon.maxDiscount !== undefined) terms.push(t("coupons.most", { amount: i18n.money(coupon.maxDiscount) }));
    if (coupon.minOrderAmount !== undefined) terms.push(t("coupons.from", { amount: i18n.money(coupon.minOrderAmount) }));
    return terms.join(", ");
  }

  function create({ couponId }) {
    const take = el("button", {
      class: "tiny primary",
      type: "button",
      "data-part": "take",
      "data-testid": `issue-${couponId}`,
      on: { click: (event) => issue(couponId, event.currentTarget) },
    });
    return el(
      "li",
      { "data-testid": `coupon-${couponId}` },
      el("span", { class: "name", "data-part": "name" }),
      el("span", {}, take, el("span", { class: "pill", "data-part": "state" })),
      el("span", { class: "muted small full", "data-part": "worth" }),
      el("span", { class: "bar", "data-part": "bar", "aria-hidden": "true" }, el("span")),
    );
  }

  function update(node, { coupon, mine }) {
    setText(part(node, "name"), coupon.name ?? `#${coupon.couponId}`);
    const left = coupon.remainingQuantity;
    const leftText = left === undefined ? "" : t("coupons.left", { n: i18n.number(left), total: i18n.number(coupon.totalQuantity) });
    setText(part(node, "worth"), [worth(coupon), leftText].filter(Boolean).join(" · "));
    show(part(node, "take"), !mine);
    setText(part(node, "take"), t(left === 0 ? "sale.soldOut" : "coupons.take"));
    part(node, "take").disabled = left === 0;
    show(part(node, "state"), Boolean(mine));
    if (mine) {
      setText(part(node, "state"), t(`coupons.${mine.status}`));
      setAttribute(part(node, "state"), "data-level", mine.status === "AVAILABLE" ? "good" : null);
    }
    show(part(node, "bar"), left !== undefined);
    if (left !== undefined) setBar(part(node, "bar"), left / Math.max(1, coupon.totalQuantity));
  }

  function showAll() {
    const mineOf = new Map(held.map((one) => [one.couponId, one]));
    const lines = offered.map((coupon) => ({ couponId: coupon.couponId, coupon, mine: mineOf.get(coupon.couponId) }));
    const isOffered = new Set(offered.map((coupon) => coupon.couponId));
    for (const mine of held) {
      if (!isOffered.has(mine.couponId)) lines.push({ couponId: mine.couponId, coupon: mine, mine });
    }
    keyed(byId("coupons"), lines, (line) => line.couponId, create, update);
    show(byId("no-coupons"), lines.length === 0);
    onHeld(held);
  }

  async function refresh() {
    const [all, mine] = await Promise.all([api.getPublic("api/coupons?limit=20"), api.get("api/users/me/coupons?limit=50")]);
    offered = all.coupons;
    held = mine.coupons;
    showAll();
  }

  async function issue(couponId, button) {
    button.disabled = true;
    await attempt(result, {
      work: (key) => api.send("POST", `api/coupons/${couponId}/issue`, { key }),
      unknown: "ask.issued",
      done: ({ body }) => say(result, "good", () => t("coupons.issued", { time: i18n.time(body.expiresAt) })),
      after: () => refresh().catch(() => {}),
    }).finally(() => {
      button.disabled = false;
    });
  }

  /** Another shopper has other coupons. */
  function forget() {
    held = [];
    showAll();
  }

  i18n.onChange(showAll);
  return { refresh, forget };
}
