//! A TCP proxy in front of Redis that can swallow replies: the request was executed, the answer never comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A running proxy.
pub struct Proxy {
    port: u16,
    switch: Arc<Switch>,
}

#[derive(Default)]
struct Switch {
    /// Replies are read and thrown away, and the connection is cut.
    swallow: AtomicBool,
    swallowed: AtomicU64,
}

impl Proxy {
    /// Listens on a free port and forwards to `target`.
    pub async fn start(target: u16) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = socket.local_addr().expect("an address").port();
        let switch = Arc::new(Switch::default());
        let shared = switch.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = socket.accept().await {
                tokio::spawn(forward(client, target, shared.clone()));
            }
        });
        Self { port, switch }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on (not) swallows replies.
    pub fn swallow_replies(&self, on: bool) {
        self.switch.swallow.store(on, Ordering::SeqCst);
    }

    /// Replies swallowed so far.
    pub fn swallowed(&self) -> u64 {
        self.switch.swallowed.load(Ordering::SeqCst)
    }
}

async fn forward(client: TcpStream, target: u16, switch: Arc<Switch>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let replies = async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            if switch.swallow.load(Ordering::SeqCst) {
                switch.swallowed.fetch_add(1, Ordering::SeqCst);
                break;
            }
            if to_client.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    // Whichever ends first cuts both ways.
    tokio::select! { () = requests => {}, () = replies => {} }
}
