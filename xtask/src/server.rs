//! A static file server for the finished page, on 127.0.0.1 only. It sends what a browser needs
//! to run the engine (types, cross-origin isolation, revalidation) and nothing outside its
//! folders.

use std::fs::{self, File};
use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, anyhow};
use tiny_http::{Header, Method, Request, Response, Server};

/// Requests served at once. A browser opens six connections to one origin; the Worker's shard
/// downloads must not hold up the page.
const THREADS: usize = 8;

/// What the page may do: run its own scripts and wasm, ask its own server, and nothing else. It travels
/// in the page too, for servers that send no headers.
pub const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
    img-src 'self' blob:; connect-src 'self'; worker-src 'self'; base-uri 'self'; form-action 'none'";

/// A folder and the address prefix it is served under, such as `/` or `/models/b/`.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Starts and ends with `/`.
    pub prefix: String,
    /// Symbolic links that lead out of it are refused.
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

/// A running server. Dropping it stops it.
pub struct StaticServer {
    server: Arc<Server>,
    threads: Vec<JoinHandle<()>>,
    address: SocketAddr,
}

impl StaticServer {
    /// Serves `folder` at `/` on 127.0.0.1; `port` 0 takes a free one.
    ///
    /// # Errors
    /// When the folder is missing or the port is taken.
    pub fn start(folder: &Path, port: u16) -> Result<Self> {
        Self::with_mounts(vec![Mount::root(folder)], port)
    }

    /// Serves several folders; the mount with the longest fitting prefix answers.
    ///
    /// # Errors
    /// When a folder is missing or the port is taken.
    pub fn with_mounts(mounts: Vec<Mount>, port: u16) -> Result<Self> {
        Self::serving(mounts, port, true)
    }

    /// Serves `folder` as hosts do whose headers nobody can set: types, and nothing that isolates the page.
    ///
    /// # Errors
    /// When the folder is missing or no port is free.
    pub fn without_isolation(folder: &Path) -> Result<Self> {
        Self::serving(vec![Mount::root(folder)], 0, false)
    }

    fn serving(mut mounts: Vec<Mount>, port: u16, is_isolating: bool) -> Result<Self> {
        for mount in &mut mounts {
            mount.folder = mount
                .folder
                .canonicalize()
                .with_context(|| format!("no folder {} to serve", mount.folder.display()))?;
        }
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.prefix.len()));
        let mounts: Arc<[Mount]> = mounts.into();

        let wanted = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let server = Server::http(wanted)
            .map_err(|error| anyhow!("cannot listen on {wanted}: {error}; try --port 0"))?;
        let address = server
            .server_addr()
            .to_ip()
            .context("the server has no IP address")?;
        let server = Arc::new(server);
        let threads = (0..THREADS)
            .map(|_| {
                let (server, mounts) = (Arc::clone(&server), Arc::clone(&mounts));
                thread::spawn(move || {
                    while let Ok(request) = server.recv() {
                        // A visitor who leaves in the middle of a download is no error of ours.
                        let _gone = answer(&mounts, request, is_isolating);
                    }
                })
            })
            .collect();
        Ok(Self {
            server,
            threads,
            address,
        })
    }

    /// The page's address, such as `http://127.0.0.1:8080/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves until the process ends.
    pub fn wait(mut self) {
        for thread in self.threads.drain(..) {
            // A panicked thread leaves the others serving.
            let _panicked = thread.join();
        }
    }
}

impl Drop for StaticServer {
    fn drop(&mut self) {
        for _ in &self.threads {
            self.server.unblock();
        }
    }
}

fn answer(mounts: &[Mount], request: Request, is_isolating: bool) -> std::io::Result<()> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request.respond(plain(405, "only GET and HEAD are served"));
    }
    let Some(path) = resolve(mounts, request.url()) else {
        return request.respond(plain(404, "not found"));
    };
    let packed = packed(&path).filter(|_| takes_brotli(&request));
    let Ok(file) = File::open(packed.as_ref().unwrap_or(&path)) else {
        return request.respond(plain(404, "not found"));
    };
    let tag = file.metadata().ok().and_then(|data| {
        let age = data.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(format!("\"{:x}-{:x}\"", data.len(), age.as_nanos()))
    });
    let asked = request
        .headers()
        .iter()
        .find(|header| header.field.equiv("If-None-Match"))
        .map(|header| header.value.as_str().to_owned());
    if tag.is_some() && asked == tag {
        return request.respond(with_headers(plain(304, ""), tag.as_deref()));
    }
    let mut response = Response::from_file(file)
        .with_header(header("Content-Type", mime(&path)))
        .with_header(header("Vary", "Accept-Encoding"));
    if packed.is_some() {
        response.add_header(header("Content-Encoding", "br"));
    }
    if is_isolating {
        request.respond(with_headers(response, tag.as_deref()))
    } else {
        request.respond(response)
    }
}

