//! Events of balances.

use serde::{Deserialize, Serialize};

use crate::engine::user::UserId;

/// `balance_charged` 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BalanceCharged {
    /// Sequence number.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Whose balance.
    pub user: UserId,
    /// What was credited.
    pub amount: u64,
    /// The balance before.
    pub previous: u64,
    /// The balance afterwards.
    pub balance: u64,
    /// The used total, unchanged.
    pub used: u64,
}

/// `charge_opened` 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChargeOpened {
    /// Sequence number; with the cell the charge's id.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Whose balance.
    pub user: UserId,
    /// What is to be credited.
    pub amount: u64,
    /// Which card or account the gateway is to charge, as the user named it.
    pub method: Option<String>,
}

/// `charge_settled` 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChargeSettled {
    /// Sequence number; with the cell the id of the transaction, when there is one.
    pub seq: u64,
    /// When Redis decided.
    pub at: i64,
    /// Whose balance.
    pub user: UserId,
    /// Sequence number of the event that opened it.
    pub charge: u64,
    /// How it ended.
    pub status: ChargeStatus,
    /// What was to be credited.
    pub amount: u64,
    /// The balance before.
    pub previous: u64,
    /// The balance afterwards.
    pub balance: u64,
    /// The used total, unchanged.
    pub used: u64,
}

/// How a charge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ChargeStatus {
    /// The balance was credited.
    Completed,
    /// The gateway declined.
    Failed,
}

impl ChargeStatus {
    /// As the log and PostgreSQL spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}
