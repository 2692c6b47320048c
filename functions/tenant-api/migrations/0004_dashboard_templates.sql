-- Dashboards a user can start from.
CREATE TABLE dashboard_templates (
    tenant_id   uuid        NOT NULL,
    slug        text        NOT NULL CHECK (slug <> ''),
    title       text        NOT NULL,
    description text        NOT NULL DEFAULT '',
    layout      jsonb       NOT NULL,
    created_by  uuid,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, slug),
    FOREIGN KEY (tenant_id, created_by) REFERENCES users (tenant_id, id)
);
