//! A static file server for the finished page, on 127.0.0.1 only. It sends what a browser needs to
//! run the engine: types, compressed copies, cross-origin isolation, revalidation.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use axum::Router;
use axum::http::header::{HeaderName, HeaderValue};
use axum::middleware::map_response;
use axum::response::Response;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tower_http::services::ServeDir;
use url::Url;

/// The content security policy: own scripts and wasm, requests to the own server, nothing else. It
/// is part of the page too, for servers that send no headers.
pub const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
    img-src 'self' blob:; connect-src 'self'; worker-src 'self'; base-uri 'self'; form-action 'none'";

/// A folder and the address prefix it is served under, such as `/` or `/models/b/`.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Starts and ends with `/`.
    pub prefix: String,
    /// Everything in it is served.
    pub folder: PathBuf,
}

impl Mount {
    /// All of `folder`, at `/`.
    #[must_use]
    pub fn root(folder: &Path) -> Self {
        Self {
            prefix: "/".into(),
            folder: folder.to_path_buf(),
        }
    }
}

/// A running server. Dropping it stops it, connections included.
pub struct StaticServer {
    // Taken by `drop` or `wait`.
    runtime: Option<Runtime>,
    serving: JoinHandle<std::io::Result<()>>,
    address: SocketAddr,
}

impl StaticServer {
    /// Serves `folder` at `/` on 127.0.0.1; `port` 0 takes a free one.
    ///
    /// # Errors
    /// When the folder is missing or the port is taken.
    pub fn start(folder: &Path, port: u16) -> Result<Self> {
        Self::with_mounts(&[Mount::root(folder)], port)
    }

    /// Serves several folders; the mount with the longest fitting prefix answers.
    ///
    /// # Errors
    /// When a folder is missing or the port is taken.
    pub fn with_mounts(mounts: &[Mount], port: u16) -> Result<Self> {
        Self::on(listen(port)?, mounts)
    }

    /// Like [`StaticServer::with_mounts`], on a port that [`listen`] has taken.
    ///
    /// # Errors
    /// When a folder is missing.
    pub fn on(listener: TcpListener, mounts: &[Mount]) -> Result<Self> {
        Self::serving(site(mounts)?.layer(map_response(add_headers)), listener)
    }

    /// Serves `folder` like a host that sends no isolation headers.
    ///
    /// # Errors
    /// When the folder is missing or no port is free.
    pub fn without_isolation(folder: &Path) -> Result<Self> {
        Self::serving(site(&[Mount::root(folder)])?, listen(0)?)
    }

    fn serving(site: Router, listener: TcpListener) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let serving = runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, site).await
        });
        Ok(Self {
            runtime: Some(runtime),
            serving,
            address,
        })
    }

    /// The page's address, such as `http://127.0.0.1:8080/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// When the server cannot go on.
    pub fn wait(mut self) -> Result<()> {
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(&mut self.serving)??;
        }
        Ok(())
    }
}

impl Drop for StaticServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Without waiting: this may be dropped inside another runtime.
            runtime.shutdown_background();
        }
    }
}

/// Takes a port of 127.0.0.1; 0 takes a free one.
///
/// # Errors
/// When it is taken.
pub fn listen(port: u16) -> Result<TcpListener> {
    let wanted = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    TcpListener::bind(wanted).with_context(|| format!("cannot listen on {wanted}; try --port 0"))
}

fn site(mounts: &[Mount]) -> Result<Router> {
    let mut site = Router::new();
    for Mount { prefix, folder } in mounts {
        if !folder.is_dir() {
            anyhow::bail!("no folder {} to serve", folder.display());
        }
        let files = ServeDir::new(folder).precompressed_br();
        site = match prefix.trim_end_matches('/') {
            "" => site.fallback_service(files),
            prefix => site.nest_service(&as_browsers_write_it(prefix)?, files),
        };
    }
    Ok(site)
}

/// A path as it arrives in a request: blanks and the like as `%20`.
fn as_browsers_write_it(path: &str) -> Result<String> {
    let mut address = Url::parse("http://127.0.0.1/")?;
    address.set_path(path);
    Ok(address.path().to_owned())
}

