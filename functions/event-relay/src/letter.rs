//! What people are told, as text and as HTML. Both are made of the same blocks, so that a value is escaped in one place.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use engine::phase::ErrorRecord;
use engine::store::{Outgoing, Sink};
use serde::Deserialize;

/// A letter before it is a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// The tenant's administrator, whoever it is sent to.
    pub(crate) admin_email: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// The payload of a row that becomes a letter.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    slug: String,
    name: String,
    /// Of letters about a run.
    #[serde(default)]
    tier: String,
    region: String,
    admin_email: String,
    error: Option<ErrorRecord>,
    /// Of letters about a run that waits for an operator.
    #[serde(flatten)]
    halted: Option<Halted>,
}

/// Where a run waits for an operator, and what they may do.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Halted {
    situation: String,
    phase: String,
    seq: i64,
    allowed_actions: Vec<String>,
}

/// A part of a letter. All values are plain text.
enum Block {
    Paragraph(String),
    /// Name and value, a line each.
    Facts(Vec<(&'static str, String)>),
    /// What is there and its address, a line each.
    Links(Vec<(&'static str, String)>),
}

/// The letter of a row. An error says what the row lacks.
pub(crate) fn letter(sink: Sink, row: &Outgoing, domain: &str) -> Result<Letter, String> {
    let told = told(row)?;
    let name = plain(&told.name);
    let (subject, blocks) = match (sink, row.kind.as_str()) {
        (Sink::Email, "tenant.provisioned") => ready(&told, &name, domain),
        (Sink::Email, "tenant.provisioning_failed") => not_ready(&told, &name, row),
        (Sink::Operators, "tenant.provisioning_failed") => failed(&told, &name, row, "Provisioning"),
        (Sink::Operators, "tenant.deprovisioning_failed") => failed(&told, &name, row, "Deprovisioning"),
        (Sink::Operators, "tenant.run_waiting") => {
            let halted = told.halted.as_ref().ok_or("the payload does not say where the run waits")?;
            waiting(&told, &name, row, halted)
        }
        // It was taken back, or abandoned: either way the tenant lives on, and its administrator has nothing to do.
        (Sink::Operators, "tenant.change_failed") => failed(&told, &name, row, "A change"),
        (sink, kind) => return Err(format!("no letter to {sink} exists for {kind}")),
    };
    let (text, html) = (text(&blocks), html(&subject, &blocks));
    Ok(Letter { admin_email: told.admin_email, subject, text, html })
}

fn told(row: &Outgoing) -> Result<Told, String> {
    serde_json::from_value(row.payload.clone())
        .map_err(|error| format!("the payload of {} does not make a letter: {error}", row.kind))
}

fn ready(told: &Told, name: &str, domain: &str) -> (String, Vec<Block>) {
    let host = format!("{}.{domain}", told.slug);
    let blocks = vec![
        Block::Paragraph("Hello,".into()),
        Block::Paragraph(format!("{name} ({}) is set up and ready to use.", told.slug)),
        Block::Links(vec![
            ("Your address", format!("https://{host}")),
            ("Business intelligence", format!("https://bi.{host}")),
        ]),
        Block::Facts(vec![("Plan", told.tier.clone()), ("Region", told.region.clone())]),
    ];
    (format!("{name} is ready"), blocks)
}

/// The letter of an invitation. Whoever reads it can come in: it is made when it is sent, and kept nowhere.
pub(crate) fn invitation(row: &Outgoing, link: &str, expires_at: DateTime<Utc>) -> Result<Letter, String> {
    let told = told(row)?;
    let name = plain(&told.name);
    let until = expires_at.format("%-d %B %Y, %H:%M UTC");
    let blocks = [
        Block::Paragraph("Hello,".into()),
        Block::Paragraph(format!("You are the administrator of {name} ({}).", told.slug)),
        Block::Paragraph(format!(
            "Use this link to choose your password. It works once and expires on {until}."
        )),
        Block::Links(vec![("Your invitation", link.to_owned())]),
        Block::Paragraph(
            "Anyone with this link can use it, so do not share it. Earlier links no longer work.".into(),
        ),
    ];
    let subject = format!("Your invitation to {name}");
    let (text, html) = (text(&blocks), html(&subject, &blocks));
    Ok(Letter { admin_email: told.admin_email, subject, text, html })
}

/// The cause is the operators' to read: it names parts of the platform.
fn not_ready(told: &Told, name: &str, row: &Outgoing) -> (String, Vec<Block>) {
    let blocks = vec![
        Block::Paragraph("Hello,".into()),
        Block::Paragraph(format!("{name} ({}) could not be set up.", told.slug)),
        Block::Paragraph(
            "No action is needed. Our operators have been notified and are looking into it.".into(),
        ),
        Block::Facts(vec![("Reference number for support", row.tenant_id.to_string())]),
    ];
    (format!("{name} could not be set up"), blocks)
}

fn failed(told: &Told, name: &str, row: &Outgoing, what: &str) -> (String, Vec<Block>) {
    let (code, cause) = cause(told);
    let blocks = vec![
        Block::Paragraph(format!("{what} of {name} ({}) has failed.", told.slug)),
        cause,
        Block::Facts(particulars(told, row)),
    ];
    let what = what.to_lowercase();
    (format!("{} ({name}): {what} has failed: {code}", told.slug), blocks)
}

/// Nothing goes on by itself here: whoever reads it is the one that is waited for.
fn waiting(told: &Told, name: &str, row: &Outgoing, halted: &Halted) -> (String, Vec<Block>) {
    let (code, cause) = cause(told);
    let mut facts = particulars(told, row);
    let tenant = format!("/api/v1/tenants/{}", row.tenant_id);
    let verb = format!("POST {tenant}/provisioning/<verb> {{\"seq\": {}, \"reason\": \"…\"}}", halted.seq);
    facts.push(("Verbs", format!("{verb}; for delete, DELETE {tenant}")));
    let blocks = vec![
        Block::Paragraph(format!(
            "{name} ({}) is {}, at {}. It is waiting for an operator and will not continue on its own.",
            told.slug, halted.situation, halted.phase
        )),
        cause,
        Block::Facts(vec![("Allowed verbs", halted.allowed_actions.join(", "))]),
        Block::Facts(facts),
    ];
    (format!("{} ({name}): {}: {code}", told.slug, halted.situation), blocks)
}

/// The error's code, for a subject, and what operators read of it.
fn cause(told: &Told) -> (String, Block) {
    let unknown = ErrorRecord {
        code: "unknown".into(),
        message: "no cause was recorded".into(),
        next_action: "See the tenant's audit log.".into(),
        kind: String::new(),
    };
    let error = told.error.as_ref().unwrap_or(&unknown);
    let next = if error.next_action.is_empty() { &unknown.next_action } else { &error.next_action };
    let facts = vec![("Cause", format!("{}: {}", error.code, error.message)), ("Next action", next.clone())];
    (plain(&error.code), Block::Facts(facts))
}

/// Which tenant it is, for operators.
fn particulars(told: &Told, row: &Outgoing) -> Vec<(&'static str, String)> {
    vec![
        ("Tenant", row.tenant_id.to_string()),
        ("Plan", told.tier.clone()),
        ("Region", told.region.clone()),
        ("Administrator", told.admin_email.clone()),
        ("Status", format!("GET /api/v1/tenants/{}/provisioning/status", row.tenant_id)),
    ]
}

/// One line, whatever was typed: a name stands in a subject too.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn text(blocks: &[Block]) -> String {
    let mut out = String::new();
    for block in blocks {
        match block {
            Block::Paragraph(text) => line(&mut out, format_args!("{text}")),
            Block::Facts(facts) | Block::Links(facts) => {
                for (name, value) in facts {
                    line(&mut out, format_args!("{name}: {value}"));
                }
            }
        }
        out.push('\n');
    }
    out
}

fn html(title: &str, blocks: &[Block]) -> String {
    let mut out = String::new();
    line(&mut out, format_args!("<!DOCTYPE html>"));
    line(&mut out, format_args!("<html lang=\"en\"><head><meta charset=\"utf-8\">"));
    line(&mut out, format_args!("<title>{}</title></head><body>", escape(title)));
    for block in blocks {
        match block {
            Block::Paragraph(text) => line(&mut out, format_args!("<p>{}</p>", escape(text))),
            Block::Facts(facts) => {
                line(&mut out, format_args!("<ul>"));
                for (name, value) in facts {
                    line(&mut out, format_args!("<li>{}: <b>{}</b></li>", escape(name), escape(value)));
                }
                line(&mut out, format_args!("</ul>"));
            }
            Block::Links(links) => {
                line(&mut out, format_args!("<ul>"));
                for (name, url) in links {
                    let url = escape(url);
                    line(&mut out, format_args!("<li>{}: <a href=\"{url}\">{url}</a></li>", escape(name)));
                }
                line(&mut out, format_args!("</ul>"));
            }
        }
    }
    line(&mut out, format_args!("</body></html>"));
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "{text}");
}

/// For HTML, between tags and within quotes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use model::TenantId;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn row(kind: &str, name: &str, error: &Value) -> Outgoing {
        Outgoing {
            id: Uuid::from_u128(7),
            number: 1,
            tenant_id: TenantId(Uuid::from_u128(8)),
            kind: kind.into(),
            payload: json!({ "tenantId": Uuid::from_u128(8), "slug": "acme", "name": name, "tier": "free",
                "region": "eastus", "adminEmail": "admin@acme.example", "error": error }),
            sealed: None,
            created_at: DateTime::UNIX_EPOCH,
            attempts: 1,
            refusals: 0,
            claim: Uuid::nil(),
        }
    }