/// The compressed twin of a file, which the build puts beside it.
fn packed(path: &Path) -> Option<PathBuf> {
    let mut name = path.file_name()?.to_owned();
    name.push(".br");
    let twin = path.with_file_name(name);
    twin.is_file().then_some(twin)
}

fn takes_brotli(request: &Request) -> bool {
    request
        .headers()
        .iter()
        .filter(|header| header.field.equiv("Accept-Encoding"))
        .flat_map(|header| header.value.as_str().split(','))
        .any(|coding| coding.split(';').next().map(str::trim) == Some("br"))
}

fn plain(status: u16, text: &str) -> Response<Cursor<Vec<u8>>> {
    Response::from_string(text).with_status_code(status)
}

/// Cross-origin isolation gives the page precise timers and shared memory; `no-cache` makes the
/// browser ask again each time, so that a rebuilt page is never mixed with an old engine.
fn with_headers<R: std::io::Read>(response: Response<R>, tag: Option<&str>) -> Response<R> {
    let response = response
        .with_header(header("Cache-Control", "no-cache"))
        .with_header(header("Cross-Origin-Opener-Policy", "same-origin"))
        .with_header(header("Cross-Origin-Embedder-Policy", "require-corp"))
        .with_header(header("Cross-Origin-Resource-Policy", "same-origin"))
        .with_header(header("X-Content-Type-Options", "nosniff"))
        .with_header(header("Referrer-Policy", "no-referrer"))
        .with_header(header(
            "Content-Security-Policy",
            // The last part works in a header only.
            &format!("{POLICY}; frame-ancestors 'none'"),
        ));
    match tag {
        Some(tag) => response.with_header(header("ETag", tag)),
        None => response,
    }
}

fn header(field: &str, value: &str) -> Header {
    Header::from_bytes(field.as_bytes(), value.as_bytes())
        .expect("header names and values here are plain ASCII")
}

/// The file behind an address, or nothing when there is none inside the mounts.
fn resolve(mounts: &[Mount], url: &str) -> Option<PathBuf> {
    let path = url.split(['?', '#']).next().unwrap_or("/");
    let path = percent_decode(path)?;
    let (mount, rest) = mounts
        .iter()
        .find_map(|mount| Some((mount, path.strip_prefix(mount.prefix.as_str())?)))?;
    // Decoded first, checked after: `..`, drive letters and a second slash are all refused here.
    let rest = Path::new(rest);
    if rest.to_str()?.contains(['\\', '\0'])
        || !rest
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
    {
        return None;
    }
    let mut file = mount.folder.join(rest);
    if file.is_dir() {
        file.push("index.html");
    }
    let file = fs::canonicalize(file).ok()?;
    (file.starts_with(&mount.folder) && file.is_file()).then_some(file)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// `WebAssembly.instantiateStreaming` and module scripts refuse any other type than these.
fn mime(path: &Path) -> &'static str {
    match path.extension().and_then(|text| text.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("tif" | "tiff") => "image/tiff",
        Some("ico") => "image/x-icon",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

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
        assert!(page.contains("Cross-Origin-Embedder-Policy: require-corp"));
        let wasm = get(&server, "/engine/a%20b.wasm", "");
        assert!(wasm.contains("application/wasm"), "{wasm}");
        let tag = wasm
            .lines()
            .find_map(|line| line.strip_prefix("ETag: "))
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
    fn a_compressed_twin_is_sent_to_those_who_take_it() {
        let folder = site("packed");
        fs::write(folder.join("site/engine/a b.wasm.br"), b"packed").unwrap();
        let server = StaticServer::start(&folder.join("site"), 0).unwrap();
        let plain = get(&server, "/engine/a%20b.wasm", "Accept-Encoding: gzip\r\n");
        assert!(!plain.contains("Content-Encoding"), "{plain}");
        let packed = get(
            &server,
            "/engine/a%20b.wasm",
            "Accept-Encoding: gzip, br;q=1.0\r\n",
        );
        assert!(packed.contains("Content-Encoding: br"), "{packed}");
        assert!(packed.contains("application/wasm") && packed.ends_with("packed"));
        assert!(packed.contains("Content-Security-Policy: default-src 'none'"));
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
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.join("secret.txt"), folder.join("site/link.txt"))
                .unwrap();
            assert!(get(&server, "/link.txt", "").starts_with("HTTP/1.1 404"));
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_longest_prefix_answers() {
        let folder = site("mounts");
        fs::create_dir_all(folder.join("other")).unwrap();
        fs::write(folder.join("other/model.json"), "{}").unwrap();
        let mount = |prefix: &str, name: &str| Mount {
            prefix: prefix.into(),
            folder: folder.join(name),
        };
        let server =
            StaticServer::with_mounts(vec![mount("/", "site"), mount("/models/b/", "other")], 0)
                .unwrap();
        assert!(get(&server, "/models/b/model.json", "").ends_with("{}"));
        assert!(get(&server, "/", "").ends_with("<p>hello"));
        fs::remove_dir_all(folder).unwrap();
    }
}
