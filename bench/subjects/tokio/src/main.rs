//! The servers of bench/plans on tokio. usage: server ROLE PORT (roles as in ../../c/server.c)
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const KEEP: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world\n";
const CLOSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, world\n";

async fn serve_udp(port: u16) -> std::io::Result<()> {
    let socket = UdpSocket::bind(("127.0.0.1", port)).await?;
    let mut buffer = vec![0u8; 65536];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await?;
        let _ = socket.send_to(&buffer[..length], peer).await;
    }
}

async fn answer(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut request = Vec::with_capacity(2048);
    loop {
        while let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") {
            let head: Vec<u8> = request.drain(..end + 4).collect();
            let last = String::from_utf8_lossy(&head).to_lowercase().contains("connection: close");
            if stream.write_all(if last { CLOSE } else { KEEP }).await.is_err() || last {
                return;
            }
        }
        match stream.read_buf(&mut request).await {
            Ok(n) if n > 0 && request.len() < 16384 => {}
            _ => return,
        }
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let role = words.get(1).map(String::as_str).unwrap_or("");
    let port: u16 = words.get(2).and_then(|p| p.parse().ok()).unwrap_or(0);
    if role == "udp" {
        return serve_udp(port).await;
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (mut stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => continue,
        };
        match role {
            "http" => drop(tokio::spawn(answer(stream))),
            "accept" => drop(tokio::spawn(async move {
                let _ = stream.write_all(b"hello").await;
            })),
            "accept-leak" => drop(tokio::spawn(async move {
                let _ = stream.write_all(b"hello").await;
                let _ = stream.shutdown().await;
                std::mem::forget(stream);
            })),
            _ => return Ok(()),
        }
    }
}
