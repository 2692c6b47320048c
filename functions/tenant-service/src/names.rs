//! Domains and e-mail addresses as they must be written.

use model::platform::Platform;

use crate::fields::Fields;

/// A host name of at least two labels (RFC 1123), in lower case; internationalised names in their `xn--` form, which is what
/// DNS and certificates hold.
pub fn domain(text: &str) -> Result<String, String> {
    let text = idna::domain_to_ascii(text.trim())
        .map_err(|_| "is not a domain name, not even an internationalised one (IDNA)".to_owned())?;
    if text.is_empty() || text.len() > 253 {
        return Err(format!("must have 1 to 253 characters, has {}", text.len()));
    }
    let labels: Vec<&str> = text.split('.').collect();
    if labels.len() < 2 {
        return Err("must have at least two labels, such as example.com".into());
    }
    for label in &labels {
        let characters = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !(1..=63).contains(&label.len()) || !characters || label.starts_with('-') || label.ends_with('-') {
            return Err(format!(
                "'{label}' is not a DNS label (1 to 63 letters, digits and '-', not at its ends)"
            ));
        }
    }
    // An address such as 10.0.0.1 would otherwise pass.
    if labels.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err("must not end in a number: give a name, not an address".into());
    }
    Ok(text)
}

/// The field `domain`: a domain of the tenant's own. Names within the platform's domain
/// and those of its regions are the platform's to give.
pub fn own_domain(fields: &mut Fields, platform: &Platform) -> Option<String> {
    let domain = fields.parsed("domain", "invalid_domain", domain)?;
    let Some(reserved) = platform.domains_of_all().find(|parent| within(&domain, parent)) else {
        return Some(domain);
    };
    let why = format!("must be a domain of the tenant's own, not within {reserved}");
    fields.error("domain", "reserved_domain", why);
    None
}

/// Whether `domain` is `parent` or a name within it.
pub fn within(domain: &str, parent: &str) -> bool {
    let parent = parent.trim_end_matches('.').to_ascii_lowercase();
    domain == parent || domain.strip_suffix(&parent).is_some_and(|rest| rest.ends_with('.'))
}

/// An address that mail can be sent to: RFC 5321's Mailbox without quoted local parts and address literals, which no
/// mail provider gives out and which are a way to smuggle headers.
pub fn email(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.len() > 254 {
        return Err(format!("must have at most 254 characters, has {}", text.len()));
    }
    let (local, host) = text.rsplit_once('@').ok_or("must be of the form name@example.com")?;
    let atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b))
    };
    if local.len() > 64 || !local.split('.').all(atom) {
        return Err("the part before '@' must be 1 to 64 letters, digits and single dots".into());
    }
    let host = domain(host).map_err(|why| format!("the part after '@' {why}"))?;
    Ok(format!("{local}@{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        for (good, as_kept) in [
            ("example.com", "example.com"),
            ("A.Example.COM", "a.example.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("bücher。example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(domain(good).as_deref(), Ok(as_kept));
        }
        let long_label = format!("{}.com", "a".repeat(64));
        let long = format!("{}com", "a.".repeat(126));
        for bad in [
            "",
            "com",
            ".com",
            "a..com",
            "a.com.",
            "-a.com",
            "a-.com",
            "a_b.com",
            "xn--a.example",
            "bü cher.example",
            "10.0.0.1",
            "a b.com",
            "a.com/x",
            "http://a.com",
            "*.a.com",
            &long_label,
            &long,
        ] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_is_within_its_parent_by_whole_labels() {
        assert!(within("matih.ai", "matih.ai"));
        assert!(within("acme.matih.ai", "matih.ai"));
        assert!(within("a.b.matih.ai", "Matih.ai."));
        assert!(!within("notmatih.ai", "matih.ai"));
        assert!(!within("matih.ai.example", "matih.ai"));
    }

    #[test]
    fn emails() {
        for good in ["a@example.com", "a.b+c@mail.example.co.za", "o'hara@example.com"] {
            assert_eq!(email(good).as_deref(), Ok(good));
        }
        assert_eq!(email(" Jo@Example.COM ").as_deref(), Ok("Jo@example.com"));
        let long_local = format!("{}@example.com", "a".repeat(65));
        for bad in [
            "",
            "a",
            "@example.com",
            "a@",
            "a@b",
            "a b@example.com",
            "a@@example.com",
            "a@exa mple.com",
            ".a@example.com",
            "a.@example.com",
            "a..b@example.com",
            "\"a\"@example.com",
            "a@[10.0.0.1]",
            "a@10.0.0.1",
            "a@example.com, b@example.com",
            "a@example.com\nBcc: x@example.com",
            "ä@example.com",
            &long_local,
        ] {
            assert!(email(bad).is_err(), "{bad}");
        }
    }
}
