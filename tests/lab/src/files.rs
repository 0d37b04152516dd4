//! Serves files over HTTP: the agent that instances download, and the lab's package repository.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tracing::warn;

use crate::serving::{Body, Door, text, whole};

/// How much of a file is in memory at once, in bytes.
const PIECE: usize = 1 << 16;

/// Maps URL paths to files. A file is read for each request, so that a new build is served at once.
#[derive(Debug, Clone, Default)]
pub struct Files {
    places: Vec<(String, PathBuf)>,
}

impl Files {
    /// Serves a file at this path, or a folder's files below it. The first match counts.
    pub fn with(mut self, path: &str, place: impl Into<PathBuf>) -> Files {
        self.places.push((path.trim_matches('/').to_owned(), place.into()));
        self
    }

    /// Serves on this listener until dropped.
    pub async fn serve(self, door: Door) -> std::io::Result<Infallible> {
        let files = Arc::new(self);
        door.serve(move |_, request| {
            let files = files.clone();
            async move { Ok(files.answer(request.method(), request.uri().path()).await) }
        })
        .await
    }

    async fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        if method != Method::GET && method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here\n");
        }
        let Some(place) = self.place(path) else { return text(StatusCode::NOT_FOUND, "no such file\n") };
        match open(&place).await {
            Ok((file, length)) => {
                let body = if method == Method::HEAD { whole("") } else { pieces(file) };
                let mut answer = Response::new(body);
                answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                answer
            }
            Err(error) if error.kind() == ErrorKind::NotFound => text(StatusCode::NOT_FOUND, "no such file\n"),
            Err(error) => {
                warn!(place = %place.display(), %error, "could not serve a file");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the file can't be read\n")
            }
        }
    }

    /// The file for a request's path; never one outside the served folders.
    fn place(&self, path: &str) -> Option<PathBuf> {
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let path = Path::new(path.trim_start_matches('/'));
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return None;
        }
        self.places.iter().find_map(|(prefix, place)| match path.strip_prefix(prefix).ok()? {
            rest if rest.as_os_str().is_empty() => Some(place.clone()),
            rest => Some(place.join(rest)),
        })
    }
}

async fn open(place: &Path) -> std::io::Result<(File, u64)> {
    let file = File::open(place).await.map_err(|error| match error.kind() {
        ErrorKind::NotADirectory => ErrorKind::NotFound.into(),
        _ => error,
    })?;
    let about = file.metadata().await?;
    if about.is_file() { Ok((file, about.len())) } else { Err(ErrorKind::NotFound.into()) }
}

fn pieces(file: File) -> Body {
    let frames = stream::try_unfold(file, |mut file| async move {
        let mut piece = Vec::with_capacity(PIECE);
        file.read_buf(&mut piece).await?;
        Ok((!piece.is_empty()).then(|| (Frame::data(Bytes::from(piece)), file)))
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::Request;

    use super::*;
    use crate::serving::testing::{Caller, loopback};

    #[tokio::test]
    async fn files_are_served_completely_and_other_paths_are_not_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("debian/pool")).unwrap();
        let package: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(folder.path().join("debian/pool/a+b_1.deb"), &package).unwrap();
        std::fs::write(folder.path().join("agent"), "first build").unwrap();
        std::fs::write(folder.path().join("secret"), "key").unwrap();
        let files = Files::default()
            .with("/agent", folder.path().join("agent"))
            .with("/debian", folder.path().join("debian"))
            .with("/absent", folder.path().join("absent"));
        let (listener, address) = loopback();
        let served = tokio::spawn(files.serve(Door::plain(listener)));
        let mut caller = Caller::from("127.0.0.1", address).await;

        let answer = caller.get("/debian/pool/a%2bb_1.deb").await;
        assert_eq!((answer.status(), answer.headers()["content-length"].to_str().unwrap()), (StatusCode::OK, "300000"));
        assert!(answer.body()[..] == package[..]);
        let head = Request::head("/debian/pool/a+b_1.deb").body(Full::default()).unwrap();
        let head = caller.send(head).await.unwrap();
        assert_eq!((head.headers()["content-length"].to_str().unwrap(), head.body().len()), ("300000", 0));

        assert_eq!(caller.get("/agent").await.body(), "first build");
        std::fs::write(folder.path().join("agent"), "second build").unwrap();
        assert_eq!(caller.get("/agent").await.body(), "second build");
        for path in
            ["/", "/secret", "/debian", "/debian/../secret", "/debian/%2e%2e/secret", "/agent/x", "/absent", "/agentx"]
        {
            assert_eq!(caller.get(path).await.status(), 404, "{path}");
        }
        let post = Request::post("/agent").body(Full::default()).unwrap();
        assert_eq!(caller.send(post).await.unwrap().status(), 405);
        served.abort();
    }
}
