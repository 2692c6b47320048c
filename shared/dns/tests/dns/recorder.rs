//! An HTTP server that writes down what it is asked, and answers as it was told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The headers that mean something to the service.
const HEADERS: [&str; 5] = ["accept", "authorization", "content-type", "if-match", "if-none-match"];

/// A request, as far as it matters.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

/// What is answered to the next request.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Value,
}

impl Reply {
    pub fn of(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[derive(Clone, Default)]
pub struct Recorder {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl Recorder {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let recorder = Self { url, ..Self::default() };
        let serving = recorder.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        recorder
    }

    /// Answers so, one each to the next requests; after that, as to somebody who finds all as expected.
    pub fn answer(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().unwrap().extend(replies);
    }

    /// What was asked since the last time.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let request = read(&mut stream).await?;
            let lists = request.path.ends_with("/recordsets") || request.path.ends_with("/dnsZones");
            let scripted = self.replies.lock().unwrap().pop_front();
            let reply = scripted.unwrap_or_else(|| match request.method.as_str() {
                "PUT" => Reply::of(201, request.body.clone()),
                "DELETE" => Reply::of(200, Value::Null),
                _ if lists => Reply::of(200, json!({ "value": [] })),
                _ => Reply::of(200, json!({ "name": "x" })),
            });
            self.requests.lock().unwrap().push(request);
            let body = if reply.body.is_null() { String::new() } else { reply.body.to_string() };
            let mut head = format!(
                "HTTP/1.1 {} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
                reply.status,
                body.len()
            );
            for (name, value) in reply.headers {
                head.extend([name, ": ", &value, "\r\n"]);
            }
            stream.get_mut().write_all(format!("{head}\r\n{body}").as_bytes()).await.ok()?;
        }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let first = line(stream).await?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let url = reqwest::Url::parse(&format!("http://x{target}")).ok()?;
    let query = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let mut headers = BTreeMap::new();
    let mut length = 0;
    loop {
        let line = line(stream).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().ok()?;
        }
        if HEADERS.contains(&name.as_str()) {
            headers.insert(name, value);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let path = url.path().replace("%40", "@").replace("%2A", "*");
    Some(Request { method, path, query, headers, body })
}
