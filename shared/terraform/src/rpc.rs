//! supervisord's XML-RPC interface over its socket, as far as it is needed.

use std::path::Path;
use std::time::Duration;

use engine::phase::{Error, Result};

/// Longest wait for an answer; nothing asked for here is waited for by supervisord.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Faults that mean that it is so already.
pub(super) const BAD_NAME: i64 = 10;
pub(super) const ALREADY_STARTED: i64 = 60;
pub(super) const STILL_RUNNING: i64 = 91;
pub(super) const ALREADY_ADDED: i64 = 90;

/// A supervisord.
#[derive(Clone, Debug)]
pub(super) struct Rpc {
    http: reqwest::Client,
    socket: String,
}

/// What supervisord says: the answer as XML, or the number of its refusal with its words.
pub(super) type Answer = std::result::Result<String, (i64, String)>;

impl Rpc {
    pub fn new(socket: &str) -> Result<Self> {
        let http = reqwest::Client::builder()
            .unix_socket(Path::new(socket))
            .no_proxy()
            .timeout(ANSWER_WITHIN)
            .build()
            .map_err(|error| down(socket, &error.to_string()))?;
        Ok(Self { http, socket: socket.to_owned() })
    }

    /// One call; a refusal is an answer.
    pub async fn call(&self, method: &str, parameters: &[Parameter<'_>]) -> Result<Answer> {
        let parameters: String = parameters.iter().map(Parameter::xml).collect();
        let body = format!(
            "<?xml version=\"1.0\"?><methodCall><methodName>supervisor.{method}</methodName>\
             <params>{parameters}</params></methodCall>"
        );
        let request = self.http.post("http://supervisor/RPC2").header("content-type", "text/xml").body(body);
        let answer = request.send().await.map_err(|error| down(&self.socket, &error.to_string()))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| down(&self.socket, &error.to_string()))?;
        if !status.is_success() {
            return Err(down(&self.socket, &format!("answers {status}")));
        }
        if !text.contains("<fault>") {
            return Ok(Ok(text));
        }
        let code = member(&text, "faultCode").and_then(|code| code.parse().ok()).unwrap_or_default();
        Ok(Err((code, member(&text, "faultString").unwrap_or_default())))
    }

    /// As [`Rpc::call`], where all refusals but these are errors; none for one of these.
    pub async fn unless(
        &self,
        accepted: &[i64],
        method: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<String>> {
        match self.call(method, parameters).await? {
            Ok(answer) => Ok(Some(answer)),
            Err((code, _)) if accepted.contains(&code) => Ok(None),
            Err((code, words)) => {
                Err(Error::retryable("supervisor_refused", format!("{method}: {words} ({code})"))
                    .next("Look at supervisord.log of the stack; it is tried again."))
            }
        }
    }
}

fn down(socket: &str, why: &str) -> Error {
    Error::unavailable("terraform", "supervisor_unavailable", format!("supervisord at {socket}: {why}"))
        .next("Start the stack (`make run`); the run then continues on its own.")
}

/// A parameter of a call.
pub(super) enum Parameter<'a> {
    Text(&'a str),
    Flag(bool),
}

impl Parameter<'_> {
    fn xml(&self) -> String {
        match self {
            // Names of ours, of letters, digits and hyphens.
            Self::Text(text) => format!("<param><value><string>{text}</string></value></param>"),
            Self::Flag(flag) => {
                format!("<param><value><boolean>{}</boolean></value></param>", u8::from(*flag))
            }
        }
    }
}

/// The value of a struct's member, whatever its type.
pub(super) fn member(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<name>{name}</name>"))?;
    let (_, value) = rest.split_once("<value>")?;
    let (value, _) = value.split_once("</value>")?;
    let value = value.trim();
    let inner = value.find('>').map_or(value, |at| &value[at + 1..]);
    Some(inner.split('<').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As supervisord 4.2 answers.
    #[test]
    fn a_members_value_is_found_whatever_its_type() {
        let xml = "<params>\n<param>\n<value><struct>\n<member>\n<name>statename</name>\n<value><string>RUNNING</string>\
                   </value>\n</member>\n<member>\n<name>pid</name>\n<value><int>42</int></value>\n</member>\n\
                   <member>\n<name>spawnerr</name>\n<value><string></string></value>\n</member>\n</struct></value>";
        assert_eq!(member(xml, "statename").as_deref(), Some("RUNNING"));
        assert_eq!(member(xml, "pid").as_deref(), Some("42"));
        assert_eq!(member(xml, "spawnerr").as_deref(), Some(""));
        assert_eq!(member(xml, "nothing"), None);
    }
}