/// What a server should send with every file, each name with its value. Cross-origin isolation
/// gives the page precise timers and shared memory.
#[must_use]
pub fn headers() -> [(&'static str, String); 6] {
    // `frame-ancestors` works in a header only.
    let policy = format!("{POLICY}; frame-ancestors 'none'");
    [
        ("cross-origin-opener-policy", "same-origin".into()),
        ("cross-origin-embedder-policy", "require-corp".into()),
        ("cross-origin-resource-policy", "same-origin".into()),
        ("x-content-type-options", "nosniff".into()),
        ("referrer-policy", "no-referrer".into()),
        ("content-security-policy", policy),
    ]
}

/// Adds [`headers`], and has the browser ask again each time, so that a rebuilt page is never mixed
/// with an old engine.
async fn add_headers(mut response: Response) -> Response {
    let revalidate = ("cache-control", "no-cache".to_owned());
    for (name, value) in headers().into_iter().chain([revalidate]) {
        let value = HeaderValue::from_str(&value).expect("all of these are plain ASCII");
        let name = HeaderName::from_static(name);
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use std::fs;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    fn site(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("site/engine")).unwrap();
        fs::write(folder.join("site/index.html"), "<p>hello").unwrap();
        fs::write(folder.join("site/engine/a b.wasm"), b"\0asm").unwrap();
        fs::write(folder.join("secret.txt"), "secret").unwrap();
        folder
    }

    fn get(server: &StaticServer, path: &str, extra: &str) -> String {
        let mut stream = TcpStream::connect(server.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{extra}\r\n"
        )
        .unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn files_come_with_type_isolation_and_revalidation() {
        let folder = site("types");
        let server = StaticServer::start(&folder.join("site"), 0).unwrap();
        let page = get(&server, "/?state=1", "");
        assert!(page.starts_with("HTTP/1.1 200"), "{page}");
        assert!(page.contains("text/html") && page.ends_with("<p>hello"));
        assert!(page.contains("cross-origin-embedder-policy: require-corp"));
        let wasm = get(&server, "/engine/a%20b.wasm", "");
        assert!(wasm.contains("application/wasm"), "{wasm}");
        let tag = wasm
            .lines()
            .find_map(|line| line.strip_prefix("etag: "))
            .unwrap();
        let again = get(
            &server,
            "/engine/a%20b.wasm",
            &format!("If-None-Match: {tag}\r\n"),
        );
        assert!(again.starts_with("HTTP/1.1 304"), "{again}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_compressed_copy_is_sent_to_clients_that_accept_it() {
        let folder = site("packed");
        fs::write(folder.join("site/engine/a b.wasm.br"), b"packed").unwrap();
        let server = StaticServer::start(&folder.join("site"), 0).unwrap();
        let plain = get(&server, "/engine/a%20b.wasm", "Accept-Encoding: gzip\r\n");
        assert!(!plain.contains("content-encoding"), "{plain}");
        let packed = get(
            &server,
            "/engine/a%20b.wasm",
            "Accept-Encoding: gzip, br;q=1.0\r\n",
        );
        assert!(packed.contains("content-encoding: br"), "{packed}");
        assert!(packed.contains("application/wasm") && packed.ends_with("packed"));
        assert!(packed.contains("content-security-policy: default-src 'none'"));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        let folder = site("escape");
        let server = StaticServer::start(&folder.join("site"), 0).unwrap();
        for path in [
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/engine/..%2f..%2fsecret.txt",
            "/..%5csecret.txt",
            "//etc/passwd",
            "/%00",
            "/%zz",
            "/missing",
        ] {
            let reply = get(&server, path, "");
            assert!(reply.starts_with("HTTP/1.1 404"), "{path}: {reply}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_longest_prefix_answers_whatever_its_letters() {
        let folder = site("mounts");
        fs::create_dir_all(folder.join("other")).unwrap();
        fs::write(folder.join("other/model.json"), "{}").unwrap();
        let mount = |prefix: &str, name: &str| Mount {
            prefix: prefix.into(),
            folder: folder.join(name),
        };
        let mounts = [mount("/", "site"), mount("/models/my {b}/", "other")];
        let server = StaticServer::with_mounts(&mounts, 0).unwrap();
        let package = get(&server, "/models/my%20%7Bb%7D/model.json", "");
        assert!(package.ends_with("{}"), "{package}");
        assert!(get(&server, "/", "").ends_with("<p>hello"));
        fs::remove_dir_all(folder).unwrap();
    }

    /// A pool of four threads once left a browser's fifth connection unread until one of the others
    /// ended.
    #[test]
    fn open_connections_do_not_block_others() {
        let folder = site("connections");
        let server = StaticServer::start(&folder.join("site"), 0).unwrap();
        let ask = || {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            write!(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream
        };
        let mut streams: Vec<TcpStream> = (0..32).map(|_| ask()).collect();
        for stream in &mut streams {
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
