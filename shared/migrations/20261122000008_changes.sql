-- A change of a living tenant: a run whose phases hold a new plan, and the plan of before when it is undone.
ALTER TABLE provisioning_runs DROP CONSTRAINT provisioning_runs_kind_check;
ALTER TABLE provisioning_runs
    ADD CONSTRAINT provisioning_runs_kind_check CHECK (kind IN ('provision', 'deprovision', 'change')),
    -- What is to be so afterwards. The tenant's row says it once the run has succeeded.
    ADD COLUMN change jsonb,
    -- Why a change was undone. The tenant itself has no error: it is as it was.
    ADD COLUMN error jsonb;
ALTER TABLE provisioning_phases
    ADD COLUMN before_plan       jsonb,
    ADD COLUMN before_checkpoint jsonb;
-- What was chosen for the tenant's own tenant-api instead of what the platform says.
ALTER TABLE tenants ADD COLUMN container jsonb NOT NULL DEFAULT '{}';
