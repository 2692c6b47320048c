use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::phase::Kind;

/// A hold that ends without anybody being told.
#[derive(Default)]
struct Ending(AtomicBool);

#[async_trait]
impl Fence for Ending {
    async fn record(&self, _: &[Operation]) -> std::result::Result<(), Interrupt> {
        Ok(())
    }

    fn is_held(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

fn step(fence: Arc<Ending>) -> Step {
    let (tenant_id, run_id) = (TenantId::generate(), RunId::generate());
    Step::new(StepParts {
        owner: Owner { tenant_id, slug: "acme".parse().unwrap(), run_id, epoch: 1, scope: Scope::Run },
        phase: PhaseName::new("A_PHASE"),
        backward: false,
        failures: 0,
        waits: 0,
        waited: Duration::ZERO,
        fence,
        cancel: CancellationToken::new(),
    })
}

/// A worker that was stopped past its lease, in the middle of an effect or of the record before it.
#[tokio::test]
async fn an_effect_goes_no_further_once_its_hold_has_ended() {
    for before in [false, true] {
        let fence = Arc::new(Ending(before.into()));
        let touched = AtomicBool::new(false);
        let effect = async {
            if before {
                touched.store(true, Ordering::Relaxed);
            }
            fence.0.store(true, Ordering::Relaxed);
            tokio::task::yield_now().await;
            touched.store(true, Ordering::Relaxed);
            Ok(())
        };
        let error = step(fence.clone()).operation("effect", effect).await.unwrap_err();
        assert_eq!(error.kind, Kind::Interrupted(Interrupt::Fenced));
        assert!(!touched.load(Ordering::Relaxed), "before: {before}");
    }
}
