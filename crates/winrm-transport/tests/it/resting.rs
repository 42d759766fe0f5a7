//! Between calls a connection is a socket without HTTP on top: what then happens on it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use winrm_transport::{Client, Endpoint, Settings};

use crate::lab::{LIMIT, Lab, eventually, status};

/// What somebody between client and host does to the client.
enum Mischief {
    Says(&'static [u8]),
    Closes,
}

/// A way to the host that may be interfered with.
struct Between {
    address: SocketAddr,
    mischief: mpsc::UnboundedSender<Mischief>,
    task: JoinHandle<()>,
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Between {
    async fn start(host: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mischief, mut orders) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (from_client, to_client) = client.into_split();
                let (from_host, to_host) = TcpStream::connect(host).await.unwrap().into_split();
                let upwards = tokio::spawn(pass_on(from_client, to_host));
                downwards(from_host, to_client, &mut orders, upwards).await;
            }
        });
        Self {
            address,
            mischief,
            task,
        }
    }

    fn settings(&self, lab: &Lab) -> Settings {
        let mut settings = lab.http();
        settings.endpoint = Endpoint::http(self.address.ip().to_string(), self.address.port());
        settings
    }

    fn does(&self, mischief: Mischief) {
        assert!(self.mischief.send(mischief).is_ok());
    }
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

/// Until the client has closed its connection.
async fn downwards(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    orders: &mut mpsc::UnboundedReceiver<Mischief>,
    mut upwards: JoinHandle<()>,
) {
    let mut buffer = [0; 4096];
    loop {
        tokio::select! {
            _ = &mut upwards => return,
            read = from.read(&mut buffer) => match read {
                Ok(1..) if to.write_all(&buffer[..read.unwrap()]).await.is_ok() => {}
                _ => return,
            },
            Some(order) = orders.recv() => match order {
                Mischief::Says(bytes) => to.write_all(bytes).await.unwrap(),
                Mischief::Closes => to.shutdown().await.unwrap(),
            },
        }
    }
}

async fn is_noticed_and_harmless(mischief: Mischief) {
    let lab = Lab::start(|_| ()).await;
    let host = SocketAddr::new(lab.host().address().into(), lab.host().http_port());
    let between = Between::start(host).await;
    let client = Client::new(between.settings(&lab)).unwrap();
    client.run(&status(), LIMIT).await.unwrap();
    // Two for the handshake, one for the shell, three for the command: nothing is under way any more.
    assert!(eventually(|| lab.host().counts().requests == 6).await);
    between.does(mischief);
    // At once, and not when the connection is needed again.
    assert!(eventually(|| lab.host().counts().open_connections == 0).await);
    assert_eq!(client.run(&status(), LIMIT).await.unwrap().exit_code, Some(0));
    let stats = client.stats();
    assert_eq!((stats.connections, stats.shells_created), (2, 1));
    assert_eq!(lab.host().counts().commands, 2);
    lab.end(client).await;
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_ends_an_idle_connection() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\nContent-Length: 3\r\n\r\n<a>";
    is_noticed_and_harmless(Mischief::Says(answer)).await;
    is_noticed_and_harmless(Mischief::Says(b"\0")).await;
}

#[tokio::test]
async fn the_end_of_an_idle_connection_is_noticed_at_once() {
    is_noticed_and_harmless(Mischief::Closes).await;
}

#[tokio::test]
async fn a_client_beside_another_has_a_connection_shell_and_figures_of_its_own() {
    let (lab, first) = Lab::sealed().await;
    let second = first.beside();
    for _ in 0..2 {
        first.run(&status(), LIMIT).await.unwrap();
    }
    assert_eq!((second.stats().connections, second.stats().commands), (0, 0));
    second.run(&status(), LIMIT).await.unwrap();
    for (client, commands) in [(&first, 2), (&second, 1)] {
        let stats = client.stats();
        assert_eq!(
            (stats.connections, stats.shells_created, stats.commands),
            (1, 1, commands)
        );
    }
    first.disconnect();
    second.run(&status(), LIMIT).await.unwrap();
    assert_eq!(second.stats().connections, 1);
    second.close(LIMIT).await;
    first.sweep(LIMIT).await.unwrap();
    lab.farm.stop().await;
}
