//! A mail server of the test's own, which answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of a letter.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is taken over.
    Take,
    /// Recipients at hosts of this tenant are answered with this line.
    Refuse { slug: String, line: &'static str },
    /// It is taken, and never acknowledged.
    Swallow,
}

/// A letter that was handed over completely.
#[derive(Clone, Debug)]
pub struct Taken {
    pub to: Vec<String>,
    pub message: String,
}

impl Taken {
    /// A header's value, of one line.
    pub fn header(&self, name: &str) -> String {
        let start = format!("{}: ", name.to_lowercase());
        let line = self.message.lines().find(|line| line.to_lowercase().starts_with(&start));
        line.expect("the header")[start.len()..].to_owned()
    }
}

/// The server. Ends with its value.
#[derive(Debug)]
pub struct Post {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    taken: Arc<Mutex<Vec<Taken>>>,
    accepting: JoinHandle<()>,
}

impl Post {
    pub async fn open(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (answer, taken) = (Arc::new(Mutex::new(answer)), Arc::new(Mutex::new(Vec::new())));
        let (now, into) = (answer.clone(), taken.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (now, into) = (now.clone(), into.clone());
                tokio::spawn(async move { drop(talk(client, &now, &into).await) });
            }
        });
        Self { address, answer, taken, accepting }
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// From now on.
    pub fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Letters to this address, in the order of their coming.
    pub fn to(&self, address: &str) -> Vec<Taken> {
        let taken = self.taken.lock().unwrap();
        taken.iter().filter(|letter| letter.to.iter().any(|to| to == address)).cloned().collect()
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn talk(client: TcpStream, now: &Mutex<Answer>, into: &Mutex<Vec<Taken>>) -> std::io::Result<()> {
    let (from_client, mut to_client) = client.into_split();
    let mut lines = BufReader::new(from_client).lines();
    to_client.write_all(b"220 post ESMTP\r\n").await?;
    let mut to: Vec<String> = Vec::new();
    while let Some(line) = lines.next_line().await? {
        let verb = line.to_uppercase();
        let answer = now.lock().unwrap().clone();
        let said = if verb.starts_with("RCPT TO:") {
            let address = line["RCPT TO:".len()..].trim().trim_matches(['<', '>']).to_owned();
            match &answer {
                Answer::Refuse { slug, line } if address.contains(slug.as_str()) => *line,
                _ => {
                    to.push(address);
                    "250 noted"
                }
            }
        } else if verb == "DATA" {
            to_client.write_all(b"354 go on\r\n").await?;
            let mut message = String::new();
            while let Some(line) = lines.next_line().await? {
                if line == "." {
                    break;
                }
                message.push_str(&line);
                message.push('\n');
            }
            into.lock().unwrap().push(Taken { to: std::mem::take(&mut to), message });
            if matches!(answer, Answer::Swallow) {
                // Until the client has gone.
                while lines.next_line().await?.is_some() {}
                return Ok(());
            }
            "250 taken"
        } else if verb == "QUIT" {
            to_client.write_all(b"221 bye\r\n").await?;
            return Ok(());
        } else {
            "250 fine"
        };
        to_client.write_all(format!("{said}\r\n").as_bytes()).await?;
    }
    Ok(())
}