    fn cause() -> Value {
        json!({ "code": "chart_missing", "message": "no chart at <repository>", "nextAction": "Publish the chart.",
            "kind": "fatal" })
    }

    #[test]
    fn a_ready_tenant_is_told_where_it_is() {
        let row = row("tenant.provisioned", "Acme", &Value::Null);
        let letter = letter(Sink::Email, &row, "matih.ai").unwrap();
        assert_eq!(letter.subject, "Acme is ready");
        assert_eq!(letter.admin_email, "admin@acme.example");
        assert!(letter.text.contains("\nYour address: https://acme.matih.ai\n"), "{}", letter.text);
        assert!(letter.html.contains("<a href=\"https://bi.acme.matih.ai\">"), "{}", letter.html);
    }

    #[test]
    fn an_invitation_says_where_and_until_when() {
        let row = row("user.invited", "Acme & Sons", &Value::Null);
        let until = "2026-02-12T10:05:00Z".parse().unwrap();
        let letter = invitation(&row, "https://acme.matih.ai/invitation/T", until).unwrap();
        assert_eq!(letter.subject, "Your invitation to Acme & Sons");
        assert!(letter.text.contains("expires on 12 February 2026, 10:05 UTC"), "{}", letter.text);
        assert!(
            letter.text.contains("\nYour invitation: https://acme.matih.ai/invitation/T\n"),
            "{}",
            letter.text
        );
        assert!(letter.html.contains("<a href=\"https://acme.matih.ai/invitation/T\">"), "{}", letter.html);
        assert!(letter.html.contains("Acme &amp; Sons"), "{}", letter.html);
    }

