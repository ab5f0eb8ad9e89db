//! A server for tests.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that gives one answer and is gone: its URL, and what it was asked. Each of `headers` ends with CR LF.
pub(super) async fn answering(status: u16, headers: &str, body: &[u8]) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("it is bound"));
    let mut answer = format!("HTTP/1.1 {status} Test\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !is_whole(&request) {
            let count = stream.read_buf(&mut request).await.expect("a request");
            assert!(count > 0, "the request is cut off");
        }
        // Who has read enough hangs up.
        let _ = stream.write_all(&answer).await;
        String::from_utf8(request).expect("text")
    });
    (url, asked)
}

fn is_whole(request: &[u8]) -> bool {
    let request = String::from_utf8_lossy(request);
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().expect("a number"))
}
