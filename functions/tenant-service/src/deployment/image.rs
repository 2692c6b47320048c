//! Names of images, by the grammar of the OCI distribution specification, with its tag or digest.

/// Longer ones are refused.
const LONGEST: usize = 512;

/// An image's name as it is, if it is one.
pub fn parse(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > LONGEST {
        return Err(format!("must have 1 to {LONGEST} characters, has {}", text.len()));
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err("has a digest that is none, such as sha256:0123…".into());
    }
    // A colon after the last slash begins the tag; one before it, a port.
    let from = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[from..].find(':') {
        Some(colon) => (&rest[..from + colon], Some(&rest[from + colon + 1..])),
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("has a tag that is none".into());
    }
    if tag.is_none() && digest.is_none() {
        return Err("must have a tag or a digest".into());
    }
    let path = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            if !is_host(host) {
                return Err(format!("has '{host}' where its registry should be"));
            }
            path
        }
        _ => name,
    };
    match path.split('/').find(|part| !is_component(part)) {
        Some(part) => Err(format!("has '{part}' where a name in lower case should be")),
        None => Ok(text.to_owned()),
    }
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let known =
        algorithm.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b));
    known && !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first && text.len() <= 128 && bytes.all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, "1"));
    let label = |label: &str| {
        let legal = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        !label.is_empty() && legal && !label.starts_with('-') && !label.ends_with('-')
    };
    name.split('.').all(label) && port.parse::<u16>().is_ok()
}

/// Lower case and digits, with single dots, one or two underscores, or hyphens between.
fn is_component(text: &str) -> bool {
    let alone = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edges = text.bytes().next().is_some_and(alone) && text.bytes().last().is_some_and(alone);
    let legal = text.bytes().all(|b| alone(b) || b"._-".contains(&b));
    let mixed = ["..", "___", "._", "_.", ".-", "-.", "_-", "-_"];
    edges && legal && !mixed.iter().any(|pair| text.contains(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_by_the_specifications_grammar() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        for good in [
            "ip4x/tenant-api:latest",
            "tenant-api:1",
            "matih.azurecr.io/a/b_c/d__e/f--g.h:v1.2.3-rc_1",
            "localhost:5000/tenant-api:1",
            &format!("ip4x/tenant-api@{digest}"),
            &format!("matih.azurecr.io:443/tenant-api:1@{digest}"),
        ] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
        let long = format!("a/{}:1", "b".repeat(LONGEST));
        for bad in [
            "",
            " ",
            "tenant-api",
            "ip4x/tenant-api",
            "ip4x/Tenant-Api:1",
            "ip4x/tenant-api:",
            "ip4x//tenant-api:1",
            "/tenant-api:1",
            "ip4x/tenant-api:a b",
            "ip4x/tenant-api@sha256:12",
            "ip4x/tenant-api:1@",
            "-a:1",
            "a..b:1",
            "a.-b:1",
            "host.example:99999/a:1",
            "ho_st.example/a:1",
            "https://host.example/a:1",
            "a:1;rm",
            "a:1\n",
            &long,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
