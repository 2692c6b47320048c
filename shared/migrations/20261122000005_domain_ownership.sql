-- A domain is claimed by one tenant, who shows with a record in it that it is theirs. The challenge is no secret: it stands in
-- the DNS. Claims of deleted tenants, and claims that were never shown to be true, are taken away by the next claim.
ALTER TABLE tenant_domains
    ADD COLUMN challenge text NOT NULL DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
CREATE UNIQUE INDEX tenant_domains_domain ON tenant_domains (domain);
