// The rush of made-up buyers: there in `flashsale dev` only.

import { byId, el, keyed, setAttribute, setBar, setText, show } from "./dom.js";

export function createRush(i18n, codeName) {
  const { t } = i18n;
  const form = byId("rush-form");
  const product = byId("rush-product");
  const message = byId("rush-message");
  const start = byId("rush-start");

  function say(level, text) {
    setAttribute(message, "data-level", level);
    setText(message, text);
    show(message, text !== "");
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = { buyers: Number(byId("rush-buyers").value), productId: Number(product.value) };
    start.disabled = true;
    try {
      const response = await fetch("live/rush", {
        method: "POST",
        headers: { "Content-Type": "application/json", "Accept-Language": i18n.language },
        body: JSON.stringify(body),
      });
      if (response.status === 202) say("good", t("rush.started", { n: i18n.number(body.buyers) }));
      else say("warn", await refusal(response));
    } catch {
      say("bad", t("rush.failed"));
    } finally {
      start.disabled = false;
    }
  });

  async function refusal(response) {
    if (response.status === 409) return t("rush.busy");
    const problem = await response.json().catch(() => ({}));
    if (problem.code === "INVALID_INPUT") return t("rush.bad");
    return problem.detail ?? t("rush.failed");
  }

  /** Shows how far a rush is, and what can be rushed for. */
  function showRush({ isDev, stock, rush }) {
    show(byId("rush"), isDev);
    if (!isDev) return;
    keyed(product, stock?.products ?? [], (one) => one.productId, (one) => el("option", { value: one.productId }), (node, one) => {
      setText(node, t("rush.option", { name: one.name, n: i18n.number(one.stock) }));
    });
    show(byId("rush-progress"), rush !== null);
    if (rush === null) return;
    const done = (rush.charged + rush.answered) / (2 * rush.buyers);
    const share = rush.isOver ? 1 : done;
    setBar(byId("rush-bar"), share);
    setAttribute(byId("rush-bar"), "aria-valuenow", Math.round(share * 100));
    setAttribute(byId("rush-bar"), "data-level", rush.isOver ? "good" : null);
    setText(byId("rush-state"), stateOf(rush));
  }

  function stateOf(rush) {
    const all = i18n.number(rush.buyers);
    if (!rush.isOver) {
      const isOrdering = rush.answered > 0;
      const n = i18n.number(isOrdering ? rush.answered : rush.charged);
      return t(isOrdering ? "rush.ordering" : "rush.charging", { n, all });
    }
    const over = t("rush.over", {
      accepted: i18n.number(rush.accepted),
      buyers: all,
      span: i18n.ms(rush.seconds * 1000),
      rate: i18n.number(rush.answered / Math.max(rush.seconds, 0.001)),
      p50: i18n.ms(rush.p50Ms),
      p99: i18n.ms(rush.p99Ms),
    });
    const refused = Object.entries(rush.refused).map(([code, n]) => `${codeName(code)} ${i18n.number(n)}`);
    return refused.length > 0 ? `${over} ${t("rush.refused", { reasons: refused.join(", ") })}` : over;
  }

  return { showRush };
}
