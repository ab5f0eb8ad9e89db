// The balance, and charging it.

import { Unanswered } from "./api.js";
import { byId, el, setText } from "./dom.js";

const AMOUNTS = [50_000, 200_000, 1_000_000];

/** Pauses before the gateway is asked again about a charge that it has not answered, in ms. */
const PAUSES = [1_500, 3_000, 6_000, 12_000];

/** What can be charged is a multiple of this, and at most that: the defaults of the settings. */
const UNIT = 100;
const MOST = 1_000_000;

export function createWallet({ api, i18n, say, attempt }) {
  const { t } = i18n;
  const result = byId("wallet-result");
  let balance = null;

  for (const amount of AMOUNTS) {
    const button = el("button", { type: "button", "data-testid": `charge-${amount}` });
    button.addEventListener("click", () => charge(amount, button));
    byId("charges").append(button);
  }

  function showTexts() {
    [...byId("charges").children].forEach((button, i) => setText(button, `+ ${i18n.money(AMOUNTS[i])}`));
    setText(byId("balance"), i18n.money(balance));
  }

  function showBalance(amount) {
    balance = amount;
    setText(byId("balance"), i18n.money(balance));
  }

  async function refresh() {
    showBalance((await api.get("api/users/me/balance")).balance);
  }

  async function charge(amount, button) {
    button.disabled = true;
    const tell = () => say(result, "good", () => t("wallet.charged", { amount: i18n.money(amount) }));
    await attempt(result, charging(amount, result, tell)).finally(() => {
      button.disabled = false;
    });
  }

  /** Charging, as a task that says how it goes in a notice; `then` comes once it is credited. */
  function charging(amount, node, then) {
    const values = { amount: i18n.money(amount) };
    return {
      work: (key) => credit(amount, key, node),
      unknown: "ask.charged",
      values,
      done: () => then(),
      // An answer that was lost came with the balance of that moment.
      after: () => refresh().catch(() => {}),
    };
  }

  /** Charges. While the gateway is silent the same key asks again. */
  async function credit(amount, key, node) {
    const who = api.session;
    for (const wait of [...PAUSES, 0]) {
      const { status, body } = await api.send("POST", "api/users/me/balance/charge", { body: { amount }, key });
      if (api.session !== who) return;
      if (status === 200) {
        showBalance(body.currentBalance);
        return;
      }
      say(node, "warn", () => t("wallet.pending", { amount: i18n.money(amount) }));
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      if (api.session !== who) return;
    }
    throw new Unanswered("wallet.silent");
  }

  /** A button for whoever has too little: it charges what is missing, says so in the same notice, and goes on. */
  function offer(error, { node, name, text, then }) {
    if (error.code !== "INSUFFICIENT_BALANCE") return null;
    const amount = enoughFor(error.body.shortfall);
    return {
      name,
      text: () => t(text, { amount: i18n.money(amount) }),
      work: () => attempt(node, charging(amount, node, then)),
    };
  }

  /** The least that can be charged to have so much more. */
  const enoughFor = (shortfall) => Math.min(Math.ceil(shortfall / UNIT) * UNIT, MOST);

  /** Another shopper has another balance. */
  const forget = () => showBalance(null);

  i18n.onChange(showTexts);
  return { refresh, offer, showBalance, forget };
}