    #[test]
    fn the_cause_is_for_the_operators_only() {
        let row = row("tenant.provisioning_failed", "Acme", &cause());
        let admin = letter(Sink::Email, &row, "matih.ai").unwrap();
        assert!(!admin.text.contains("chart") && !admin.html.contains("chart"));
        assert!(admin.text.contains(&row.tenant_id.to_string()));
        let operators = letter(Sink::Operators, &row, "matih.ai").unwrap();
        assert!(operators.subject.contains("acme") && operators.subject.contains("chart_missing"));
        assert!(operators.text.contains("Cause: chart_missing: no chart at <repository>\n"));
        assert!(operators.text.contains("Next action: Publish the chart.\n"));
        assert!(operators.html.contains("no chart at &lt;repository&gt;"));
        let change = self::row("tenant.change_failed", "Acme", &cause());
        let operators = letter(Sink::Operators, &change, "matih.ai").unwrap();
        assert_eq!(operators.subject, "acme (Acme): a change has failed: chart_missing");
        assert!(letter(Sink::Email, &change, "matih.ai").is_err(), "the administrator notices nothing of it");
        let going = self::row("tenant.deprovisioning_failed", "Acme", &cause());
        let operators = letter(Sink::Operators, &going, "matih.ai").unwrap();
        assert_eq!(operators.subject, "acme (Acme): deprovisioning has failed: chart_missing");
        assert!(letter(Sink::Email, &going, "matih.ai").is_err(), "it was set up, and is not said to be not");
    }

