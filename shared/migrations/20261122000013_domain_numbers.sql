-- The number of a tenant's newest domain, which only grows: the number of one that was given up is never another's. A column
-- of the tenant's row, because claiming a domain writes that row anyway, and happens seldom.
ALTER TABLE tenants ADD COLUMN domain_number integer NOT NULL DEFAULT 0;
-- Those that were given up are in the changes that served them.
UPDATE tenants t SET domain_number = n.number
FROM (SELECT tenant_id, max(number) AS number
      FROM (SELECT tenant_id, number FROM tenant_domains
            UNION ALL
            SELECT r.tenant_id, (d.served->>'number')::integer
            FROM provisioning_runs r CROSS JOIN LATERAL jsonb_array_elements(r.change->'domains') AS d (served)
            WHERE jsonb_typeof(r.change->'domains') = 'array') given
      GROUP BY tenant_id) n
WHERE n.tenant_id = t.id;
-- A change of domains that failed was forgotten; what it was to do is still to be done.
UPDATE tenants t SET domains_changed = true
WHERE t.deleted_at IS NULL
  AND (SELECT r.status IN ('failed', 'abandoned') FROM provisioning_runs r
       WHERE r.tenant_id = t.id AND r.change ? 'domains' ORDER BY r.created_at DESC LIMIT 1);
