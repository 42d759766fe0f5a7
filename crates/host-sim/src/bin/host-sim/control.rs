//! The small endpoint by which a load run reads the counters: a line with a word in, a line of JSON out.

use std::net::SocketAddr;
use std::sync::Arc;

use host_sim::Farm;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::churn::Changes;

/// Bytes of the longest conversation from the asking side.
const CONVERSATION: u64 = 1024 * 1024;

/// What can be asked for.
pub(crate) struct Shown {
    pub(crate) farm: Arc<Farm>,
    pub(crate) changes: Arc<Changes>,
    pub(crate) sick: Vec<usize>,
}

/// Answers until the program ends, one caller after the other.
pub(crate) async fn serve(address: SocketAddr, shown: Shown) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (caller, _) = listener.accept().await?;
        if let Err(error) = converse(caller, &shown).await {
            tracing::debug!(%error, "a caller of the control endpoint is gone");
        }
    }
}

async fn converse(mut caller: TcpStream, shown: &Shown) -> std::io::Result<()> {
    let (from, mut to) = caller.split();
    let mut lines = BufReader::new(from.take(CONVERSATION)).lines();
    while let Some(line) = lines.next_line().await? {
        let mut answer = shown.answer(line.trim()).to_string();
        answer.push('\n');
        to.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

impl Shown {
    fn answer(&self, word: &str) -> Value {
        match word {
            "counts" => self.counts(),
            "asked" => {
                let asked = self.farm.take_asked();
                let asked = asked.iter().map(|a| json!([a.host, a.at.as_micros() as u64]));
                Value::Array(asked.collect())
            }
            "changes" => json!(self.changes.take()),
            "sick" => json!(self.sick),
            _ => json!({"error": format!("{word:?} is none of counts, asked, changes, sick")}),
        }
    }

    fn counts(&self) -> Value {
        let totals = self.farm.totals();
        json!({
            "at_micros": self.farm.running_for().as_micros() as u64,
            "connections": totals.connections,
            "open_connections": totals.open_connections,
            "tls_handshakes": totals.tls_handshakes,
            "handshakes": totals.handshakes,
            "refused_credentials": totals.refused_credentials,
            "requests": totals.requests,
            "shells_created": totals.shells_created,
            "open_shells": totals.open_shells,
            "commands": totals.commands,
            "polls": totals.polls,
        })
    }
}
