-- What is to happen to a tenant later, without anybody asking again.
ALTER TABLE tenants
    -- A deletion that was asked for and waits for its time; none: nobody wants it. Resuming the tenant takes it back.
    ADD COLUMN delete_at       timestamptz,
    -- Its verified domains are not those that are served.
    ADD COLUMN domains_changed boolean NOT NULL DEFAULT false;
-- Neither is written by a transition, so a run's updates of its tenant's row stay out of these.
CREATE INDEX tenants_delete_at ON tenants (delete_at) WHERE delete_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX tenants_domains_changed ON tenants (id) WHERE domains_changed;
CREATE INDEX tenant_licenses_expiring ON tenant_licenses (expires_at) WHERE superseded_by IS NULL;
-- A domain's certificate is named after its number, which stays its own.
ALTER TABLE tenant_domains ADD COLUMN number integer;
UPDATE tenant_domains d SET number = n.nth
FROM (SELECT tenant_id, domain, row_number() OVER (PARTITION BY tenant_id ORDER BY created_at, domain) AS nth
      FROM tenant_domains) n
WHERE n.tenant_id = d.tenant_id AND n.domain = d.domain;
ALTER TABLE tenant_domains ALTER COLUMN number SET NOT NULL;
CREATE UNIQUE INDEX tenant_domains_number ON tenant_domains (tenant_id, number);
-- Those that are verified by now are to be served.
UPDATE tenants t SET domains_changed = true
WHERE t.deployment_strategy = 'container_per_tenant' AND t.deleted_at IS NULL
  AND EXISTS (SELECT FROM tenant_domains d WHERE d.tenant_id = t.id AND d.verified_at IS NOT NULL);
