// The balance, and charging it.

import { newKey } from "./api.js";
import { byId, el, setText } from "./dom.js";

const AMOUNTS = [50_000, 200_000, 1_000_000];

/** Pauses before the gateway is asked again about a charge that it has not answered, in ms. */
const PAUSES = [1_500, 3_000, 6_000, 12_000];

/** What can be charged is a multiple of this, and at most that: the defaults of the settings. */
const UNIT = 100;
const MOST = 1_000_000;

export function createWallet({ api, i18n, say }) {
  const { t } = i18n;
  const result = byId("wallet-result");
  let balance = null;

  for (const amount of AMOUNTS) {
    const button = el("button", { type: "button", "data-testid": `charge-${amount}` });
    button.addEventListener("click", () => chargeAndTell(amount, button));
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

  async function chargeAndTell(amount, button) {
    button.disabled = true;
    try {
      await charge(amount);
    } catch (error) {
      say(result, "bad", () => error.detail || t("trouble"));
    } finally {
      button.disabled = false;
    }
  }

  /** Charges; whether it was credited in the end. While the gateway is silent the same key asks again. */
  async function charge(amount) {
    const key = newKey();
    for (const wait of [...PAUSES, 0]) {
      const answer = await api.send("POST", "api/users/me/balance/charge", { body: { amount }, key });
      if (answer.status === 200) {
        showBalance(answer.body.currentBalance);
        say(result, "good", () => t("wallet.charged", { amount: i18n.money(amount) }));
        return true;
      }
      say(result, "warn", () => t("wallet.pending", { amount: i18n.money(amount) }));
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    }
    return false;
  }

  /** The least that can be charged to have so much more. */
  const enoughFor = (shortfall) => Math.min(Math.ceil(shortfall / UNIT) * UNIT, MOST);

  i18n.onChange(showTexts);
  return { refresh, charge, enoughFor, showBalance };
}
