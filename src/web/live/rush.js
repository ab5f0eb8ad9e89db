// The rush of made-up buyers, and stock to have another: there in `flashsale dev` only.

import { byId, el, keyed, setAttribute, setBar, setText, show } from "./dom.js";

/** Units that the button puts back. */
const UNITS = 100;

/** How much of the bar is for charging: it is soon over, and only makes ready. */
const CHARGING = 0.1;

export function createRush(i18n, codeName) {
  const { t } = i18n;
  const form = byId("rush-form");
  const product = byId("rush-product");
  const message = byId("rush-message");
  const start = byId("rush-start");
  const restock = byId("rush-restock");

  /** The last snapshot's. */
  let latest = null;
  let products = [];

  /** What the message says, `{level, text, isPast}`: `text` makes it anew in another language, `isPast` knows when it is none any more. */
  let said = null;

  function say(level, text, isPast = () => false) {
    said = { level, text, isPast };
    showMessage();
  }

  function hush() {
    said = null;
    showMessage();
  }

  function showMessage() {
    setAttribute(message, "data-level", said?.level);
    setText(message, said?.text() ?? "");
    show(message, said !== null);
  }

  /** When the rush is over that is under way now, or about to be. */
  function untilOver() {
    const before = latest?.isOver ? latest.startedAt : null;
    return (rush) => rush !== null && rush.isOver && rush.startedAt !== before;
  }

  /** When the process that does not answer is back. */
  function untilBack() {
    let wasAway = false;
    return (_, isOld) => {
      wasAway ||= isOld;
      return wasAway && !isOld;
    };
  }

  /** Asks for something; `onDone` gets the answer when it was done. */
  async function ask(button, address, body, onDone) {
    // What the message says is about something else.
    hush();
    button.disabled = true;
    try {
      const response = await fetch(address, {
        method: "POST",
        headers: { "Content-Type": "application/json", "Accept-Language": i18n.language },
        body: JSON.stringify(body),
      });
      if (response.ok) onDone(await response.json());
      else await sayRefusal(response);
    } catch {
      say("bad", () => t("rush.noAnswer"), untilBack());
    } finally {
      button.disabled = false;
    }
  }

  async function sayRefusal(response) {
    if (response.status === 409) {
      say("warn", () => t("rush.busy"), untilOver());
      return;
    }
    const { code, detail } = await response.json().catch(() => ({}));
    if (code === "INVALID_INPUT" && response.url.endsWith("/rush")) say("warn", () => t("rush.bad"));
    else if (i18n.has(`code.${code}`)) say("warn", () => t("rush.because", { reason: codeName(code) }));
    else say("warn", () => (detail ? t("rush.because", { reason: detail }) : t("rush.failed")));
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const body = {
      buyers: Number(byId("rush-buyers").value),
      productId: Number(product.value),
      seconds: Number(byId("rush-seconds").value),
    };
    ask(start, "live/rush", body, () => {
      say("good", () => t("rush.started", { n: i18n.number(body.buyers) }), untilOver());
    });
  });

  restock.addEventListener("click", () => {
    const body = { productId: Number(product.value), units: UNITS };
    const name = products.find((one) => one.productId === body.productId)?.name ?? "";
    ask(restock, "live/restock", body, ({ stock }) => {
      say("good", () => t("rush.restocked", { name, units: i18n.number(UNITS), n: i18n.number(stock) }));
    });
  });

  /** Shows how far a rush is, and what can be rushed for. */
  function showRush({ isDev, stock, rush }, isOld) {
    show(byId("rush"), isDev);
    if (!isDev) return;
    latest = rush;
    products = stock?.products ?? [];
    if (said?.isPast(rush, isOld)) hush();
    keyed(product, products, (one) => one.productId, (one) => el("option", { value: one.productId }), (node, one) => {
      const key = one.stock > 0 ? "rush.option" : "rush.optionSoldOut";
      setText(node, t(key, { name: one.name, n: i18n.number(one.stock) }));
    });
    show(byId("rush-progress"), rush !== null);
    if (rush === null) return;
    const share = rush.isOver ? 1 : (CHARGING * rush.charged + (1 - CHARGING) * rush.answered) / rush.buyers;
    setBar(byId("rush-bar"), share);
    setAttribute(byId("rush-bar"), "aria-valuenow", Math.round(share * 100));
    setAttribute(byId("rush-bar"), "data-level", rush.isOver ? "good" : null);
    setText(byId("rush-state"), stateOf(rush));
    showCounts(rush);
  }

  /** The numbers of a rush under way: apart from what is read out, as they change every second. */
  function showCounts(rush) {
    show(byId("rush-counts"), !rush.isOver);
    const of = (n) => t("rush.of", { n: i18n.number(n), all: i18n.number(rush.buyers) });
    setText(byId("rush-answered"), of(rush.answered));
    setText(byId("rush-accepted"), i18n.number(rush.accepted));
    setText(byId("rush-refused"), i18n.number(rush.answered - rush.accepted));
  }

  function stateOf(rush) {
    if (!rush.isOver) return t(rush.answered > 0 || rush.charged === rush.buyers ? "rush.ordering" : "rush.charging");
    const over = t("rush.over", {
      accepted: i18n.number(rush.accepted),
      buyers: i18n.number(rush.buyers),
      span: i18n.ms(rush.seconds * 1000),
      rate: i18n.number(rush.answered / Math.max(rush.seconds, 0.001)),
      p50: i18n.ms(rush.p50Ms),
      p99: i18n.ms(rush.p99Ms),
    });
    const refused = Object.entries(rush.refused).map(([code, n]) => `${codeName(code)} ${i18n.number(n)}`);
    return refused.length > 0 ? `${over} ${t("rush.refused", { reasons: refused.join(", ") })}` : over;
  }

  i18n.onChange(() => {
    setText(restock, t("rush.restock", { n: i18n.number(UNITS) }));
    showMessage();
  });

  return { showRush };
}
