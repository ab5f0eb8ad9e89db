//! Ops about balances.

use serde::Serialize;

use super::Verdict;

/// Arguments of `charge_balance`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChargeBalance {
    /// Minor units as the caller gave them; the engine judges them.
    pub amount: i64,
}

/// Arguments of `open_charge`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenCharge {
    /// Minor units as the caller gave them; the engine judges them.
    pub amount: i64,
    /// Which card or account the gateway is to charge, as the user named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// Arguments of `settle_charge`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettleCharge {
    /// Sequence number of the event that opened it.
    pub charge: u64,
    /// What the gateway said: approved or declined.
    pub verdict: Verdict,
}
