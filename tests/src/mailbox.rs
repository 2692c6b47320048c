//! The stack's mailbox.

use serde_json::Value;

use crate::environment::required;
use crate::world::eventually;

/// The letters to an address in the stack's mailbox, oldest first.
pub async fn mailbox(address: &str) -> Vec<Value> {
    let url = format!("{}/email", required("MAILBOX_URL"));
    let all: Vec<Value> = reqwest::get(url).await.unwrap().json().await.unwrap();
    let is_to = |letter: &Value| {
        letter["envelope"]["to"].as_array().is_some_and(|to| to.iter().any(|to| to["address"] == address))
    };
    all.into_iter().filter(is_to).collect()
}

/// Waits until there are so many letters to an address.
pub async fn letters(address: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} letters to {address}"), || async { mailbox(address).await.len() >= count })
        .await;
    mailbox(address).await
}
