// The product on stage: its countdown, its live stock, and buying it.

import { byId, el, keyed, setAttribute, setBar, setText, show } from "./dom.js";
import { UNKNOWN } from "./i18n.js";

/** Shares of the stock at which screen readers are told. */
const NEWS = [0, 0.1, 0.25, 0.5];

const QUOTE_PAUSE_MS = 250;

export function createSale({ api, i18n, say, wallet, after }) {
  const { t } = i18n;
  const form = byId("buy-form");
  const quantity = byId("quantity");
  const coupon = byId("use-coupon");
  const result = byId("sale-result");
  const chargeAndBuy = byId("charge-and-buy");

  let product = null;
  let sold = 0;
  /** The shop's clock less this one, in ms. */
  let clockAhead = 0;
  let connection = "live";
  /** What the chosen coupon takes off: `{discountAmount, finalAmount}`, or null. */
  let quote = null;
  let quoteNumber = 0;
  let quoteTimer = null;
  let isBuying = false;
  let told = null;

  const now = () => Date.now() + clockAhead;

  function phase() {
    if (product.saleStartsAt && now() < Date.parse(product.saleStartsAt)) return "upcoming";
    if (product.saleEndsAt && now() >= Date.parse(product.saleEndsAt)) return "over";
    if (product.stock === 0) return "soldOut";
    return "open";
  }

  function choose(chosen) {
    const isOther = product?.productId !== chosen.productId;
    product = { ...chosen };
    if (isOther) {
      quantity.value = "1";
      told = null;
      hideResult();
      setText(byId("restock-result"), "");
      requote();
    }
    showAll();
  }

  function hideResult() {
    say(result, null, null);
    show(chargeAndBuy, false);
  }

  function showAll() {
    if (!product) return;
    setText(byId("sale-name"), product.name);
    setText(byId("sale-price"), i18n.money(product.price));
    setText(byId("limit"), product.limitPerUser ? t("sale.limit", { n: i18n.number(product.limitPerUser) }) : "");
    showStock();
    showTime();
    showTotal();
  }

  function showStock() {
    const all = product.stock + sold;
    const share = all > 0 ? product.stock / all : 0;
    const number = byId("stock-number");
    const text = i18n.number(product.stock);
    if (number.textContent !== text && number.textContent !== UNKNOWN) {
      number.dataset.changed = "false";
      // The animation starts over only when the page has been laid out in between.
      requestAnimationFrame(() => requestAnimationFrame(() => (number.dataset.changed = "true")));
    }
    setText(number, text);
    setText(byId("stock-sold"), sold > 0 ? t("sale.sold", { n: i18n.number(sold) }) : "");
    const bar = byId("stock-bar");
    setBar(bar, share);
    setAttribute(bar, "aria-valuenow", Math.round(share * 100));
    setAttribute(bar, "aria-valuetext", t("sale.leftOf", { n: text }));
    setAttribute(bar, "data-level", share <= 0.1 ? "bad" : share <= 0.3 ? "warn" : null);
    const step = NEWS.find((threshold) => share <= threshold) ?? 1;
    if (told !== null && step < told) {
      setText(byId("stock-news"), product.stock === 0 ? t("sale.soldOut") : t("sale.leftOf", { n: text }));
    }
    told = step;
  }

  function showTime() {
    if (!product) return;
    const state = phase();
    const pill = byId("sale-state");
    setAttribute(pill, "data-level", { open: "good", upcoming: "accent", soldOut: "bad", over: null }[state]);
    const isSale = product.saleStartsAt || product.saleEndsAt;
    setText(pill, t(state === "open" && !isSale ? "sale.state.always" : `sale.state.${state}`));
    const end = state === "upcoming" ? product.saleStartsAt : product.saleEndsAt;
    const counts = Boolean(end) && state !== "over";
    show(byId("countdown-line"), counts);
    if (counts) {
      setText(byId("countdown-label"), t(state === "upcoming" ? "sale.opensIn" : "sale.endsIn"));
      setText(byId("countdown"), clock(Date.parse(end) - now()));
    }
    const buy = byId("buy");
    buy.disabled = isBuying || state !== "open";
    setText(buy, t(isBuying ? "sale.buying" : `sale.buy.${state}`));
    show(byId("restock-form"), state === "soldOut");
  }

  /** Days, if there are any, and hours, minutes and seconds. */
  function clock(ms) {
    const seconds = Math.max(0, Math.ceil(ms / 1000));
    const two = (n) => String(n).padStart(2, "0");
    const time = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(":");
    const days = Math.floor(seconds / 86_400);
    return days > 0 ? `${t("days", { n: days })} ${time}` : time;
  }

  function units() {
    const n = Math.trunc(Number(quantity.value));
    return Number.isFinite(n) && n >= 1 ? n : 1;
  }

  function showTotal() {
    if (!product) return;
    const sum = product.price * units();
    show(byId("discount-line"), quote !== null);
    if (quote) setText(byId("discount"), `− ${i18n.money(quote.discountAmount)}`);
    setText(byId("total"), i18n.money(quote ? quote.finalAmount : sum));
  }

  /** Asks what the coupon takes off, once the buyer has stopped choosing. */
  function requote() {
    quote = null;
    quoteNumber += 1;
    say(byId("coupon-problem"), null, null);
    showTotal();
    clearTimeout(quoteTimer);
    if (!coupon.value || !product) return;
    const mine = quoteNumber;
    const body = { couponIds: [Number(coupon.value)], items: [{ productId: product.productId, quantity: units() }] };
    quoteTimer = setTimeout(async () => {
      try {
        const answer = await api.send("POST", "api/coupons/validate", { body });
        if (mine !== quoteNumber) return;
        quote = answer.body;
        showTotal();
      } catch (error) {
        if (mine === quoteNumber) say(byId("coupon-problem"), "warn", () => error.detail || t("trouble"));
      }
    }, QUOTE_PAUSE_MS);
  }

  /** The coupons that this shopper has in hand. */
  function offerCoupons(held) {
    const before = coupon.value;
    const choices = [{ couponId: "" }, ...held.filter((one) => one.status === "AVAILABLE")];
    keyed(coupon, choices, (one) => one.couponId, (one) => el("option", { value: one.couponId }), (node, one) => {
      setText(node, one.couponId === "" ? t("sale.noCoupon") : (one.name ?? `#${one.couponId}`));
    });
    if (coupon.value !== before) requote();
  }

  async function buy() {
    if (isBuying || !product) return;
    isBuying = true;
    hideResult();
    showTime();
    const body = { items: [{ productId: product.productId, quantity: units() }] };
    if (coupon.value) body.couponIds = [Number(coupon.value)];
    if (byId("pay-how").value === "LATER") body.payment = "LATER";
    // What the buyer sees is what he pays, or the order is refused.
    if (!coupon.value || quote) body.finalAmount = quote ? quote.finalAmount : product.price * units();
    try {
      const { body: order } = await api.send("POST", "api/orders", { body });
      say(result, "good", () => bought(order));
      if (order.remainingBalance !== undefined) wallet.showBalance(order.remainingBalance);
      if (coupon.value) coupon.value = "";
      requote();
      after(order);
    } catch (error) {
      say(result, "bad", () => refused(error));
      offerCharge(error);
      after(null);
    } finally {
      isBuying = false;
      showTime();
    }
  }

  function bought(order) {
    const values = { id: order.orderId, amount: i18n.money(order.finalAmount), left: i18n.money(order.remainingBalance) };
    if (order.status === "CONFIRMED") return t("sale.bought", values);
    return t("sale.reserved", { ...values, time: order.expiresAt ? i18n.time(order.expiresAt) : "" });
  }

  /** The API's own sentence, and what else it knows. */
  function refused(error) {
    const more = error.body ?? {};
    const values = {
      limit: i18n.number(more.limitPerUser),
      bought: i18n.number(more.alreadyBought),
      stock: i18n.number(more.insufficientItems?.[0]?.availableStock),
      shortfall: i18n.money(more.shortfall),
      time: more.opensAt ? i18n.time(more.opensAt) : "",
    };
    const extra = i18n.has(`why.${error.code}`) ? ` ${t(`why.${error.code}`, values)}` : "";
    return (error.detail || t("trouble")) + extra;
  }

  function offerCharge(error) {
    const isShort = error.code === "INSUFFICIENT_BALANCE";
    show(chargeAndBuy, isShort);
    if (isShort) {
      chargeAndBuy.dataset.amount = String(wallet.enoughFor(error.body.shortfall));
      showCharge();
    }
  }

  function showCharge() {
    setText(chargeAndBuy, t("sale.chargeAndBuy", { amount: i18n.money(Number(chargeAndBuy.dataset.amount ?? 0)) }));
  }

  chargeAndBuy.addEventListener("click", async () => {
    chargeAndBuy.disabled = true;
    try {
      if (await wallet.charge(Number(chargeAndBuy.dataset.amount))) await buy();
    } catch (error) {
      say(result, "bad", () => error.detail || t("trouble"));
    } finally {
      chargeAndBuy.disabled = false;
    }
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    buy();
  });

  function step(by) {
    quantity.value = String(Math.min(1000, Math.max(1, units() + by)));
    requote();
  }

  byId("fewer").addEventListener("click", () => step(-1));
  byId("more").addEventListener("click", () => step(1));
  quantity.addEventListener("input", requote);
  coupon.addEventListener("change", requote);

  byId("restock-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const email = byId("restock-email").value;
    try {
      await api.send("POST", `api/products/${product.productId}/restock-notifications`, { body: { email } });
      setText(byId("restock-result"), t("restock.done", { email }));
    } catch (error) {
      setText(byId("restock-result"), error.detail || t("trouble"));
    }
  });

  /** Reads the stock; the shop's clock comes with it. */
  async function refreshStock() {
    if (!product) return;
    const id = product.productId;
    try {
      const { stock, asOf } = await api.getPublic(`api/products/${id}/stock`);
      if (product.productId !== id) return;
      clockAhead = Date.parse(asOf) - Date.now();
      product.stock = stock;
      connection = "live";
      showStock();
      showTime();
    } catch (error) {
      connection = "lost";
      throw error;
    } finally {
      showConnection();
    }
  }

  function showConnection() {
    const state = document.hidden ? "paused" : connection;
    setAttribute(byId("stock-live"), "data-level", { live: "good", paused: "warn", lost: "bad" }[state]);
    setText(byId("stock-live"), t(`sale.stock.${state}`));
    document.title = state === "paused" ? `⏸ ${t("title")}` : t("title");
  }

  function setSold(units) {
    sold = units;
    if (product) showStock();
  }

  document.addEventListener("visibilitychange", showConnection);
  setInterval(showTime, 250);
  i18n.onChange(() => {
    showAll();
    showConnection();
    showCharge();
  });

  return {
    choose,
    offerCoupons,
    refreshStock,
    setSold,
    get productId() {
      return product?.productId;
    },
  };
}
