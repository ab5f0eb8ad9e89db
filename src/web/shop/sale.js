// The product on stage: its countdown, its live stock, and buying it.

import { byId, el, keyed, setAttribute, setBar, setText, show } from "./dom.js";
import { UNKNOWN } from "./i18n.js";

/** Shares of the stock at which screen readers are told. */
const NEWS = [0, 0.1, 0.25, 0.5];

const QUOTE_PAUSE_MS = 250;

/** Most units of an order: the default of the setting. */
const MOST = 1_000;

export function createSale({ api, i18n, say, attempt, wallet, after, toOrders }) {
  const { t } = i18n;
  const form = byId("buy-form");
  const quantity = byId("quantity");
  const coupon = byId("use-coupon");
  const result = byId("sale-result");
  const payHow = byId("pay-how");
  const hint = byId("quantity-hint");

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

  /** Where a product stands in its sale. */
  function phaseOf(product) {
    if (product.saleStartsAt && now() < Date.parse(product.saleStartsAt)) return "upcoming";
    if (product.saleEndsAt && now() >= Date.parse(product.saleEndsAt)) return "over";
    if (product.stock === 0) return "soldOut";
    return "open";
  }

  function choose(chosen) {
    const isOther = product?.productId !== chosen.productId;
    product = { ...chosen };
    setAttribute(byId("sale"), "aria-busy", null);
    if (isOther) {
      quantity.value = "1";
      told = null;
      say(result, null, null);
      say(hint, null, null);
      say(byId("restock-result"), null, null);
      requote();
    }
    showAll();
  }

  function showAll() {
    if (!product) return;
    setText(byId("sale-name"), product.name);
    setText(byId("sale-price"), i18n.money(product.price));
    setText(byId("limit"), product.limitPerUser ? t("sale.limit", { n: i18n.number(product.limitPerUser) }) : "");
    setAttribute(quantity, "max", most());
    // The limit may have changed; whoever is just typing is told when he is done.
    if (document.activeElement !== quantity && Number(quantity.value) > most()) setUnits(most());
    showSteps();
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
    const state = phaseOf(product);
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
    const open = isLater() ? "later" : "open";
    buy.disabled = isBuying || state !== "open";
    setText(buy, t(isBuying ? `sale.buying.${open}` : `sale.buy.${state === "open" ? open : state}`));
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

  const isLater = () => payHow.value === "LATER";

  const most = () => Math.min(product?.limitPerUser ?? MOST, MOST);

  /** As many as can be bought of what stands in the field. */
  function units() {
    const n = Math.trunc(Number(quantity.value));
    return Number.isFinite(n) ? Math.min(Math.max(n, 1), most()) : 1;
  }

  /** Has the field show what will be bought, and says why that is not what was asked for. */
  function setUnits(wanted) {
    quantity.value = String(wanted);
    const n = units();
    quantity.value = String(n);
    const why = product?.limitPerUser === most() ? "sale.mostEach" : "sale.most";
    if (wanted > n) say(hint, null, () => t(why, { n: i18n.number(most()) }));
    else if (wanted < n) say(hint, null, () => t("sale.least"));
    else say(hint, null, null);
    showSteps();
    changed();
  }

  function showSteps() {
    setAttribute(byId("fewer"), "aria-disabled", units() <= 1 ? "true" : null);
    setAttribute(byId("more"), "aria-disabled", units() >= most() ? "true" : null);
  }

  function showTotal() {
    setText(byId("total-label"), t(isLater() ? "sale.totalLater" : "sale.total"));
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

  function buy() {
    if (isBuying || !product) return;
    const body = { items: [{ productId: product.productId, quantity: units() }] };
    if (coupon.value) body.couponIds = [Number(coupon.value)];
    if (isLater()) body.payment = "LATER";
    // What the buyer sees is what he pays, or the order is refused.
    if (!coupon.value || quote) body.finalAmount = quote ? quote.finalAmount : product.price * units();
    let made = null;
    attempt(result, {
      work: (key) => whileBuying(() => api.send("POST", "api/orders", { body, key })),
      unknown: isLater() ? "ask.reserved" : "ask.bought",
      done: (answer) => {
        made = answer.body;
        const isPaid = made.status === "CONFIRMED";
        const sentence = () => t(isPaid ? "sale.bought" : "sale.reserved", valuesOf(made));
        say(result, "good", sentence, { about: made, help: isPaid ? null : ordersHelp });
        if (made.remainingBalance !== undefined) wallet.showBalance(made.remainingBalance);
        if (body.couponIds) coupon.value = "";
        requote();
      },
      offer: (error) => wallet.offer(error, { node: result, name: "charge-and-buy", text: "sale.chargeAndBuy", then: buy }),
      after: () => after(made),
    });
  }

  async function whileBuying(work) {
    isBuying = true;
    showTime();
    try {
      return await work();
    } finally {
      isBuying = false;
      showTime();
    }
  }

  const ordersHelp = { name: "to-orders", text: () => t("sale.toOrders"), work: toOrders, isQuiet: true };

  const valuesOf = (order) => ({
    id: order.orderId,
    amount: i18n.money(order.finalAmount),
    left: i18n.money(order.remainingBalance),
    time: order.expiresAt ? i18n.time(order.expiresAt) : "",
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    buy();
  });

  /** The buyer chooses something else: what was said is about something old. */
  function changed() {
    say(result, null, null);
    requote();
  }

  byId("fewer").addEventListener("click", () => setUnits(units() - 1));
  byId("more").addEventListener("click", () => setUnits(units() + 1));
  quantity.addEventListener("input", changed);
  quantity.addEventListener("change", () => setUnits(Math.trunc(Number(quantity.value))));
  coupon.addEventListener("change", changed);
  payHow.addEventListener("change", () => {
    say(result, null, null);
    showTime();
    showTotal();
  });

  byId("restock-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const email = byId("restock-email").value;
    const path = `api/products/${product.productId}/restock-notifications`;
    attempt(byId("restock-result"), {
      work: (key) => api.send("POST", path, { body: { email }, key }),
      unknown: "ask.restock",
      done: () => say(byId("restock-result"), "good", () => t("restock.done", { email })),
    });
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

  /** Another shopper begins anew. */
  function forget() {
    quantity.value = "1";
    payHow.value = "BALANCE";
    byId("restock-email").value = "";
    offerCoupons([]);
    showSteps();
    showTime();
    requote();
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
  });

  return {
    choose,
    phaseOf,
    forget,
    offerCoupons,
    refreshStock,
    setSold,
    get productId() {
      return product?.productId;
    },
  };
}
