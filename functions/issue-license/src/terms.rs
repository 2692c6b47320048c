//! What the licence will say, and when it is too near its end.

use chrono::{DateTime, Utc};
use license::Terms;

use crate::Plan;

impl Plan {
    pub(crate) fn terms(&self) -> Terms {
        Terms { plan: self.plan, limits: self.limits, suspended: self.suspended }
    }

    pub(crate) fn ends_soon(&self, expires_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        (expires_at - now).as_seconds_f64() <= self.renew_before.0
    }
}
