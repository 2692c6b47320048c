-- Where a tenant's own compute is. A tenant of the pooled tenant-api has no row.
CREATE TABLE tenant_deployments (
    tenant_id      uuid PRIMARY KEY REFERENCES tenants (id),
    -- The Deployment's uid: another Deployment of the same name has another.
    container_id   text NOT NULL,
    namespace      text NOT NULL,
    name           text NOT NULL,
    -- How the control plane reaches it, and how the tenant does.
    endpoint       text NOT NULL,
    url            text NOT NULL,
    image          text NOT NULL,
    size           text NOT NULL,
    resources      jsonb NOT NULL,
    replicas       integer NOT NULL,
    created_by_run uuid NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);
