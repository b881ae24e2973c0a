//! More servers of bench/plans on tokio. usage: web ROLE PORT [CERTIFICATE KEY] (roles as in
//! ../../c/web.c). JSON is serde_json's, TLS is the system's OpenSSL by tokio-native-tls.
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

#[derive(serde::Deserialize)]
struct Items {
    name: String,
    items: Vec<i64>,
}

#[derive(serde::Serialize)]
struct Sum {
    name: String,
    count: usize,
    sum: i64,
}

#[derive(serde::Deserialize)]
struct Login {
    user: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Json,
    Login,
    Tls,
}

fn reply(status: &str, more: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{more}\r\n{body}", body.len()).into_bytes()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn answer(role: Role, head: &str, body: &[u8]) -> Vec<u8> {
    match role {
        Role::Tls => reply("200 OK", "", "Hello, world\n"),
        Role::Json => match serde_json::from_slice::<Items>(body) {
            Ok(items) => {
                let sum = Sum { sum: items.items.iter().sum(), count: items.items.len(), name: items.name };
                let body = serde_json::to_string(&sum).unwrap_or_default();
                reply("200 OK", "Content-Type: application/json\r\n", &body)
            }
            Err(_) => reply("400 Bad Request", "", ""),
        },
        Role::Login if head.starts_with("POST /login ") => match serde_json::from_slice::<Login>(body) {
            Ok(login) => reply("200 OK", &format!("X-Token: token-of-{}\r\n", login.user), ""),
            Err(_) => reply("400 Bad Request", "", ""),
        },
        Role::Login => {
            let token = header(head, "x-token").unwrap_or("");
            if head.starts_with("GET /account ") && token.starts_with("token-of-") {
                reply("200 OK", "", "ok")
            } else {
                reply("403 Forbidden", "", "")
            }
        }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, role: Role) {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        while let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let length: usize = header(&head, "content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
            let whole = end + 4 + length;
            if buffer.len() < whole {
                break;
            }
            let bytes = answer(role, &head, &buffer[end + 4..whole]);
            buffer.drain(..whole);
            let last = header(&head, "connection").map_or(false, |c| c.eq_ignore_ascii_case("close"));
            if stream.write_all(&bytes).await.is_err() || last {
                let _ = stream.shutdown().await;
                return;
            }
        }
        match stream.read_buf(&mut buffer).await {
            Ok(n) if n > 0 && buffer.len() < 65536 => {}
            _ => return,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let role = match words.get(1).map(String::as_str) {
        Some("json") => Role::Json,
        Some("login") => Role::Login,
        Some("tls") if words.len() >= 5 => Role::Tls,
        _ => return Err("usage: web json|login PORT, or web tls PORT CERTIFICATE KEY".into()),
    };
    let port: u16 = words.get(2).and_then(|p| p.parse().ok()).unwrap_or(0);
    let tls = if role == Role::Tls {
        let (certificate, key) = (std::fs::read(&words[3])?, std::fs::read(&words[4])?);
        let identity = tokio_native_tls::native_tls::Identity::from_pkcs8(&certificate, &key)?;
        Some(tokio_native_tls::TlsAcceptor::from(tokio_native_tls::native_tls::TlsAcceptor::new(identity)?))
    } else {
        None
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        match tls.clone() {
            Some(tls) => drop(tokio::spawn(async move {
                if let Ok(stream) = tls.accept(stream).await {
                    serve(stream, role).await;
                }
            })),
            None => drop(tokio::spawn(serve(stream, role))),
        }
    }
}
