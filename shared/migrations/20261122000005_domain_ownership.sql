-- A domain is claimed by one tenant, who shows with a record in it that it is theirs. The challenge is no secret: it stands in
-- the DNS. Claims of deleted tenants, and claims that were never shown to be true, are taken away by the next claim.
ALTER TABLE tenant_domains
    ADD COLUMN challenge text NOT NULL DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
-- Until now several could name the same one: the first of the living keeps it.
DELETE FROM tenant_domains d USING tenants t WHERE t.id = d.tenant_id AND t.deleted_at IS NOT NULL;
DELETE FROM tenant_domains d USING tenant_domains first
WHERE first.domain = d.domain AND (first.created_at, first.tenant_id) < (d.created_at, d.tenant_id);
CREATE UNIQUE INDEX tenant_domains_domain ON tenant_domains (domain);