    #[test]
    fn a_run_that_waits_says_where_why_and_what_can_be_done() {
        let mut row = row("tenant.run_waiting", "Acme", &cause());
        row.payload["runId"] = json!(Uuid::from_u128(9));
        row.payload["seq"] = json!(12);
        row.payload["phase"] = json!("CREATE_DNS_ZONE");
        row.payload["runStatus"] = json!("stuck");
        row.payload["situation"] = json!("stuck while rolling back");
        row.payload["allowedActions"] = json!(["retry", "skip", "abandon", "delete"]);
        let written = letter(Sink::Operators, &row, "matih.ai").unwrap();
        assert_eq!(written.subject, "acme (Acme): stuck while rolling back: chart_missing");
        for line in [
            "Acme (acme) is stuck while rolling back, at CREATE_DNS_ZONE. It is waiting for an operator and will not continue on its own.\n",
            "\nCause: chart_missing: no chart at <repository>\n",
            "\nNext action: Publish the chart.\n",
            "\nAllowed verbs: retry, skip, abandon, delete\n",
            "/provisioning/<verb> {\"seq\": 12, \"reason\": \"…\"}; for delete, DELETE /api/v1/tenants/",
        ] {
            assert!(written.text.contains(line), "{line} in {}", written.text);
        }
        assert!(written.html.contains("no chart at &lt;repository&gt;"), "{}", written.html);
        assert!(letter(Sink::Email, &row, "matih.ai").is_err(), "nobody else is waited for");
        row.payload["allowedActions"] = Value::Null;
        assert!(letter(Sink::Operators, &row, "matih.ai").is_err(), "a row that lacks it says so");
    }

    #[test]
    fn a_name_is_one_line_and_no_markup() {
        let name = "<b>\"A\" & 'B'</b>\r\nBcc: x@y.example";
        let row = row("tenant.provisioned", name, &Value::Null);
        let letter = letter(Sink::Email, &row, "matih.ai").unwrap();
        assert_eq!(letter.subject, "<b>\"A\" & 'B'</b> Bcc: x@y.example is ready");
        assert!(!letter.html.contains("<b>\"A\""), "{}", letter.html);
        assert!(
            letter.html.contains("&lt;b&gt;&quot;A&quot; &amp; &#39;B&#39;&lt;/b&gt; Bcc:"),
            "{}",
            letter.html
        );
    }

    #[test]
    fn what_is_no_letter_says_so() {
        let gone = row("tenant.deprovisioned", "Acme", &Value::Null);
        assert!(letter(Sink::Email, &gone, "matih.ai").unwrap_err().contains("tenant.deprovisioned"));
        let mut empty = row("tenant.provisioned", "Acme", &Value::Null);
        empty.payload = json!({});
        assert!(letter(Sink::Email, &empty, "matih.ai").unwrap_err().contains("slug"));
    }
}
