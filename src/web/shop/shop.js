// A shop to play a sale in. Every window is a shopper of its own.

import { createApi } from "./api.js";
import { createCart } from "./cart.js";
import { createCoupons } from "./coupons.js";
import { byId, setAttribute, setText, show } from "./dom.js";
import { createI18n } from "./i18n.js";
import { messages } from "./messages.js";
import { createOrders } from "./orders.js";
import { createSale } from "./sale.js";
import { createShelf } from "./shelf.js";
import { createWallet } from "./wallet.js";

const i18n = createI18n(messages);
const api = createApi(i18n);

/** Sentences that are shown, to be said again in the other language. */
const said = new Map();

/** Shows a sentence in a notice; null takes it away. The API's own sentences stay in the language they came in. */
function say(node, level, sentence) {
  if (sentence === null) said.delete(node);
  else said.set(node, sentence);
  setAttribute(node, "data-level", level);
  const text = sentence === null ? "" : sentence();
  setText(node.querySelector("p") ?? node, text);
  show(node, text !== "");
}

i18n.onChange(() => {
  for (const [node, sentence] of said) setText(node.querySelector("p") ?? node, sentence());
});

const wallet = createWallet({ api, i18n, say });
const sale = createSale({ api, i18n, say, wallet, after: afterOrder });
const coupons = createCoupons({ api, i18n, say, onHeld: sale.offerCoupons });
const cart = createCart({ api, i18n, say, wallet, after: afterOrder });
const orders = createOrders({ api, i18n, say, wallet, after: refreshMine });
const shelf = createShelf({ i18n, choose: putOnStage, addToCart: cart.add });

let products = [];

function afterOrder(order) {
  if (order) orders.note(order);
  refreshMine();
}

/** All that is the shopper's own. */
function refreshMine() {
  return settle([wallet.refresh(), coupons.refresh(), cart.refresh(), orders.refresh(), refreshProducts()]);
}

/** Waits for all; says so when the shop does not answer. */
async function settle(all) {
  const outcomes = await Promise.allSettled(all);
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  say(byId("trouble"), "bad", failed ? () => failed.reason?.detail || i18n.t("trouble") : null);
}

async function refreshProducts() {
  const [{ products: all }, { products: ranked }] = await Promise.all([
    api.getPublic("api/products?limit=100"),
    api.getPublic("api/products/popular?days=3&limit=100"),
  ]);
  products = all;
  const onStage = products.find((product) => product.productId === sale.productId) ?? hottest();
  if (onStage) {
    sale.setSold(ranked.find((product) => product.productId === onStage.productId)?.soldQuantity ?? 0);
    sale.choose(onStage);
  }
  shelf.showProducts(products.filter((product) => product !== onStage));
}

/** What is in its sale now, else what comes next, else what few may have. */
function hottest() {
  const now = Date.now();
  const starts = (product) => (product.saleStartsAt ? Date.parse(product.saleStartsAt) : 0);
  const isOpen = (product) => (product.saleStartsAt || product.saleEndsAt) && starts(product) <= now && !(Date.parse(product.saleEndsAt) <= now);
  const upcoming = products.filter((product) => starts(product) > now).sort((a, b) => starts(a) - starts(b));
  return products.find(isOpen) ?? upcoming[0] ?? products.find((product) => product.limitPerUser) ?? products[0];
}

function putOnStage(product) {
  sale.choose(product);
  sale.setSold(0);
  byId("sale-name").focus();
  byId("sale").scrollIntoView({ block: "start" });
  settle([refreshProducts()]);
}

/** Works again and again while somebody can see it. */
function every(ms, work) {
  let isBusy = false;
  const tick = async () => {
    if (document.hidden || isBusy) return;
    isBusy = true;
    try {
      await work();
    } catch {
      // The next time may be better; the page shows that it is not live.
    } finally {
      isBusy = false;
    }
  };
  setInterval(tick, ms);
  document.addEventListener("visibilitychange", tick);
}

function showShopper() {
  setText(byId("shopper"), api.session.userId);
  const { liveUrl } = api.session;
  show(byId("live-link"), Boolean(liveUrl));
  if (liveUrl) setAttribute(byId("live-link"), "href", liveUrl);
}

byId("new-shopper").addEventListener("click", async () => {
  await settle([api.becomeNew()]);
  showShopper();
  orders.forget();
  for (const id of ["sale-result", "wallet-result", "coupons-result", "cart-result"]) say(byId(id), null, null);
  await refreshMine();
});

async function start() {
  i18n.start();
  try {
    await api.start();
  } catch (error) {
    say(byId("trouble"), "bad", () => error.detail || i18n.t("trouble"));
    setTimeout(start, 3_000);
    return;
  }
  showShopper();
  await refreshMine();
  every(1_000, sale.refreshStock);
  every(3_000, () => settle([refreshProducts()]));
  every(5_000, coupons.refresh);
  let round = 0;
  every(2_000, async () => {
    round += 1;
    if (orders.isWaiting() || round % 5 === 0) await Promise.all([orders.refresh(), wallet.refresh()]);
  });
}

start();
