//! How long phases typically take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::store::{StoreResult, Typical};
use tenants::Store;
use tokio::sync::Mutex;

/// How long medians over a hundred runs are good for; reading them for each of many pollers would cost far more.
const FRESH: Duration = Duration::from_mins(1);

/// What has been read of it, and when.
type Read = Option<(Instant, Arc<Vec<Typical>>)>;

/// How long phases typically take, read at most once a minute.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Read>>);

impl History {
    /// What is known of it now.
    pub async fn typical(&self, store: &Store) -> StoreResult<Arc<Vec<Typical>>> {
        let mut known = self.0.lock().await;
        if let Some((at, typical)) = known.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(typical.clone());
        }
        let typical = Arc::new(store.typical().await?);
        *known = Some((Instant::now(), typical.clone()));
        Ok(typical)
    }
}
